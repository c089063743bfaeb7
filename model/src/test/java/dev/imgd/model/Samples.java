package dev.imgd.model;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.UncheckedIOException;

/// Documents of other tools, and one index by hand in the shape that builders with attestations
/// write.
final class Samples {
    static final Bytes OCI_INDEX = resource("oci-index.json");
    static final Bytes OCI_MANIFEST = resource("oci-manifest.json");
    static final Bytes OCI_CONFIG = resource("oci-config.json");
    static final Bytes DOCKER_MANIFEST = resource("docker-manifest.json");
    static final Bytes BUILDAH_MANIFEST = resource("buildah-docker-manifest.json");
    static final Bytes BUILDAH_CONFIG = resource("buildah-docker-config.json");

    static final Bytes MULTI_PLATFORM_INDEX =
            bytes(
                    """
                    {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
                    "manifests":[
                    {"mediaType":"%2$s","size":1,"digest":"%1$s1",
                     "platform":{"architecture":"unknown","os":"unknown"},
                     "annotations":{"vnd.docker.reference.type":"attestation-manifest"}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s2"},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s3",
                     "platform":{"architecture":"386","os":"linux"}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s4",
                     "platform":{"architecture":"amd64","os":"linux","os.features":["gpu"]}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s5",
                     "platform":{"architecture":"amd64","os":"linux"}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s6",
                     "platform":{"architecture":"arm","os":"linux","variant":"v6"}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s7",
                     "platform":{"architecture":"arm64","os":"linux","variant":"v8"}},
                    {"mediaType":"application/spdx+json","size":1,"digest":"%1$s8",
                     "platform":{"architecture":"amd64","os":"linux"}},
                    {"mediaType":"%2$s","size":1,"digest":"%1$s9",
                     "platform":{"architecture":"amd64","os":"windows","os.version":"10.0.17763.1"}}
                    ]}"""
                            .formatted("sha256:" + "0".repeat(63), MediaType.OCI_MANIFEST));

    private Samples() {}

    static Bytes bytes(String text) {
        return Bytes.of(text.getBytes(UTF_8));
    }

    private static Bytes resource(String name) {
        try (var in = Samples.class.getResourceAsStream(name)) {
            return Bytes.of(java.util.Objects.requireNonNull(in, name).readAllBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
