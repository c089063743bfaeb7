package dev.imgd.testkit;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/// Builds images in memory.
///
/// ```java
/// TestImage image = ImageBuilder.oci()
///         .layer(tar -> tar.directory("etc", 0755).file("etc/motd", "hello\n"))
///         .layer(Compression.ZSTD, tar -> tar.whiteout("etc/motd"))
///         .build();
/// ```
///
/// Equal calls give equal bytes. Not thread-safe.
public final class ImageBuilder {
    private final boolean docker;
    private final List<LayerSpec> layers = new ArrayList<>();
    private final List<String> environment = new ArrayList<>();
    private final List<String> command = new ArrayList<>();
    private final Map<String, String> labels = new LinkedHashMap<>();
    private Platform platform = new Platform("linux", "amd64", "");

    private ImageBuilder(boolean docker) {
        this.docker = docker;
    }

    /// An image in the format of the OCI.
    public static ImageBuilder oci() {
        return new ImageBuilder(false);
    }

    /// An image in the format of Docker's manifest schema 2.
    public static ImageBuilder docker() {
        return new ImageBuilder(true);
    }

    public ImageBuilder platform(Platform value) {
        platform = value;
        return this;
    }

    public ImageBuilder env(String assignment) {
        environment.add(assignment);
        return this;
    }

    public ImageBuilder command(String... words) {
        command.addAll(List.of(words));
        return this;
    }

    public ImageBuilder label(String key, String value) {
        labels.put(key, value);
        return this;
    }

    /// Adds a gzip layer.
    public ImageBuilder layer(Consumer<TarWriter> entries) {
        return layer(MediaType.Compression.GZIP, entries);
    }

    /// Adds a layer.
    public ImageBuilder layer(MediaType.Compression compression, Consumer<TarWriter> entries) {
        TarWriter tar = new TarWriter();
        entries.accept(tar);
        return layer(LayerSpec.of(tar.finish(), compression));
    }

    /// Adds a layer of any bytes, with any diffID.
    public ImageBuilder layer(LayerSpec layer) {
        layers.add(layer);
        return this;
    }

    public TestImage build() {
        List<Descriptor> descriptors = new ArrayList<>();
        List<Digest> diffIds = new ArrayList<>();
        Map<Digest, Bytes> blobs = new LinkedHashMap<>();
        for (LayerSpec layer : layers) {
            Bytes blob = layer.blob();
            descriptors.add(new Descriptor(layer.mediaType(docker), blob.sha256(), blob.size()));
            diffIds.add(layer.diffId());
            blobs.put(blob.sha256(), blob);
        }
        Bytes config = config(diffIds);
        Descriptor configDescriptor =
                new Descriptor(
                        docker ? MediaType.DOCKER_CONFIG : MediaType.OCI_CONFIG,
                        config.sha256(),
                        config.size());
        blobs.put(config.sha256(), config);
        String type = docker ? MediaType.DOCKER_MANIFEST : MediaType.OCI_MANIFEST;
        Bytes manifest = manifest(type, configDescriptor, descriptors);
        Descriptor descriptor = new Descriptor(type, manifest.sha256(), manifest.size());
        return new TestImage(
                descriptor,
                Map.of(descriptor, manifest),
                blobs,
                List.copyOf(descriptors),
                List.copyOf(diffIds));
    }

    private Bytes config(List<Digest> diffIds) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("created", "2026-01-01T00:00:00Z")
                        .member("architecture", platform.architecture())
                        .member("os", platform.os());
        if (!platform.variant().isEmpty()) {
            json.member("variant", platform.variant());
        }
        json.beginObject("config")
                .member("Env", environment)
                .member("Cmd", command)
                .member("Labels", labels)
                .endObject()
                .beginObject("rootfs")
                .member("type", "layers")
                .member("diff_ids", diffIds.stream().map(Digest::toString).toList())
                .endObject()
                .beginArray("history");
        for (int i = 0; i < diffIds.size(); i++) {
            json.beginObject().member("created_by", "layer " + i).endObject();
        }
        return Bytes.of(json.endArray().endObject().toBytes());
    }

    private static Bytes manifest(String type, Descriptor config, List<Descriptor> layers) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", type)
                        .beginObject("config");
        members(json, config);
        json.endObject().beginArray("layers");
        for (Descriptor layer : layers) {
            json.beginObject();
            members(json, layer);
            json.endObject();
        }
        return Bytes.of(json.endArray().endObject().toBytes());
    }

    static void members(JsonWriter json, Descriptor descriptor) {
        json.member("mediaType", descriptor.mediaType())
                .member("digest", descriptor.digest().toString())
                .member("size", descriptor.sizeBytes());
    }
}
