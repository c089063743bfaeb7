package dev.imgd.image;

import dev.imgd.model.ChainId;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Manifest;
import dev.imgd.model.MediaType;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.LayerEncryption;
import dev.imgd.trust.LayerSecret;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The layers of an image that is about to be unpacked or used: the keys of those that are
/// encrypted, and under which names their trees are.
///
/// A plain layer's tree is known by its diffID, whoever brought it. An encrypted layer's tree has a
/// name that only follows from its key ([LayerSecret#tree]): who cannot open an envelope of the
/// layer cannot even ask for a tree that somebody else had decrypted, and an image that merely
/// states the same diffID asks for another one.
///
/// @param diffIds of the configuration, lowest first
/// @param trees what the snapshotter knows the layers by
/// @param secrets of the encrypted ones
record UnlockedLayers(
        List<Digest> diffIds, List<Digest> trees, List<Optional<LayerSecret>> secrets) {
    UnlockedLayers {
        diffIds = List.copyOf(diffIds);
        trees = List.copyOf(trees);
        secrets = List.copyOf(secrets);
    }

    /// Opens an envelope of every encrypted layer, whether its tree is here or not.
    ///
    /// @param what the image, for messages
    /// @param layers in the order of `diffIds`
    /// @throws ImageException `PERMISSION_DENIED` when a layer is encrypted for others
    static UnlockedLayers of(
            String what,
            List<Descriptor> layers,
            List<Digest> diffIds,
            DecryptionKeys.Source source)
            throws ImageException {
        List<Digest> trees = new ArrayList<>(diffIds.size());
        List<Optional<LayerSecret>> secrets = new ArrayList<>(diffIds.size());
        DecryptionKeys keys = null;
        for (int i = 0; i < diffIds.size(); i++) {
            Descriptor layer = layers.get(i);
            if (isEncrypted(layer)) {
                keys = loaded(keys, source);
                LayerSecret secret = LayerEncryption.open(what, layer, keys);
                secrets.add(Optional.of(secret));
                trees.add(secret.tree(diffIds.get(i), layer.digest()));
            } else {
                secrets.add(Optional.empty());
                trees.add(plainTree(diffIds.get(i)));
            }
        }
        return new UnlockedLayers(diffIds, trees, secrets);
    }

    /// Its diffID; for one that is not SHA-256, as no layer is that can be unpacked, a name that no
    /// tree has. Otherwise an image could state the name of a decrypted tree as a diffID.
    private static Digest plainTree(Digest diffId) {
        return diffId.algorithm() == Digest.Algorithm.SHA256
                ? diffId
                : Digest.sha256(diffId.toString().getBytes(StandardCharsets.US_ASCII));
    }

    private static DecryptionKeys loaded(
            @Nullable DecryptionKeys keys, DecryptionKeys.Source source) throws ImageException {
        return keys != null ? keys : source.load();
    }

    /// Layers that are stored and not unpacked.
    static UnlockedLayers none() {
        return new UnlockedLayers(List.of(), List.of(), List.of());
    }

    static boolean isEncrypted(Descriptor layer) {
        return layer.type() instanceof MediaType.LayerType type && type.encrypted();
    }

    /// Docker's archives have no place for what an encrypted layer needs.
    ///
    /// @throws ImageException `FAILED_PRECONDITION` when a layer is encrypted
    static void refuseEncrypted(String what, Manifest manifest) throws ImageException {
        if (manifest.layers().stream().anyMatch(UnlockedLayers::isEncrypted)) {
            throw dockerArchive(what);
        }
    }

    static ImageException dockerArchive(String what) {
        return ImageException.failedPrecondition(
                what
                        + ": a docker archive cannot hold encrypted layers; use an OCI archive, or"
                        + " imgctl decrypt");
    }

    /// The names of the snapshots that show the layers: their chainIDs, or what stands for them
    /// above an encrypted layer.
    List<Digest> chain() {
        return ChainId.of(trees);
    }
}
