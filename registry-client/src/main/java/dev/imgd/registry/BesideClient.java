package dev.imgd.registry;

import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.ImageException;
import dev.imgd.model.Reference;
import java.util.List;

/// As [RegistryClient#beside()].
record BesideClient(HttpRegistryClient client) implements RegistryClient {
    @Override
    public FetchedManifest resolve(Reference reference) throws ImageException {
        return client.resolve(reference, Part.BESIDE);
    }

    @Override
    public FetchedManifest manifest(Reference repository, Descriptor descriptor)
            throws ImageException {
        return client.manifest(repository, descriptor, Part.BESIDE);
    }

    @Override
    public Bytes smallBlob(Reference repository, Descriptor descriptor) throws ImageException {
        return client.smallBlob(repository, descriptor, Part.BESIDE);
    }

    @Override
    public BlobStream blob(Reference repository, Descriptor descriptor, BlobWish wish)
            throws ImageException {
        return client.blob(repository, descriptor, wish, Part.BESIDE);
    }

    @Override
    public List<SourceUse> sources() {
        return client.sources();
    }

    @Override
    public List<String> notices() {
        return client.notices();
    }

    @Override
    public boolean distrust(Reference repository, String host, String reason)
            throws ImageException {
        return client.distrust(repository, host, reason);
    }

    @Override
    public RegistryWriter writer() {
        return client.writer();
    }

    @Override
    public RegistryListing listing() {
        return client.listing();
    }

    @Override
    public RegistryClient session() {
        return client.session().beside();
    }

    @Override
    public RegistryClient session(RegistryHosts hosts) {
        return client.session(hosts).beside();
    }

    @Override
    public RegistryClient session(CredentialSource credentials) {
        return client.session(credentials).beside();
    }

    @Override
    public RegistryClient beside() {
        return this;
    }

    @Override
    public void close() {
        client.close();
    }
}
