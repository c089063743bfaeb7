package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.testkit.CosignDocuments;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A repository of signatures in memory. What it returns is what it was given, right or wrong.
final class MemorySignatures implements SignatureLookup {
    final Map<String, FetchedManifest> tags = new HashMap<>();
    final List<Descriptor> referrers = new ArrayList<>();
    final Map<Digest, Bytes> content = new HashMap<>();
    int questions;

    /// An image of one manifest that nobody looks into.
    Descriptor image(String text) {
        Bytes manifest = Bytes.of(text.getBytes(StandardCharsets.UTF_8));
        content.put(manifest.sha256(), manifest);
        return new Descriptor(MediaType.OCI_MANIFEST, manifest.sha256(), manifest.size());
    }

    private Descriptor blob(String type, byte[] bytes, Map<String, String> annotations) {
        Bytes blob = Bytes.of(bytes);
        content.put(blob.sha256(), blob);
        return new Descriptor(
                type,
                blob.sha256(),
                blob.size(),
                annotations,
                List.of(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /// A layer of a manifest of cosign.
    Descriptor simpleSigning(byte[] payload, byte[] signature) {
        return simpleSigning(payload, Base64.getEncoder().encodeToString(signature));
    }

    Descriptor simpleSigning(byte[] payload, String annotation) {
        return blob(
                CosignDocuments.SIMPLE_SIGNING,
                payload,
                Map.of(CosignDocuments.SIGNATURE_ANNOTATION, annotation));
    }

    /// Puts signatures under cosign's tag.
    void tag(Descriptor image, Descriptor... layers) {
        Bytes manifest = manifest("", Optional.empty(), layers);
        tags.put(
                "sha256-" + image.digest().hex() + ".sig",
                new FetchedManifest(
                        new Descriptor(MediaType.OCI_MANIFEST, manifest.sha256(), manifest.size()),
                        manifest,
                        "memory"));
    }

    /// Adds a manifest with a subject.
    void refer(Descriptor subject, String artifactType, Descriptor... layers) {
        refer(artifactType, manifest(artifactType, Optional.of(subject), layers));
    }

    /// Lists a manifest as one of a type.
    void refer(String listedType, Bytes manifest) {
        content.put(manifest.sha256(), manifest);
        referrers.add(
                new Descriptor(
                        MediaType.OCI_MANIFEST,
                        manifest.sha256(),
                        manifest.size(),
                        Map.of(),
                        List.of(),
                        Optional.empty(),
                        Optional.of(listedType),
                        Optional.empty()));
    }

    void refer(Descriptor subject, String artifactType, String layerType, byte[] layer) {
        refer(subject, artifactType, blob(layerType, layer, Map.of()));
    }

    static Bytes manifest(String artifactType, Optional<Descriptor> subject, Descriptor... layers) {
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", MediaType.OCI_MANIFEST);
        if (!artifactType.isEmpty()) {
            json.member("artifactType", artifactType);
        }
        new Descriptor(MediaType.OCI_EMPTY, Digest.sha256("{}".getBytes(StandardCharsets.UTF_8)), 2)
                .write(json.name("config"));
        json.beginArray("layers");
        for (Descriptor layer : layers) {
            layer.write(json);
        }
        json.endArray();
        subject.ifPresent(s -> s.write(json.name("subject")));
        return Bytes.of(json.endObject().toBytes());
    }

    @Override
    public Optional<FetchedManifest> tagged(String tag) {
        questions++;
        return Optional.ofNullable(tags.get(tag));
    }

    @Override
    public List<Descriptor> referrers(Descriptor image, List<String> artifactTypes) {
        questions++;
        return referrers;
    }

    @Override
    public void cancel() {
        throw new AssertionError("nothing here takes long");
    }

    @Override
    public Bytes manifest(Descriptor descriptor) throws ImageException {
        return blob(descriptor);
    }

    @Override
    public Bytes blob(Descriptor descriptor) throws ImageException {
        Bytes found = content.get(descriptor.digest());
        if (found == null) {
            throw ImageException.notFound(descriptor.digest() + ": not there");
        }
        return found;
    }
}
