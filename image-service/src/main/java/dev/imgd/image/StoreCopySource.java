package dev.imgd.image;

import dev.imgd.content.ImageRecord;
import dev.imgd.content.NodeId;
import dev.imgd.content.Store;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryClient.BlobStream;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;

/// An image of the store. The store knows of no referrers but those it has names for.
final class StoreCopySource implements CopySource {
    private static final String NAMESPACE = LocalImageService.NAMESPACE;

    private final Store store;
    private final Limits limits;
    private final ImageRecord image;
    private final String lease;

    /// @param lease holds what is being read
    StoreCopySource(Store store, Limits limits, ImageRecord image, String lease) {
        this.store = store;
        this.limits = limits;
        this.image = image;
        this.lease = lease;
    }

    @Override
    public Descriptor target() {
        return image.target();
    }

    @Override
    public Bytes document(Descriptor descriptor) throws ImageException {
        return Bytes.of(store.content().read(descriptor.digest(), limits.manifestBytes()));
    }

    @Override
    public boolean has(Descriptor blob) throws ImageException {
        return store.content().find(NAMESPACE, blob.digest()).isPresent();
    }

    @Override
    public BlobStream open(Descriptor blob, long offset) throws IOException {
        FileChannel file = store.content().open(blob.digest());
        try {
            file.position(offset);
        } catch (IOException e) {
            file.close();
            throw e;
        }
        return LocalBlob.of(file, "the store");
    }

    @Override
    public List<Descriptor> referrers(Digest subject) {
        return List.of();
    }

    @Override
    public List<Attachment> attachments(Digest subject) {
        return List.of();
    }

    @Override
    public Optional<Reference> repository() {
        try {
            return Optional.of(Reference.parse(image.name()));
        } catch (ImageException e) {
            return Optional.empty(); // a name of another program's making
        }
    }

    @Override
    public void hold(Collection<Digest> blobs) throws ImageException {
        List<NodeId> nodes = new ArrayList<>(blobs.size());
        blobs.forEach(digest -> nodes.add(NodeId.blob(digest)));
        store.leases().hold(NAMESPACE, lease, nodes);
    }

    @Override
    public void close() {}
}
