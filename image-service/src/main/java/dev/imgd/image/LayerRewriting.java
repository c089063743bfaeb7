package dev.imgd.image;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.MediaType;
import dev.imgd.registry.RegistryWriter.BlobSource;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.LayerEncryption;
import dev.imgd.trust.LayerRecipients;
import dev.imgd.trust.LayerSecret;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What happens to layers on their way from one place to another: they are encrypted, or decrypted.
///
/// Every layer is read twice, so that nothing is kept in memory or on disk: once for what the
/// manifest states about it, and once for its bytes. Of a layer that is decrypted, the first time
/// is for its HMAC, before anything of it is decrypted.
public abstract sealed class LayerRewriting {
    /// A layer before and after.
    record Rewritten(Descriptor before, Descriptor after, LayerSecret secret) {}

    private LayerRewriting() {}

    /// Encrypts layers for recipients, who all can decrypt them alone.
    ///
    /// @param layers which ones of each image, 0 for the lowest and -1 for the topmost; empty for
    ///   all
    public static LayerRewriting encrypt(LayerRecipients recipients, List<Integer> layers) {
        return new Encrypting(recipients, List.copyOf(layers));
    }

    /// Decrypts all encrypted layers.
    public static LayerRewriting decrypt(DecryptionKeys.Source keys) {
        return new Decrypting(keys);
    }

    /// Refuses a destination that is wrong for what comes of the layers, before any is read.
    abstract void requireFit(ImageLocation destination) throws ImageException;

    /// What comes of a layer; empty when it stays as it is.
    ///
    /// @param what the image, for messages
    /// @param count how many layers the image has
    /// @param bytes gives the layer
    /// @param limits of what the layer decompresses to
    /// @param check asked now and then whether to go on
    abstract Optional<Rewritten> rewrite(
            String what,
            Descriptor layer,
            int index,
            int count,
            BlobSource bytes,
            Limits limits,
            Check check)
            throws ImageException;

    /// The media type of what was not rewritten itself, but what is around it was.
    abstract String around(String mediaType);

    /// That no layer was rewritten.
    abstract ImageException nothing(String what);

    private static final class Encrypting extends LayerRewriting {
        private final LayerRecipients recipients;
        private final List<Integer> layers;

        Encrypting(LayerRecipients recipients, List<Integer> layers) {
            this.recipients = recipients;
            this.layers = layers;
        }

        @Override
        void requireFit(ImageLocation destination) throws ImageException {
            if (destination.transport() == ImageLocation.Transport.DOCKER_ARCHIVE) {
                throw UnlockedLayers.dockerArchive("copy to " + destination);
            }
        }

        @Override
        Optional<Rewritten> rewrite(
                String what,
                Descriptor layer,
                int index,
                int count,
                BlobSource bytes,
                Limits limits,
                Check check)
                throws ImageException {
            for (int wanted : layers) {
                if (wanted >= count || wanted < -count) {
                    throw ImageException.invalidArgument(
                            "%s: there is no layer %d; wanted %d to %d"
                                    .formatted(what, wanted, -count, count - 1));
                }
            }
            if (!layers.isEmpty() && !layers.contains(index) && !layers.contains(index - count)) {
                return Optional.empty();
            }
            if (UnlockedLayers.isEncrypted(layer)) {
                throw ImageException.failedPrecondition(
                        "%s: layer %d (%s) is encrypted already; decrypt the image first, or choose others with --layer"
                                .formatted(what, index, layer.digest()));
            }
            LayerSecret secret = LayerSecret.create(layer.digest());
            try (LayerCipher cipher = LayerCipher.of(secret, 0);
                    LayerMac mac = LayerMac.of(secret);
                    BlobDigest digest = BlobDigest.of(Digest.Algorithm.SHA256)) {
                PlainLayer.read(
                        "layer %s of %s".formatted(layer.digest(), what),
                        layer,
                        bytes,
                        check,
                        buffer -> {
                            cipher.update(buffer);
                            mac.update(buffer.duplicate());
                            digest.update(buffer);
                        });
                Map<String, String> annotations = new LinkedHashMap<>(layer.annotations());
                annotations.putAll(LayerEncryption.seal(secret, mac.finish(), recipients));
                return Optional.of(
                        new Rewritten(
                                layer,
                                described(
                                        layer,
                                        around(layer.mediaType()) + LayerEncryption.SUFFIX,
                                        digest.finish(),
                                        annotations),
                                secret));
            }
        }

        /// Docker's formats have no annotations and no encrypted layers.
        @Override
        String around(String mediaType) {
            return switch (mediaType) {
                case MediaType.DOCKER_INDEX -> MediaType.OCI_INDEX;
                case MediaType.DOCKER_MANIFEST -> MediaType.OCI_MANIFEST;
                case MediaType.DOCKER_CONFIG -> MediaType.OCI_CONFIG;
                case MediaType.DOCKER_LAYER -> MediaType.OCI_LAYER;
                case MediaType.DOCKER_LAYER_GZIP -> MediaType.OCI_LAYER_GZIP;
                case MediaType.DOCKER_LAYER_ZSTD -> MediaType.OCI_LAYER_ZSTD;
                case MediaType.DOCKER_FOREIGN_LAYER -> MediaType.OCI_FOREIGN_LAYER;
                case MediaType.DOCKER_FOREIGN_LAYER_GZIP -> MediaType.OCI_FOREIGN_LAYER + "+gzip";
                default -> mediaType;
            };
        }

        @Override
        ImageException nothing(String what) {
            return ImageException.failedPrecondition(what + ": has no layers to encrypt");
        }
    }

    private static final class Decrypting extends LayerRewriting {
        private final DecryptionKeys.Source keys;

        Decrypting(DecryptionKeys.Source keys) {
            this.keys = keys;
        }

        @Override
        void requireFit(ImageLocation destination) throws ImageException {
            if (destination.transport() == ImageLocation.Transport.STORE) {
                throw ImageException.invalidArgument(
                        "copy to %s: decrypted layers are not kept in the store, where other images would share them; use oci:, or pull the encrypted image"
                                .formatted(destination));
            }
        }

        @Override
        Optional<Rewritten> rewrite(
                String what,
                Descriptor layer,
                int index,
                int count,
                BlobSource bytes,
                Limits limits,
                Check check)
                throws ImageException {
            if (!UnlockedLayers.isEncrypted(layer)) {
                return Optional.empty();
            }
            LayerSecret secret = LayerEncryption.open(what, layer, keys.load());
            Digest plain =
                    PlainLayer.verify(
                            "layer %s of %s".formatted(layer.digest(), what),
                            layer,
                            secret,
                            bytes,
                            limits,
                            check);
            Map<String, String> annotations = new LinkedHashMap<>(layer.annotations());
            annotations.keySet().removeIf(LayerEncryption::isAnnotation);
            String type = layer.mediaType();
            return Optional.of(
                    new Rewritten(
                            layer,
                            described(
                                    layer,
                                    type.substring(
                                            0, type.length() - LayerEncryption.SUFFIX.length()),
                                    plain,
                                    annotations),
                            secret));
        }

        @Override
        String around(String mediaType) {
            return mediaType;
        }

        @Override
        ImageException nothing(String what) {
            return ImageException.failedPrecondition(what + ": has no encrypted layers");
        }
    }

    /// Without content that the descriptor embeds and without other places to get it from: both are
    /// those of the layer before.
    private static Descriptor described(
            Descriptor layer, String mediaType, Digest digest, Map<String, String> annotations) {
        return new Descriptor(
                mediaType,
                digest,
                layer.sizeBytes(),
                annotations,
                List.of(),
                layer.platform(),
                layer.artifactType(),
                Optional.empty());
    }
}
