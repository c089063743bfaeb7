package dev.imgd.cli;

import dev.imgd.model.Bytes;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import dev.imgd.registry.RegistryContent;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/// A real image of three layers, made from this host's own files: programs with the libraries they
/// need, the licence texts of the JDK, and a layer that adds, replaces and deletes. It runs.
///
/// @param manifest the digest of the manifest
/// @param blobs every blob by digest, the manifest included
/// @param sizeBytes compressed size of all blobs
record SampleImage(Digest manifest, Map<Digest, Bytes> blobs, long sizeBytes) {
    static final String GREETING = "/etc/greeting";
    static final String GREETING_TEXT =
            "Hello from an image that imgd pulled, verified and unpacked.\n";

    /// In the second layer, deleted by the third.
    static final String DELETED = "/usr/share/legal/deleted-by-the-next-layer";

    private static final List<String> PROGRAMS =
            List.of("sh", "cat", "ls", "uname", "id", "env", "head", "wc", "sort", "true");
    private static final int DIRECTORY = 0040755;
    private static final int MAX_LEGAL_FILES = 400;

    /// Builds the image.
    static SampleImage build() throws ImageException {
        try {
            List<Layer> layers = List.of(programs(), licences(), changes());
            return assemble(layers);
        } catch (IOException e) {
            throw new ImageException(
                    dev.imgd.model.ErrorKind.INTERNAL,
                    "cannot build the sample image: " + e.getMessage(),
                    e);
        }
    }

    /// What a registry serves that has this image as `latest` of a repository.
    RegistryContent served(String repository) {
        return new Served(this, repository);
    }

    private record Served(SampleImage image, String repository) implements RegistryContent {
        private static final String TAG = "latest";

        @Override
        public Optional<StoredManifest> manifest(String name, String reference) {
            Digest digest = image.manifest;
            return name.equals(repository)
                            && (reference.equals(TAG) || reference.equals(digest.toString()))
                    ? Optional.of(
                            new StoredManifest(
                                    MediaType.OCI_MANIFEST,
                                    digest,
                                    Objects.requireNonNull(image.blobs.get(digest))))
                    : Optional.empty();
        }

        @Override
        public Optional<StoredBlob> blob(String name, Digest digest) {
            return Optional.ofNullable(image.blobs.get(digest))
                    .map(blob -> StoredBlob.of(blob.toArray()));
        }

        @Override
        public List<String> tags(String name) {
            return name.equals(repository) ? List.of(TAG) : List.of();
        }
    }

    private record Layer(Bytes compressed, Digest diffId) {}

    /// Writes one layer; parents are added before what is in them.
    private static final class LayerWriter {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private final TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes, "UTF-8");
        private final Set<String> written = new LinkedHashSet<>();

        LayerWriter() {
            tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
        }

        void directory(String path) throws IOException {
            int slash = path.lastIndexOf('/');
            if (slash > 0) {
                directory(path.substring(0, slash));
            }
            if (path.length() > 1 && written.add(path)) {
                entry(path.substring(1) + "/", DIRECTORY, new byte[0]);
            }
        }

        void file(String path, int mode, byte[] content) throws IOException {
            int slash = path.lastIndexOf('/');
            directory(path.substring(0, slash));
            if (written.add(path)) {
                entry(path.substring(1), 0100000 | mode, content);
            }
        }

        void link(String path, String target) throws IOException {
            int slash = path.lastIndexOf('/');
            directory(path.substring(0, slash));
            if (written.add(path)) {
                TarArchiveEntry entry =
                        new TarArchiveEntry(path.substring(1), TarConstants.LF_SYMLINK);
                entry.setLinkName(target);
                entry.setIds(0, 0);
                entry.setModTime(0);
                tar.putArchiveEntry(entry);
                tar.closeArchiveEntry();
            }
        }

        private void entry(String name, int mode, byte[] content) throws IOException {
            TarArchiveEntry entry = new TarArchiveEntry(name);
            entry.setMode(mode);
            entry.setIds(0, 0);
            entry.setModTime(0);
            entry.setSize(content.length);
            tar.putArchiveEntry(entry);
            tar.write(content);
            tar.closeArchiveEntry();
        }

        Layer finish() throws IOException {
            tar.close();
            byte[] plain = bytes.toByteArray();
            ByteArrayOutputStream compressed = new ByteArrayOutputStream();
            try (OutputStream gzip = new GZIPOutputStream(compressed, 64 << 10)) {
                gzip.write(plain);
            }
            return new Layer(Bytes.of(compressed.toByteArray()), Digest.sha256(plain));
        }
    }

    private static Layer programs() throws IOException {
        LayerWriter layer = new LayerWriter();
        layer.directory("/tmp");
        layer.directory("/proc");
        layer.directory("/sys");
        layer.directory("/dev");
        layer.directory("/run");
        Set<Path> libraries = new LinkedHashSet<>();
        for (String name : PROGRAMS) {
            for (String directory : List.of("/usr/bin/", "/bin/")) {
                Path program = Path.of(directory + name);
                if (Files.isExecutable(program)) {
                    layer.file("/usr/bin/" + name, 0755, Files.readAllBytes(program.toRealPath()));
                    libraries.addAll(libraries(program.toRealPath()));
                    break;
                }
            }
        }
        layer.link("/bin", "usr/bin");
        Map<String, String> topLinks = new LinkedHashMap<>();
        for (Path library : libraries) {
            // Where the host has /lib as a link to /usr/lib, the image has the same link.
            String top = "/" + library.getName(0);
            Path host = Path.of(top);
            String path = library.toString();
            if (Files.isSymbolicLink(host)) {
                String target = Files.readSymbolicLink(host).toString();
                topLinks.put(top, target);
                path = "/" + target + path.substring(top.length());
            }
            layer.file(path, 0755, Files.readAllBytes(library.toRealPath()));
        }
        for (Map.Entry<String, String> link : topLinks.entrySet()) {
            layer.link(link.getKey(), link.getValue());
        }
        layer.file("/etc/passwd", 0644, ascii("root:x:0:0:root:/:/bin/sh\n"));
        layer.file("/etc/group", 0644, ascii("root:x:0:\n"));
        layer.file(GREETING, 0644, ascii("This text is replaced by the third layer.\n"));
        return layer.finish();
    }

    /// What the loader would map, as `ldd` lists it; empty for static programs and where there is
    /// no ldd.
    private static List<Path> libraries(Path program) throws IOException {
        List<Path> libraries = new ArrayList<>();
        Process ldd;
        try {
            ldd = new ProcessBuilder("ldd", program.toString()).redirectErrorStream(true).start();
        } catch (IOException e) {
            return libraries; // the image is still an image, it only does not run
        }
        try (var lines = ldd.inputReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                int start = line.indexOf('/');
                int end = line.indexOf(" (", Math.max(start, 0));
                if (start >= 0 && end > start) {
                    libraries.add(Path.of(line.substring(start, end)));
                }
            }
            ldd.waitFor(10, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            ldd.destroyForcibly();
        }
        return libraries;
    }

    private static Layer licences() throws IOException {
        LayerWriter layer = new LayerWriter();
        Path legal = Path.of(System.getProperty("java.home"), "legal");
        if (Files.isDirectory(legal)) {
            try (Stream<Path> files = Files.walk(legal)) {
                files.sorted()
                        .filter(Files::isRegularFile)
                        .limit(MAX_LEGAL_FILES)
                        .forEach(
                                file -> {
                                    try {
                                        layer.file(
                                                "/usr/share/legal/" + legal.relativize(file),
                                                0644,
                                                Files.readAllBytes(file));
                                    } catch (IOException e) {
                                        throw new UncheckedIOException(e);
                                    }
                                });
            } catch (UncheckedIOException e) {
                throw java.util.Objects.requireNonNull(e.getCause());
            }
        }
        layer.file(DELETED, 0600, ascii("The third layer deletes this file.\n"));
        return layer.finish();
    }

    private static Layer changes() throws IOException {
        LayerWriter layer = new LayerWriter();
        layer.file(GREETING, 0644, ascii(GREETING_TEXT));
        int slash = DELETED.lastIndexOf('/');
        layer.file(
                DELETED.substring(0, slash + 1) + ".wh." + DELETED.substring(slash + 1),
                0,
                new byte[0]);
        return layer.finish();
    }

    private static SampleImage assemble(List<Layer> layers) {
        Map<Digest, Bytes> blobs = new LinkedHashMap<>();
        Platform platform = Platform.host();
        JsonWriter config =
                JsonWriter.compact()
                        .beginObject()
                        .member("os", platform.os())
                        .member("architecture", platform.architecture())
                        .beginObject("config")
                        .member("Cmd", List.of("/bin/cat", GREETING))
                        .member("Env", List.of("PATH=/usr/bin:/bin"))
                        .endObject()
                        .beginObject("rootfs")
                        .member("type", "layers")
                        .member(
                                "diff_ids",
                                layers.stream().map(layer -> layer.diffId.toString()).toList())
                        .endObject()
                        .endObject();
        byte[] configBytes = config.toBytes();
        Digest configDigest = Digest.sha256(configBytes);
        blobs.put(configDigest, Bytes.of(configBytes));
        JsonWriter manifest =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST);
        descriptor(manifest.name("config"), MediaType.OCI_CONFIG, configDigest, configBytes.length);
        manifest.beginArray("layers");
        for (Layer layer : layers) {
            Digest digest = layer.compressed.sha256();
            blobs.put(digest, layer.compressed);
            descriptor(manifest, MediaType.OCI_LAYER_GZIP, digest, layer.compressed.size());
        }
        byte[] manifestBytes = manifest.endArray().endObject().toBytes();
        Digest digest = Digest.sha256(manifestBytes);
        blobs.put(digest, Bytes.of(manifestBytes));
        long size = blobs.values().stream().mapToLong(Bytes::size).sum();
        return new SampleImage(digest, blobs, size);
    }

    private static void descriptor(JsonWriter json, String type, Digest digest, long size) {
        json.beginObject()
                .member("mediaType", type)
                .member("digest", digest.toString())
                .member("size", size)
                .endObject();
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
