package dev.imgd.model;

/// What imgd does with a media type. Closed on purpose: adding a kind must break every switch that
/// does not handle it. **Source:** OCI image-spec v1.1, media-types.md; Docker image manifest v2
/// schema 2.
public sealed interface MediaType {
    String OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    String OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    String OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
    String OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    String OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
    String OCI_LAYER_GZIP = OCI_LAYER + "+gzip";
    String OCI_LAYER_ZSTD = OCI_LAYER + "+zstd";
    String OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    String DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json";
    String DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    String DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json";
    String DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    String DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
    String DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
    String DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip";
    String DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd";
    String DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    String DOCKER_FOREIGN_LAYER_GZIP = DOCKER_FOREIGN_LAYER + ".gzip";

    /// How a layer says it is compressed.
    enum Compression {
        NONE,
        GZIP,
        ZSTD,
        /// Docker's plain `diff.tar`, which may be compressed anyway; the magic decides.
        UNSPECIFIED
    }

    /// A list of manifests.
    record IndexType() implements MediaType {}

    /// A manifest of one image or artifact.
    record ManifestType() implements MediaType {}

    /// An image configuration.
    record ConfigType() implements MediaType {}

    /// A file system layer.
    ///
    /// @param foreign may not be distributed; its bytes may live elsewhere
    /// @param encrypted needs a key before it can be unpacked
    record LayerType(Compression compression, boolean foreign, boolean encrypted)
            implements MediaType {}

    /// Docker's first manifest format, which no registry should serve any more.
    record Schema1Type() implements MediaType {}

    /// Carried through and stored; never an error by itself.
    record OpaqueType(String value) implements MediaType {}

    /// Classifies a media type; parameters after `;` are ignored.
    static MediaType of(String mediaType) {
        int semicolon = mediaType.indexOf(';');
        String type = (semicolon < 0 ? mediaType : mediaType.substring(0, semicolon)).strip();
        boolean encrypted = type.endsWith("+encrypted");
        String plain = encrypted ? type.substring(0, type.length() - 10) : type;
        return switch (plain) {
            case OCI_INDEX, DOCKER_INDEX -> new IndexType();
            case OCI_MANIFEST, DOCKER_MANIFEST -> new ManifestType();
            case OCI_CONFIG, DOCKER_CONFIG -> new ConfigType();
            case DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED -> new Schema1Type();
            case OCI_LAYER -> new LayerType(Compression.NONE, false, encrypted);
            case OCI_LAYER_GZIP, DOCKER_LAYER_GZIP ->
                    new LayerType(Compression.GZIP, false, encrypted);
            case OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD ->
                    new LayerType(Compression.ZSTD, false, encrypted);
            case DOCKER_LAYER -> new LayerType(Compression.UNSPECIFIED, false, encrypted);
            case OCI_FOREIGN_LAYER -> new LayerType(Compression.NONE, true, encrypted);
            case OCI_FOREIGN_LAYER + "+gzip", DOCKER_FOREIGN_LAYER_GZIP ->
                    new LayerType(Compression.GZIP, true, encrypted);
            case OCI_FOREIGN_LAYER + "+zstd" -> new LayerType(Compression.ZSTD, true, encrypted);
            case DOCKER_FOREIGN_LAYER -> new LayerType(Compression.UNSPECIFIED, true, encrypted);
            default -> new OpaqueType(type);
        };
    }
}
