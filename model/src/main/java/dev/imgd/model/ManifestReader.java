package dev.imgd.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// Decides what a manifest document is, and reads it.
final class ManifestReader {
    private static final int MAX_SHOWN_CHARS = 120;

    private final String what;
    private final Bytes raw;
    private final JsonNode root;
    private final Limits limits;

    private ManifestReader(String what, Bytes raw, JsonNode root, Limits limits) {
        this.what = what;
        this.raw = raw;
        this.root = root;
        this.limits = limits;
    }

    static ManifestDocument read(String what, Bytes raw, String declared, Limits limits)
            throws ImageException {
        JsonNode root = Json.parse(what, raw.array(), limits);
        return new ManifestReader(what, raw, root, limits).read(declared);
    }

    private ManifestDocument read(String declared) throws ImageException {
        refuseLookalikes();
        refuseSchema1(declared);
        String type = mediaType(declared);
        MediaType kind = MediaType.of(type);
        // Not a pattern switch: linking the first one costs a cold start about ten milliseconds.
        if (kind instanceof MediaType.ManifestType) {
            return manifest(type);
        }
        if (kind instanceof MediaType.IndexType) {
            return index(type);
        }
        if (kind instanceof MediaType.Schema1Type) {
            throw schema1();
        }
        throw ImageException.invalidContent(
                "%s: wanted an image manifest or index, got the media type \"%s\""
                        .formatted(what, Text.printable(type, MAX_SHOWN_CHARS)));
    }

    /// Readers written in Go match names in any case, so `Layers` beside `manifests` would be
    /// another image to them. No tool writes such names.
    private void refuseLookalikes() throws ImageException {
        for (String name : root.members().keySet()) {
            switch (name.toLowerCase(Locale.ROOT)) {
                case "schemaversion" -> requireName(name, "schemaVersion");
                case "mediatype" -> requireName(name, "mediaType");
                case "config" -> requireName(name, "config");
                case "layers" -> requireName(name, "layers");
                case "manifests" -> requireName(name, "manifests");
                case "fslayers" -> requireName(name, "fsLayers");
                default -> {}
            }
        }
    }

    private void requireName(String name, String wanted) throws ImageException {
        if (!name.equals(wanted)) {
            throw ambiguous(
                    "the name \"%s\" differs from \"%s\" only in case"
                            .formatted(Text.printable(name, MAX_SHOWN_CHARS), wanted));
        }
    }

    private void refuseSchema1(String declared) throws ImageException {
        if (root.find("fsLayers").isPresent()
                || MediaType.of(declared) instanceof MediaType.Schema1Type) {
            throw schema1();
        }
        Optional<JsonNode> version = root.find("schemaVersion");
        // An absent version is common in hand-made documents, and nothing depends on it.
        if (version.isPresent()) {
            long number = version.get().integer(Long.MIN_VALUE, Long.MAX_VALUE);
            if (number == 1) {
                throw schema1();
            }
            if (number != 2) {
                throw version.get().invalid("wanted 2, got " + number);
            }
        }
    }

    private ImageException schema1() {
        return ImageException.invalidContent(
                what
                        + ": a Docker schema 1 manifest, which is not supported: nothing in it can"
                        + " be verified; push the image again with a current client");
    }

    private String mediaType(String declared) throws ImageException {
        boolean hasManifests = root.find("manifests").isPresent();
        boolean hasImage = root.find("layers").isPresent() || root.find("config").isPresent();
        if (hasManifests && hasImage) {
            throw ambiguous("it has \"manifests\" and also \"layers\" or \"config\"");
        }
        String own = root.text("mediaType", "");
        String agreed = declaredType(declared);
        if (!own.isEmpty() && !agreed.isEmpty() && !own.equals(agreed)) {
            throw ambiguous(
                    "it says it is \"%s\", but was declared as \"%s\""
                            .formatted(
                                    Text.printable(own, MAX_SHOWN_CHARS),
                                    Text.printable(agreed, MAX_SHOWN_CHARS)));
        }
        String type = own.isEmpty() ? agreed : own;
        if (type.isEmpty()) {
            if (!hasManifests && !hasImage) {
                throw ImageException.invalidContent(
                        what
                                + ": wanted an image manifest or index, got no \"manifests\","
                                + " no \"config\" and no media type");
            }
            return hasManifests ? MediaType.OCI_INDEX : MediaType.OCI_MANIFEST;
        }
        if (hasImage && MediaType.of(type) instanceof MediaType.IndexType) {
            throw ambiguous("it is declared as an index and has \"layers\" or \"config\"");
        }
        if (hasManifests && MediaType.of(type) instanceof MediaType.ManifestType) {
            throw ambiguous("it is declared as a manifest and has \"manifests\"");
        }
        return type;
    }

    private static String declaredType(String declared) {
        int semicolon = declared.indexOf(';');
        String type = (semicolon < 0 ? declared : declared.substring(0, semicolon)).strip();
        return switch (type) {
            case "application/json",
                    "application/octet-stream",
                    "text/plain",
                    "binary/octet-stream" ->
                    "";
            default -> type;
        };
    }

    private ImageException ambiguous(String why) {
        return ImageException.invalidContent(
                "%s: ambiguous manifest refused: %s".formatted(what, why));
    }

    private Index index(String type) throws ImageException {
        return new Index(
                raw,
                type,
                descriptors("manifests"),
                descriptor("subject"),
                artifactType(),
                root.textMap("annotations"));
    }

    private Manifest manifest(String type) throws ImageException {
        Manifest manifest =
                new Manifest(
                        raw,
                        type,
                        Descriptor.read(root.require("config")),
                        descriptors("layers"),
                        descriptor("subject"),
                        artifactType(),
                        root.textMap("annotations"));
        if (manifest.isImage()) {
            int layers = manifest.imageLayers().size();
            check(Limits.Key.LAYERS, layers, "layers");
        }
        return manifest;
    }

    private List<Descriptor> descriptors(String name) throws ImageException {
        List<JsonNode> items = root.items(name);
        check(Limits.Key.DESCRIPTORS, items.size(), name);
        List<Descriptor> descriptors = new ArrayList<>(items.size());
        for (JsonNode item : items) {
            descriptors.add(Descriptor.read(item));
        }
        return descriptors;
    }

    private void check(Limits.Key key, int amount, String of) throws ImageException {
        // The message is made only for the error: this runs for every manifest.
        if (amount > limits.value(key)) {
            throw limits.exceeded(key, "%s: %d %s".formatted(what, amount, of));
        }
    }

    private Optional<Descriptor> descriptor(String name) throws ImageException {
        Optional<JsonNode> node = root.find(name);
        return node.isPresent() ? Optional.of(Descriptor.read(node.get())) : Optional.empty();
    }

    private Optional<String> artifactType() throws ImageException {
        String type = root.text("artifactType", "");
        return type.isEmpty() ? Optional.empty() : Optional.of(type);
    }
}
