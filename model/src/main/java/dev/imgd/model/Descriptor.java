package dev.imgd.model;

import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A typed, sized pointer to content. **Source:** OCI image-spec v1.1, descriptor.md.
///
/// @param mediaType the declared media type, never empty
/// @param digest the digest of the content
/// @param sizeBytes the exact size, 0 to 1 TiB
/// @param annotations attacker input when it came from a registry; never security-relevant
/// @param urls extra places of foreign layers; not fetched unless configured
/// @param platform the platform of an index entry
/// @param artifactType the type of an artifact manifest that an index points to
/// @param data the content itself where the descriptor embeds it; at most 4 MiB, not yet verified
public record Descriptor(
        String mediaType,
        Digest digest,
        long sizeBytes,
        Map<String, String> annotations,
        List<String> urls,
        Optional<Platform> platform,
        Optional<String> artifactType,
        Optional<Bytes> data) {

    /// The largest size a descriptor may state: 1 TiB.
    public static final long MAX_SIZE_BYTES = 1L << 40;

    /// The annotation of an index that says what an entry is called, a tag mostly. **Source:** OCI
    /// image-spec v1.1, annotations.md.
    public static final String REF_NAME = "org.opencontainers.image.ref.name";

    /// The annotation of an index with the whole reference of an entry, as containerd's archives
    /// have it. **Source:** containerd, core/images/annotations.go.
    public static final String CONTAINERD_NAME = "io.containerd.image.name";

    private static final byte[] NOTHING = {};

    public Descriptor {
        if (mediaType.isEmpty()) {
            throw new IllegalArgumentException("the media type is empty");
        }
        if (sizeBytes < 0 || sizeBytes > MAX_SIZE_BYTES) {
            throw new IllegalArgumentException("size out of range: " + sizeBytes);
        }
        annotations = Map.copyOf(annotations);
        urls = List.copyOf(urls);
    }

    /// A descriptor with nothing but the three required fields.
    public Descriptor(String mediaType, Digest digest, long sizeBytes) {
        this(mediaType, digest, sizeBytes, Map.of());
    }

    /// A descriptor with annotations and otherwise only the required fields.
    public Descriptor(
            String mediaType, Digest digest, long sizeBytes, Map<String, String> annotations) {
        this(
                mediaType,
                digest,
                sizeBytes,
                annotations,
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /// The media type, classified.
    public MediaType type() {
        return MediaType.of(mediaType);
    }

    /// The embedded content, checked against size and digest.
    ///
    /// @param what the descriptor and where it came from
    /// @throws ImageException a [SizeMismatchException] or [DigestMismatchException]
    public Optional<Bytes> verifiedData(String what) throws ImageException {
        if (data.isEmpty()) {
            return Optional.empty();
        }
        Bytes content = data.get();
        if (content.size() != sizeBytes) {
            throw new SizeMismatchException(what + ": embedded data", sizeBytes, content.size());
        }
        Digest got = content.digestLike(digest);
        if (!got.equals(digest)) {
            throw new DigestMismatchException(
                    what + ": embedded data", digest, got, content.size());
        }
        return data;
    }

    /// Reads a descriptor.
    ///
    /// The media type, digest and size are required; without a size nothing would bound the
    /// download. A size of 0 needs the digest of nothing.
    ///
    /// @throws ImageException [ErrorKind#INVALID_CONTENT] with the place in the document
    public static Descriptor read(JsonNode node) throws ImageException {
        JsonNode mediaType = node.require("mediaType");
        if (mediaType.text().isEmpty()) {
            throw mediaType.invalid("the media type is empty");
        }
        Digest digest = readDigest(node.require("digest"));
        JsonNode size = node.require("size");
        long sizeBytes = size.integer(0, MAX_SIZE_BYTES);
        if (sizeBytes == 0 && !digest.equals(digest.ofSameAlgorithm(NOTHING))) {
            throw size.invalid("0 bytes cannot have the digest " + digest);
        }
        Optional<JsonNode> platform = node.find("platform");
        Optional<JsonNode> artifactType = node.find("artifactType");
        Optional<JsonNode> data = node.find("data");
        return new Descriptor(
                mediaType.text(),
                digest,
                sizeBytes,
                node.textMap("annotations"),
                node.texts("urls"),
                platform.isPresent()
                        ? Optional.of(Platform.read(platform.get()))
                        : Optional.empty(),
                artifactType.isPresent()
                        ? Optional.of(artifactType.get().text())
                        : Optional.empty(),
                data.isPresent() ? Optional.of(readBase64(data.get())) : Optional.empty());
    }

    /// Writes this descriptor as a value, in the order that other tools use.
    public void write(JsonWriter json) {
        json.beginObject()
                .member("mediaType", mediaType)
                .member("digest", digest.toString())
                .member("size", sizeBytes);
        if (!urls.isEmpty()) {
            json.member("urls", urls);
        }
        if (!annotations.isEmpty()) {
            json.member("annotations", annotations);
        }
        if (data.isPresent()) {
            json.member("data", Base64.getEncoder().encodeToString(data.get().array()));
        }
        if (platform.isPresent()) {
            platform.get().write(json.name("platform"));
        }
        if (artifactType.isPresent()) {
            json.member("artifactType", artifactType.get());
        }
        json.endObject();
    }

    static Digest readDigest(JsonNode node) throws ImageException {
        try {
            return Digest.parse(node.text());
        } catch (ImageException e) {
            throw e.kind() == ErrorKind.INVALID_CONTENT ? e : node.invalid(e.getMessage());
        }
    }

    private static Bytes readBase64(JsonNode node) throws ImageException {
        try {
            return Bytes.of(Base64.getDecoder().decode(node.text()));
        } catch (IllegalArgumentException e) {
            throw node.invalid("not base64");
        }
    }
}
