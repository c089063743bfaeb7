package dev.imgd.testkit;

import dev.imgd.model.Bytes;
import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.MediaType;
import dev.imgd.model.Platform;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// An image or an index of images, in memory, ready to be pushed.
///
/// @param manifest what a tag points to
/// @param manifests the bytes of the manifest, and of those an index lists
/// @param blobs configs and layers
/// @param layers the layers of an image, lowest first; empty for an index
/// @param diffIds as the configuration states them
public record TestImage(
        Descriptor manifest,
        Map<Descriptor, Bytes> manifests,
        Map<Digest, Bytes> blobs,
        List<Descriptor> layers,
        List<Digest> diffIds) {

    /// The bytes of the manifest.
    public Bytes content() {
        Bytes content = manifests.get(manifest);
        if (content == null) {
            throw new IllegalStateException("an image without its manifest");
        }
        return content;
    }

    /// The bytes of a blob.
    public Bytes blob(Digest digest) {
        Bytes content = blobs.get(digest);
        if (content == null) {
            throw new IllegalArgumentException("not a blob of this image: " + digest);
        }
        return content;
    }

    /// An OCI index of images.
    ///
    /// @param images by platform, in the order of the index
    public static TestImage index(Map<Platform, TestImage> images) {
        return index(false, images);
    }

    /// An index of images in OCI's or in Docker's format.
    public static TestImage index(boolean docker, Map<Platform, TestImage> images) {
        String type = docker ? MediaType.DOCKER_INDEX : MediaType.OCI_INDEX;
        JsonWriter json =
                JsonWriter.compact()
                        .beginObject()
                        .member("schemaVersion", 2)
                        .member("mediaType", type)
                        .beginArray("manifests");
        Map<Descriptor, Bytes> manifests = new LinkedHashMap<>();
        Map<Digest, Bytes> blobs = new LinkedHashMap<>();
        images.forEach(
                (platform, image) -> {
                    json.beginObject();
                    ImageBuilder.members(json, image.manifest());
                    json.beginObject("platform")
                            .member("os", platform.os())
                            .member("architecture", platform.architecture());
                    if (!platform.variant().isEmpty()) {
                        json.member("variant", platform.variant());
                    }
                    json.endObject().endObject();
                    manifests.putAll(image.manifests());
                    blobs.putAll(image.blobs());
                });
        Bytes content = Bytes.of(json.endArray().endObject().toBytes());
        Descriptor descriptor = new Descriptor(type, content.sha256(), content.size());
        manifests.put(descriptor, content);
        return new TestImage(descriptor, manifests, blobs, List.of(), List.of());
    }
}
