package dev.imgd.image;

import dev.imgd.content.ContentStore;
import dev.imgd.content.Ingest;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.BlobStream;
import dev.imgd.registry.RegistryWriter.BlobOutcome;
import dev.imgd.registry.RegistryWriter.BlobSource;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The store: an image without its file systems, which are unpacked when first mounted.
final class StoreCopyDestination implements CopyDestination {
    private static final String NAMESPACE = LocalImageService.NAMESPACE;
    private static final int BUFFER_BYTES = 256 << 10;

    /// Gives an image its name.
    @FunctionalInterface
    interface Naming {
        void name(String name, Descriptor target) throws ImageException;
    }

    private final Store store;
    private final Limits limits;
    private final Reference reference;
    private final String lease;
    private final Naming naming;

    /// @param lease holds what is written until it has a name
    StoreCopyDestination(
            Store store, Limits limits, Reference reference, String lease, Naming naming) {
        this.store = store;
        this.limits = limits;
        this.reference = reference;
        this.lease = lease;
        this.naming = naming;
    }

    @Override
    public int parallel(int wanted) {
        return wanted;
    }

    @Override
    public void prepare(Expected expected) throws ImageException {
        Optional<Digest> digest = reference.digest();
        if (digest.isPresent() && !digest.get().equals(expected.target().digest())) {
            throw ImageException.invalidArgument(
                    "copy to store:%s: the image has another digest: %s"
                            .formatted(reference, expected.target().digest()));
        }
        if (expected.referrers()) {
            throw ImageException.invalidArgument(
                    "copy to store:%s: cannot hold referrers; use oci:".formatted(reference));
        }
        List<NodeId> nodes = new ArrayList<>(expected.all().size());
        expected.all().forEach(one -> nodes.add(NodeId.blob(one)));
        store.leases().hold(NAMESPACE, lease, nodes);
    }

    @Override
    public BlobOutcome blob(Descriptor blob, BlobSource source, List<Reference> mountFrom)
            throws ImageException {
        limits.check(
                Limits.Key.LAYER_COMPRESSED_BYTES,
                "%s: blob %s".formatted(reference, blob.digest()),
                blob.sizeBytes());
        ContentStore content = store.content();
        if (content.findWhole(NAMESPACE, blob.digest()).isPresent()
                || content.adopt(NAMESPACE, blob.digest(), Map.of())) {
            return BlobOutcome.EXISTED;
        }
        try (Ingest ingest =
                content.ingest(NAMESPACE, lease + "/" + blob.digest(), Optional.empty())) {
            boolean complete = false;
            try (BlobStream stream = source.open(0)) {
                ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
                while (stream.read(buffer.clear()) >= 0) {
                    ingest.write(buffer.flip());
                }
                ingest.commit(blob.sizeBytes(), blob.digest(), Map.of(), List.of());
                complete = true;
                return BlobOutcome.UPLOADED;
            } finally {
                if (!complete) {
                    ingest.abort();
                }
            }
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL,
                    "copy to store:%s: blob %s: %s"
                            .formatted(reference, blob.digest(), e.getMessage()),
                    e);
        }
    }

    @Override
    public void manifest(Descriptor descriptor, Bytes content, List<Digest> children)
            throws ImageException {
        store.content()
                .write(NAMESPACE, descriptor.digest(), content.toArray(), Map.of(), children);
    }

    @Override
    public void referrer(Descriptor descriptor, Bytes content, List<Digest> children) {
        throw new IllegalStateException("the store takes no referrers");
    }

    @Override
    public void attachment(
            String tag, Descriptor descriptor, Bytes content, List<Digest> children) {
        throw new IllegalStateException("the store takes no referrers");
    }

    @Override
    public void finish(Descriptor target, Bytes content, List<Digest> children)
            throws ImageException {
        manifest(target, content, children);
        naming.name(reference.toString(), target);
    }

    @Override
    public void close() {}
}
