package dev.imgd.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Documents of real tools are read, and their raw bytes keep their digests.
class SamplesTest {
    private static Digest digest(String hex) throws ImageException {
        return Digest.parse("sha256:" + hex);
    }

    @Test
    void manifest_ofUmoci_isAnOciImage() throws Exception {
        Manifest manifest =
                Manifest.parse("oci", Samples.OCI_MANIFEST, Optional.of(MediaType.OCI_MANIFEST));
        assertEquals(
                digest("d0d9d57da9b28450dfe4d13500ccf0078824f8fbf5e419e9eb6a5bc2c9d246b9"),
                manifest.raw().sha256());
        assertEquals(MediaType.OCI_MANIFEST, manifest.mediaType());
        assertEquals(
                new Descriptor(
                        MediaType.OCI_CONFIG,
                        digest("fe8ea3425e64e41e8adc3df7c958539bdd46f28a1adffd7520d0111374020ec0"),
                        571),
                manifest.config());
        assertEquals(
                List.of(
                        new Descriptor(
                                MediaType.OCI_LAYER_GZIP,
                                digest(
                                        "391ecb2c4ca0289300e4e0bf2acda25f12596c5684ce4c8c1ff9e28c7e4dade3"),
                                158)),
                manifest.layers());
        assertTrue(manifest.isImage());
        assertEquals(manifest.layers(), manifest.imageLayers());
    }

    @Test
    void manifest_ofSkopeo_isADockerImage() throws Exception {
        Manifest manifest = Manifest.parse("docker", Samples.DOCKER_MANIFEST, Optional.empty());
        assertEquals(
                digest("45072da8f24b11f56e81bb415ba70aac908447879b2c1bfe2e68589b7bf6e9c4"),
                manifest.raw().sha256());
        assertEquals(MediaType.DOCKER_MANIFEST, manifest.mediaType());
        assertEquals(MediaType.DOCKER_CONFIG, manifest.config().mediaType());
        assertEquals(MediaType.DOCKER_LAYER_GZIP, manifest.layers().getFirst().mediaType());
        assertTrue(manifest.isImage());
    }

    @Test
    void index_ofUmoci_hasItsEntries() throws Exception {
        Index index = Index.parse("index", Samples.OCI_INDEX, Optional.empty());
        assertEquals(
                digest("808cbfb7ab2ca57771c5a47c5cdf3242cdaa2d72b93f5a26b2b07a04c83c243a"),
                index.raw().sha256());
        assertEquals(MediaType.OCI_INDEX, index.mediaType());
        assertEquals(2, index.manifests().size());
        assertEquals(Samples.OCI_MANIFEST.sha256(), index.manifests().getLast().digest());
        assertEquals(345, index.manifests().getLast().sizeBytes());
        assertEquals(
                Map.of("org.opencontainers.image.ref.name", "one"),
                index.manifests().getLast().annotations());
    }

    @Test
    void config_ofUmoci_isComplete() throws Exception {
        ImageConfig config =
                ImageConfig.parse("config", Samples.OCI_CONFIG, Optional.of(MediaType.OCI_CONFIG));
        assertEquals(
                digest("fe8ea3425e64e41e8adc3df7c958539bdd46f28a1adffd7520d0111374020ec0"),
                config.raw().sha256());
        assertEquals(new Platform("linux", "amd64", ""), config.platform());
        assertEquals(
                new ImageConfig.Execution(
                        "1000:1000",
                        List.of("PATH=/bin"),
                        List.of("/bin/sh"),
                        List.of("-c"),
                        "/",
                        Map.of("a", "b"),
                        List.of("80/tcp"),
                        List.of("/data"),
                        "SIGTERM"),
                config.config());
        assertEquals(
                List.of(digest("81d88d8aa10af2644331208b70ef460329efc4d87500237aa73a41052eb84fe5")),
                config.diffIds());
        assertEquals(2, config.history().size());
        assertTrue(config.history().getLast().emptyLayer());
        assertEquals("umoci repack", config.history().getFirst().createdBy());
        assertEquals(
                Optional.of(Instant.parse("2026-11-23T12:46:24.944821599Z")), config.createdAt());
        config.checkLayers("image", Manifest.parse("oci", Samples.OCI_MANIFEST, Optional.empty()));
    }

    @Test
    void config_ofBuildahWithNulls_isEmptyThere() throws Exception {
        ImageConfig config =
                ImageConfig.parse(
                        "config", Samples.BUILDAH_CONFIG, Optional.of(MediaType.DOCKER_CONFIG));
        assertEquals(
                digest("ddfff12244acd74510e33b6c58cfa5b947144478f24d468b784f0d4484c15762"),
                config.raw().sha256());
        assertEquals(
                new ImageConfig.Execution(
                        "",
                        List.of(),
                        List.of(),
                        List.of(),
                        "",
                        Map.of("io.buildah.version", "1.28.2"),
                        List.of(),
                        List.of(),
                        ""),
                config.config());
        Manifest manifest = Manifest.parse("buildah", Samples.BUILDAH_MANIFEST, Optional.empty());
        assertEquals(config.raw().sha256(), manifest.config().digest());
        config.checkLayers("image", manifest);
    }
}
