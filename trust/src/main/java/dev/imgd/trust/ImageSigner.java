package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Limits;
import dev.imgd.model.Manifest;
import dev.imgd.model.MediaType;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.registry.RegistryWriter;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.interfaces.ECPrivateKey;
import java.security.interfaces.EdECPrivateKey;
import java.security.interfaces.RSAPrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Signs images as cosign does: a payload and its signature, stored under the tag
/// `sha256-<hex>.sig` beside the image. Thread-safe; the key stays in memory as long as the signer.
public final class ImageSigner {
    private static final Pattern PEM =
            Pattern.compile("-----BEGIN ([A-Z ]+)-----([A-Za-z0-9+/=\\s]*)-----END \\1-----");

    /// Where the password of a key comes from.
    @FunctionalInterface
    public interface KeyPassword {
        /// Asked only when the key has one.
        ///
        /// @return may be empty; overwritten after use
        byte[] get() throws ImageException;
    }

    private final PrivateKey key;
    private final String algorithm;

    private ImageSigner(PrivateKey key, String algorithm) {
        this.key = key;
        this.algorithm = algorithm;
    }

    /// A signer with a private key in PEM, plain PKCS#8 or as cosign encrypts it: ECDSA P-256 or
    /// P-384, RSA of 2048 to 8192 bits, or Ed25519.
    ///
    /// @param what where the key came from
    /// @param pem left to the caller, who may overwrite it
    /// @throws ImageException `INVALID_ARGUMENT` when it is no such key, `PERMISSION_DENIED` when
    ///   the password is wrong
    public static ImageSigner of(String what, byte[] pem, KeyPassword password)
            throws ImageException {
        byte[] der = der(what, pem, password);
        try {
            for (String family : List.of("EC", "RSA", "Ed25519")) {
                try {
                    PrivateKey key =
                            KeyFactory.getInstance(family)
                                    .generatePrivate(new PKCS8EncodedKeySpec(der));
                    return new ImageSigner(key, algorithm(what, key));
                } catch (GeneralSecurityException e) {
                    // Not of this family.
                }
            }
        } finally {
            Arrays.fill(der, (byte) 0);
        }
        throw ImageException.invalidArgument(
                what + ": wanted an ECDSA, RSA or Ed25519 private key");
    }

    private static byte[] der(String what, byte[] pem, KeyPassword password) throws ImageException {
        Matcher parts = PEM.matcher(new String(pem, StandardCharsets.ISO_8859_1).strip());
        boolean encrypted = parts.matches() && EncryptedKey.isLabel(parts.group(1));
        if (!parts.matches() || !(encrypted || parts.group(1).equals("PRIVATE KEY"))) {
            throw ImageException.invalidArgument(
                    what
                            + ": wanted a private key in PEM: \"PRIVATE KEY\" (PKCS#8) or cosign's \"ENCRYPTED SIGSTORE PRIVATE KEY\"; openssl pkcs8 -topk8 -nocrypt converts others");
        }
        byte[] content;
        try {
            content = Base64.getMimeDecoder().decode(parts.group(2));
        } catch (IllegalArgumentException e) {
            throw ImageException.invalidArgument(what + ": the PEM is not base64");
        }
        if (!encrypted) {
            return content;
        }
        byte[] secret = password.get();
        try {
            return EncryptedKey.open(what, content, secret);
        } finally {
            Arrays.fill(secret, (byte) 0);
        }
    }

    private static String algorithm(String what, PrivateKey key) throws ImageException {
        return switch (key) {
            case ECPrivateKey ec
                    when List.of(256, 384).contains(ec.getParams().getOrder().bitLength()) ->
                    "SHA256withECDSA";
            case RSAPrivateKey rsa
                    when rsa.getModulus().bitLength() >= 2048
                            && rsa.getModulus().bitLength() <= 8192 ->
                    "SHA256withRSA";
            case EdECPrivateKey _ -> "Ed25519";
            default ->
                    throw ImageException.invalidArgument(
                            what
                                    + ": wanted ECDSA P-256 or P-384, RSA of 2048 to 8192 bits, or"
                                    + " Ed25519");
        };
    }

    /// Signs one manifest or index, and puts the signature beside those that are there. Two calls
    /// at the same time for the same image can lose one of the signatures, as with cosign.
    ///
    /// @param image the repository it is signed for; a tag is not part of the signature
    /// @param digest what is signed
    /// @param limits how many signatures whoever verifies it looks at
    /// @return where the signatures of the image are
    /// @throws ImageException as [RegistryWriter#pushManifest]
    public Reference sign(RegistryClient client, Reference image, Digest digest, Limits limits)
            throws ImageException {
        Reference repository = Reference.parse(image.name());
        Bytes payload = Bytes.of(new SimpleSigning(digest, repository).toBytes());
        Descriptor layer =
                new Descriptor(
                        SimpleSigning.MEDIA_TYPE,
                        payload.sha256(),
                        payload.size(),
                        Map.of(
                                SimpleSigning.SIGNATURE_ANNOTATION,
                                Base64.getEncoder().encodeToString(signature(payload))),
                        List.of(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty());
        String tag = SimpleSigning.tag(digest);
        List<Descriptor> layers = new ArrayList<>();
        Optional<FetchedManifest> before = new RegistrySignatures(client, image).tagged(tag);
        if (before.isPresent()) {
            layers.addAll(
                    Manifest.parse(
                                    "signatures of " + digest,
                                    before.get().content(),
                                    Optional.of(before.get().descriptor().mediaType()))
                            .layers());
        }
        if (layers.size() >= limits.value(Limits.Key.SIGNATURES)) {
            throw ImageException.failedPrecondition(
                    "image %s: has %d signatures already, and %s lets no more be looked at; delete %s"
                            .formatted(
                                    image, layers.size(), Limits.Key.SIGNATURES.configKey(), tag));
        }
        layers.add(layer);
        RegistryWriter writer = client.writer();
        push(writer, repository, layer, payload);
        Bytes config = config(layers);
        Descriptor configDescriptor =
                new Descriptor(MediaType.OCI_CONFIG, config.sha256(), config.size());
        push(writer, repository, configDescriptor, config);
        Bytes manifest = manifest(configDescriptor, layers);
        writer.pushManifest(
                repository,
                new Descriptor(MediaType.OCI_MANIFEST, manifest.sha256(), manifest.size()),
                manifest,
                List.of(tag));
        return repository.withTag(tag);
    }

    private static void push(
            RegistryWriter writer, Reference repository, Descriptor blob, Bytes content)
            throws ImageException {
        var _ = writer.pushBlob(repository, blob, RegistryWriter.BlobSource.of(content), List.of());
    }

    private byte[] signature(Bytes payload) throws ImageException {
        try {
            Signature signer = Signature.getInstance(algorithm);
            signer.initSign(key);
            signer.update(payload.toArray());
            return signer.sign();
        } catch (GeneralSecurityException e) {
            throw new ImageException(ErrorKind.INTERNAL, "cannot sign: " + e.getMessage(), e);
        }
    }

    /// An image's configuration, since some registries refuse anything else.
    private static Bytes config(List<Descriptor> layers) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("architecture", "")
                        .member("created", "0001-01-01T00:00:00Z")
                        .beginArray("history");
        for (int i = 0; i < layers.size(); i++) {
            json.beginObject().member("created", "0001-01-01T00:00:00Z").endObject();
        }
        return Bytes.of(
                json.endArray()
                        .member("os", "")
                        .beginObject("rootfs")
                        .member("type", "layers")
                        .member(
                                "diff_ids",
                                layers.stream().map(layer -> layer.digest().toString()).toList())
                        .endObject()
                        .beginObject("config")
                        .endObject()
                        .endObject()
                        .toBytes());
    }

    private static Bytes manifest(Descriptor config, List<Descriptor> layers) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST);
        config.write(json.name("config"));
        json.beginArray("layers");
        for (Descriptor layer : layers) {
            layer.write(json);
        }
        return Bytes.of(json.endArray().endObject().toBytes());
    }
}
