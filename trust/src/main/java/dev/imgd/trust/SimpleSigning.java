package dev.imgd.trust;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import java.util.List;
import java.util.Set;

/// The payload that cosign signs: which image, under which name. **Source:** cosign
/// SIGNATURE_SPEC.md; containers/image, atomic-signature.
///
/// @param digest the manifest that was signed
/// @param identity the name it was signed for; of cosign a repository, of others often with a tag
record SimpleSigning(Digest digest, Reference identity) {
    static final String MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json";
    static final String SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";

    /// The largest payload that is read.
    static final int MAX_BYTES = 64 << 10;

    private static final String TYPE = "cosign container image signature";

    /// The tag under which cosign stores the signatures of an image.
    static String tag(Digest image) {
        return image.algorithm().label() + "-" + image.hex() + ".sig";
    }

    /// Reads a payload whose signature was verified before.
    ///
    /// @throws ImageException `INVALID_CONTENT` when anything is missing, unknown or twice
    static SimpleSigning parse(byte[] payload) throws ImageException {
        JsonNode root = Json.parse("payload", payload);
        if (!root.members().keySet().equals(Set.of("critical", "optional"))) {
            throw root.invalid("wanted exactly \"critical\" and \"optional\"");
        }
        root.find("optional").orElse(root).members();
        JsonNode critical =
                Strict.only(root.require("critical"), List.of("type", "image", "identity"));
        JsonNode type = critical.require("type");
        if (!type.text().equals(TYPE)) {
            throw type.invalid("wanted \"" + TYPE + "\"");
        }
        JsonNode image = Strict.only(critical.require("image"), List.of("docker-manifest-digest"));
        JsonNode identity = Strict.only(critical.require("identity"), List.of("docker-reference"));
        try {
            return new SimpleSigning(
                    Digest.parse(image.require("docker-manifest-digest").text()),
                    Reference.parse(identity.require("docker-reference").text()));
        } catch (ImageException e) {
            throw ImageException.invalidContent("payload: " + e.getMessage());
        }
    }

    /// The document, as cosign writes it.
    byte[] toBytes() {
        return JsonWriter.compact()
                .beginObject()
                .beginObject("critical")
                .beginObject("identity")
                .member("docker-reference", identity.toString())
                .endObject()
                .beginObject("image")
                .member("docker-manifest-digest", digest.toString())
                .endObject()
                .member("type", TYPE)
                .endObject()
                .name("optional")
                .nullValue()
                .endObject()
                .toBytes();
    }
}
