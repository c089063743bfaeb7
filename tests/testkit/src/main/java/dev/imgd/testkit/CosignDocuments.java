package dev.imgd.testkit;

import dev.imgd.model.Digest;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;

/// What cosign attaches to an image, written out here and signed by `openssl`. **Source:** cosign
/// SIGNATURE_SPEC.md and BUNDLE_SPEC.md; the DSSE protocol.
public final class CosignDocuments {
    /// The artifact type of simple signing among referrers.
    public static final String SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json";

    /// The layer that holds a payload of simple signing.
    public static final String SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json";

    /// The annotation of that layer which holds the signature.
    public static final String SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature";

    /// The type of a sigstore bundle, as an artifact and as a layer.
    public static final String BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

    /// The predicate of a statement that is a signature.
    public static final String SIGN = "https://sigstore.dev/cosign/sign/v1";

    private static final String MATERIAL =
            "\"verificationMaterial\":{\"publicKey\":{\"hint\":\"x\"}}";
    private static final String IN_TOTO = "application/vnd.in-toto+json";

    private CosignDocuments() {}

    /// What a signature of simple signing is made over.
    ///
    /// @param reference the name it is for
    public static byte[] payload(Digest image, String reference) {
        return ("{\"critical\":{\"identity\":{\"docker-reference\":\"%s\"},\"image\":"
                        + "{\"docker-manifest-digest\":\"%s\"},\"type\":"
                        + "\"cosign container image signature\"},\"optional\":null}")
                .formatted(reference, image)
                .getBytes(StandardCharsets.UTF_8);
    }

    /// A bundle whose signature is made over the manifest itself.
    public static String messageBundle(OpenSsl openssl, Path key, byte[] manifest)
            throws Exception {
        return "{\"mediaType\":\"%s\",%s,\"messageSignature\":{\"messageDigest\":{\"algorithm\":\"SHA2_256\",\"digest\":\"%s\"},\"signature\":\"%s\"}}"
                .formatted(
                        BUNDLE,
                        MATERIAL,
                        base64(Digest.sha256(manifest).bytes()),
                        base64(openssl.sign(key, manifest)));
    }

    /// An in-toto statement about one image.
    ///
    /// @param hex of the SHA-256 of its manifest
    public static String statement(String hex, String predicate) {
        return "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"digest\":{\"sha256\":\"%s\"}}],\"predicateType\":\"%s\",\"predicate\":{}}"
                .formatted(hex, predicate);
    }

    /// A bundle around a signed statement.
    public static String statementBundle(OpenSsl openssl, Path key, String statement)
            throws Exception {
        byte[] payload = statement.getBytes(StandardCharsets.UTF_8);
        byte[] signed =
                ("DSSEv1 28 " + IN_TOTO + " " + payload.length + " " + statement)
                        .getBytes(StandardCharsets.UTF_8);
        return "{\"mediaType\":\"%s\",%s,\"dsseEnvelope\":{\"payload\":\"%s\",\"payloadType\":\"%s\",\"signatures\":[{\"sig\":\"%s\"}]}}"
                .formatted(
                        BUNDLE,
                        MATERIAL,
                        base64(payload),
                        IN_TOTO,
                        base64(openssl.sign(key, signed)));
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
