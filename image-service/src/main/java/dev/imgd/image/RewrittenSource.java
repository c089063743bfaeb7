package dev.imgd.image;

import dev.imgd.image.LayerRewriting.Rewritten;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Index;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.ManifestDocument;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.BlobStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// An image of another source with other layers. Manifests and indexes keep everything but what
/// follows from the layers: types, digests, sizes and annotations.
final class RewrittenSource implements CopySource {
    private final CopySource source;
    private final String what;
    private final LayerRewriting rewriting;
    private final Limits limits;
    private final Check check;
    private final Map<Digest, Bytes> documents = new HashMap<>();
    private final Map<Digest, Rewritten> before = new HashMap<>();
    private final Map<Digest, Rewritten> after = new HashMap<>();
    private final Descriptor target;

    /// Reads all layers of the image once.
    ///
    /// @param source closed by the caller
    /// @param original the manifest or index to rewrite
    /// @param check asked now and then whether to go on
    RewrittenSource(
            CopySource source,
            String what,
            Descriptor original,
            LayerRewriting rewriting,
            Limits limits,
            Check check)
            throws ImageException {
        this.source = source;
        this.what = what;
        this.rewriting = rewriting;
        this.limits = limits;
        this.check = check;
        this.target = rewritten(original, 0);
        if (before.isEmpty()) {
            throw rewriting.nothing(what);
        }
    }

    private Descriptor rewritten(Descriptor descriptor, int depth) throws ImageException {
        limits.check(Limits.Key.INDEX_DEPTH, what + ": nested indexes", depth);
        String name = "%s %s".formatted(what, descriptor.digest());
        Bytes content = source.document(descriptor);
        ManifestDocument parsed =
                ManifestDocument.parse(name, content, Optional.of(descriptor.mediaType()), limits);
        JsonNode root = Json.parse(name, content.toArray(), limits);
        return switch (parsed) {
            case Manifest manifest -> {
                Map<Integer, Descriptor> layers = layers(manifest);
                yield layers.isEmpty()
                        ? descriptor
                        : document(root, manifest.mediaType(), "layers", layers);
            }
            case Index index -> {
                Map<Integer, Descriptor> entries = entries(index, depth);
                yield entries.isEmpty()
                        ? descriptor
                        : document(root, index.mediaType(), "manifests", entries);
            }
        };
    }

    private Map<Integer, Descriptor> layers(Manifest manifest) throws ImageException {
        Map<Integer, Descriptor> changed = new HashMap<>();
        int count = manifest.isImage() ? manifest.imageLayers().size() : 0;
        int index = 0;
        for (int i = 0; i < manifest.layers().size() && count > 0; i++) {
            Descriptor layer = manifest.layers().get(i);
            if (!(layer.type() instanceof MediaType.LayerType)) {
                continue;
            }
            // Repeated ones, also of other platforms, are one blob before and after.
            Rewritten known = before.get(layer.digest());
            Optional<Rewritten> rewritten =
                    known != null
                            ? Optional.of(known)
                            : rewriting.rewrite(
                                    what,
                                    layer,
                                    index,
                                    count,
                                    offset -> source.open(layer, offset),
                                    limits,
                                    check);
            index++;
            if (rewritten.isPresent()) {
                before.put(layer.digest(), rewritten.get());
                after.put(rewritten.get().after().digest(), rewritten.get());
                changed.put(i, rewritten.get().after());
            }
        }
        return changed;
    }

    private Map<Integer, Descriptor> entries(Index index, int depth) throws ImageException {
        Map<Integer, Descriptor> changed = new HashMap<>();
        for (int i = 0; i < index.manifests().size(); i++) {
            Descriptor entry = index.manifests().get(i);
            if (entry.type() instanceof MediaType.ManifestType
                    || entry.type() instanceof MediaType.IndexType) {
                Descriptor rewritten = rewritten(entry, depth + 1);
                if (!rewritten.digest().equals(entry.digest())) {
                    changed.put(
                            i,
                            new Descriptor(
                                    rewritten.mediaType(),
                                    rewritten.digest(),
                                    rewritten.sizeBytes(),
                                    entry.annotations(),
                                    List.of(),
                                    entry.platform(),
                                    entry.artifactType(),
                                    Optional.empty()));
                }
            }
        }
        return changed;
    }

    /// @param list the member with the descriptors, of which some are `changed`
    private Descriptor document(
            JsonNode root, String mediaType, String list, Map<Integer, Descriptor> changed)
            throws ImageException {
        String type = rewriting.around(mediaType);
        JsonWriter json = JsonWriter.compact().beginObject();
        for (Map.Entry<String, JsonNode> member : root.members().entrySet()) {
            String name = member.getKey();
            if (name.equals(list)) {
                json.beginArray(list);
                int i = 0;
                for (JsonNode item : member.getValue().items()) {
                    descriptor(json, item, changed.get(i++));
                }
                json.endArray();
            } else if (name.equals("config")) {
                descriptor(json.name(name), member.getValue(), null);
            } else if (name.equals("mediaType")) {
                json.member(name, type);
            } else {
                json.name(name).value(member.getValue());
            }
        }
        Bytes content = Bytes.of(json.endObject().toBytes());
        documents.put(content.sha256(), content);
        return new Descriptor(type, content.sha256(), content.size());
    }

    /// Writes a descriptor with all it has, members that are unknown here included.
    private void descriptor(JsonWriter json, JsonNode node, @Nullable Descriptor changed)
            throws ImageException {
        json.beginObject();
        boolean annotated = false;
        for (Map.Entry<String, JsonNode> member : node.members().entrySet()) {
            String name = member.getKey();
            if (name.equals("mediaType")) {
                json.member(
                        name,
                        changed != null
                                ? changed.mediaType()
                                : rewriting.around(member.getValue().text()));
            } else if (changed == null) {
                json.name(name).value(member.getValue());
            } else if (name.equals("annotations")) {
                annotated = true;
                annotations(json, node.textMap(name), changed.annotations());
            } else {
                switch (name) {
                    case "digest" -> json.member(name, changed.digest().toString());
                    case "size" -> json.member(name, changed.sizeBytes());
                    case "data", "urls" -> {} // of the content before
                    default -> json.name(name).value(member.getValue());
                }
            }
        }
        if (changed != null && !annotated) {
            annotations(json, Map.of(), changed.annotations());
        }
        json.endObject();
    }

    /// Those that stay keep their order.
    private static void annotations(
            JsonWriter json, Map<String, String> old, Map<String, String> changed) {
        Map<String, String> ordered = new LinkedHashMap<>();
        for (String name : old.keySet()) {
            String value = changed.get(name);
            if (value != null) {
                ordered.put(name, value);
            }
        }
        changed.entrySet().stream()
                .sorted(Map.Entry.comparingByKey())
                .forEach(e -> ordered.putIfAbsent(e.getKey(), e.getValue()));
        if (!ordered.isEmpty()) {
            json.beginObject("annotations");
            ordered.forEach(json::member);
            json.endObject();
        }
    }

    @Override
    public Descriptor target() {
        return target;
    }

    @Override
    public Bytes document(Descriptor descriptor) throws ImageException {
        Bytes rewritten = documents.get(descriptor.digest());
        return rewritten != null ? rewritten : source.document(descriptor);
    }

    @Override
    public boolean has(Descriptor blob) throws ImageException {
        Rewritten rewritten = after.get(blob.digest());
        return source.has(rewritten == null ? blob : rewritten.before());
    }

    @Override
    public BlobStream open(Descriptor blob, long offset) throws IOException {
        Rewritten rewritten = after.get(blob.digest());
        return rewritten == null
                ? source.open(blob, offset)
                : new Enciphered(
                        source.open(rewritten.before(), offset),
                        LayerCipher.of(rewritten.secret(), offset));
    }

    @Override
    public List<Descriptor> referrers(Digest subject) {
        return List.of(); // they refer to the image before
    }

    @Override
    public List<Attachment> attachments(Digest subject) {
        return List.of();
    }

    @Override
    public Optional<Reference> repository() {
        return source.repository();
    }

    /// The caller holds what is read for this.
    @Override
    public void hold(Collection<Digest> blobs) {}

    @Override
    public void close() {}

    /// Encrypts or decrypts what another stream gives.
    private static final class Enciphered implements BlobStream {
        private final BlobStream stream;
        private final LayerCipher cipher;

        Enciphered(BlobStream stream, LayerCipher cipher) {
            this.stream = stream;
            this.cipher = cipher;
        }

        @Override
        public int read(ByteBuffer into) throws IOException {
            int start = into.position();
            int count = stream.read(into);
            if (count > 0) {
                cipher.update(into.duplicate().position(start).limit(start + count));
            }
            return count;
        }

        @Override
        public String from() {
            return stream.from();
        }

        @Override
        public List<RegistryClient.Span> spans() {
            return stream.spans();
        }

        @Override
        public void close() {
            cipher.close();
            stream.close();
        }
    }
}
