package dev.imgd.plugin;

import com.google.protobuf.Timestamp;
import dev.imgd.image.ImageLocation;
import dev.imgd.image.ImageService;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.ImageService.GcItem;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.image.ImageService.LayerDetails;
import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.image.ImageService.SourceUse;
import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.v1.CopyPlatforms;
import dev.imgd.plugin.proto.v1.ExportFormat;
import dev.imgd.plugin.proto.v1.LayerState;
import dev.imgd.plugin.proto.v1.Login;
import dev.imgd.plugin.proto.v1.StatusResponse;
import dev.imgd.registry.Credentials;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Values of [ImageService] as messages of `imgd.v1`, and back.
///
/// Reading checks what it gets: a message comes from another program, perhaps of another version.
final class ImageMessages {
    private ImageMessages() {}

    static dev.imgd.plugin.proto.v1.PullRequest write(PullRequest request) {
        var message =
                dev.imgd.plugin.proto.v1.PullRequest.newBuilder()
                        .setReference(request.reference())
                        .setAllPlatforms(request.allPlatforms())
                        .setUnpack(request.unpack())
                        .setPlainHttp(request.plainHttp());
        request.platform().ifPresent(message::setPlatform);
        request.credentials().map(ImageMessages::write).ifPresent(message::setCredentials);
        return message.build();
    }

    private static dev.imgd.plugin.proto.v1.Credentials write(Credentials credentials) {
        var message = dev.imgd.plugin.proto.v1.Credentials.newBuilder();
        switch (credentials) {
            case Credentials.Login(String username, String password) ->
                    message.setLogin(
                            Login.newBuilder().setUsername(username).setPassword(password));
            case Credentials.IdentityToken(String token) -> message.setIdentityToken(token);
            case Credentials.RegistryToken(String token) -> message.setRegistryToken(token);
            case Credentials.Anonymous _ -> message.clearKind();
        }
        return message.build();
    }

    private static Optional<Credentials> credentials(
            boolean present, dev.imgd.plugin.proto.v1.Credentials message) {
        if (!present) {
            return Optional.empty();
        }
        return Optional.of(
                switch (message.getKindCase()) {
                    case LOGIN ->
                            new Credentials.Login(
                                    message.getLogin().getUsername(),
                                    message.getLogin().getPassword());
                    case IDENTITY_TOKEN ->
                            new Credentials.IdentityToken(message.getIdentityToken());
                    case REGISTRY_TOKEN ->
                            new Credentials.RegistryToken(message.getRegistryToken());
                    case KIND_NOT_SET -> new Credentials.Anonymous();
                });
    }

    static PullRequest read(dev.imgd.plugin.proto.v1.PullRequest message) {
        return new PullRequest(
                message.getReference(),
                optional(message.hasPlatform(), message.getPlatform()),
                message.getAllPlatforms(),
                message.getUnpack(),
                message.getPlainHttp(),
                credentials(message.hasCredentials(), message.getCredentials()));
    }

    static dev.imgd.plugin.proto.v1.CopyRequest write(CopyRequest request) throws ImageException {
        var message =
                dev.imgd.plugin.proto.v1.CopyRequest.newBuilder()
                        .setSource(request.source().absolute().toString())
                        .setDestination(request.destination().absolute().toString())
                        .setPlatforms(
                                switch (request.platforms()) {
                                    case ONE -> CopyPlatforms.COPY_PLATFORMS_ONE;
                                    case ALL -> CopyPlatforms.COPY_PLATFORMS_ALL;
                                    case AVAILABLE -> CopyPlatforms.COPY_PLATFORMS_AVAILABLE;
                                })
                        .setReferrers(request.referrers())
                        .setForeignLayers(request.foreignLayers())
                        .setSourcePlainHttp(request.sourcePlainHttp())
                        .setDestinationPlainHttp(request.destinationPlainHttp());
        request.platform().ifPresent(message::setPlatform);
        request.sourceCredentials()
                .map(ImageMessages::write)
                .ifPresent(message::setSourceCredentials);
        request.destinationCredentials()
                .map(ImageMessages::write)
                .ifPresent(message::setDestinationCredentials);
        return message.build();
    }

    static CopyRequest read(dev.imgd.plugin.proto.v1.CopyRequest message) throws ImageException {
        return new CopyRequest(
                ImageLocation.parse(message.getSource()),
                ImageLocation.parse(message.getDestination()),
                switch (message.getPlatforms()) {
                    case COPY_PLATFORMS_ALL -> ImageService.CopyPlatforms.ALL;
                    case COPY_PLATFORMS_AVAILABLE -> ImageService.CopyPlatforms.AVAILABLE;
                    case COPY_PLATFORMS_ONE, COPY_PLATFORMS_UNSPECIFIED ->
                            ImageService.CopyPlatforms.ONE;
                    case UNRECOGNIZED ->
                            throw ImageException.invalidArgument(
                                    "copy: this daemon does not know what platforms are meant");
                },
                optional(message.hasPlatform(), message.getPlatform()),
                message.getReferrers(),
                message.getForeignLayers(),
                message.getSourcePlainHttp(),
                message.getDestinationPlainHttp(),
                credentials(message.hasSourceCredentials(), message.getSourceCredentials()),
                credentials(
                        message.hasDestinationCredentials(), message.getDestinationCredentials()));
    }

    static dev.imgd.plugin.proto.v1.CopyResult write(CopyResult result) {
        return dev.imgd.plugin.proto.v1.CopyResult.newBuilder()
                .setDestination(result.destination())
                .setDigest(result.digest().toString())
                .setMediaType(result.mediaType())
                .setManifests(result.manifests())
                .setBlobs(result.blobs())
                .setExistingBlobs(result.existingBlobs())
                .setMountedBlobs(result.mountedBlobs())
                .setSkippedBlobs(result.skippedBlobs())
                .setReferrers(result.referrers())
                .setCopiedBytes(result.copiedBytes())
                .setMillis(result.millis())
                .addAllWarnings(result.warnings())
                .build();
    }

    static CopyResult read(dev.imgd.plugin.proto.v1.CopyResult message) throws ImageException {
        return new CopyResult(
                message.getDestination(),
                Digest.parse(message.getDigest()),
                message.getMediaType(),
                message.getManifests(),
                message.getBlobs(),
                message.getExistingBlobs(),
                message.getMountedBlobs(),
                message.getSkippedBlobs(),
                message.getReferrers(),
                message.getCopiedBytes(),
                message.getMillis(),
                List.copyOf(message.getWarningsList()));
    }

    static dev.imgd.plugin.proto.v1.Progress write(Progress progress) {
        var message =
                dev.imgd.plugin.proto.v1.Progress.newBuilder()
                        .setReference(progress.reference())
                        .setPhase(progress.phase())
                        .setDoneBytes(progress.doneBytes())
                        .setTotalBytes(progress.totalBytes())
                        .setFetchedBytes(progress.fetchedBytes());
        for (LayerProgress layer : progress.layers()) {
            message.addLayers(
                    dev.imgd.plugin.proto.v1.LayerProgress.newBuilder()
                            .setDigest(layer.digest().toString())
                            .setState(write(layer.state()))
                            .setDoneBytes(layer.doneBytes())
                            .setUnpackedBytes(layer.unpackedBytes())
                            .setTotalBytes(layer.totalBytes()));
        }
        progress.sources().forEach(use -> message.addSources(write(use)));
        return message.build();
    }

    private static dev.imgd.plugin.proto.v1.SourceUse write(SourceUse use) {
        var message =
                dev.imgd.plugin.proto.v1.SourceUse.newBuilder()
                        .setHost(use.host())
                        .setBytes(use.bytes())
                        .setRetries(use.retries());
        use.dropped().ifPresent(message::setDropped);
        return message.build();
    }

    private static List<SourceUse> read(List<dev.imgd.plugin.proto.v1.SourceUse> messages) {
        List<SourceUse> uses = new ArrayList<>(messages.size());
        for (var message : messages) {
            uses.add(
                    new SourceUse(
                            message.getHost(),
                            message.getBytes(),
                            message.getRetries(),
                            message.hasDropped()
                                    ? Optional.of(message.getDropped())
                                    : Optional.empty()));
        }
        return uses;
    }

    static Progress read(dev.imgd.plugin.proto.v1.Progress message) throws ImageException {
        List<LayerProgress> layers = new ArrayList<>(message.getLayersCount());
        for (var layer : message.getLayersList()) {
            layers.add(
                    new LayerProgress(
                            Digest.parse(layer.getDigest()),
                            read(layer.getState()),
                            layer.getDoneBytes(),
                            layer.getUnpackedBytes(),
                            layer.getTotalBytes()));
        }
        return new Progress(
                message.getReference(),
                message.getPhase(),
                message.getDoneBytes(),
                message.getTotalBytes(),
                message.getFetchedBytes(),
                layers,
                read(message.getSourcesList()));
    }

    private static LayerState write(ImageService.LayerState state) {
        return switch (state) {
            case WAITING -> LayerState.LAYER_STATE_WAITING;
            case DOWNLOADING -> LayerState.LAYER_STATE_DOWNLOADING;
            case UNPACKING -> LayerState.LAYER_STATE_UNPACKING;
            case DONE -> LayerState.LAYER_STATE_DONE;
            case EXISTS -> LayerState.LAYER_STATE_EXISTS;
        };
    }

    private static ImageService.LayerState read(LayerState state) {
        return switch (state) {
            case LAYER_STATE_DOWNLOADING -> ImageService.LayerState.DOWNLOADING;
            case LAYER_STATE_UNPACKING -> ImageService.LayerState.UNPACKING;
            case LAYER_STATE_DONE -> ImageService.LayerState.DONE;
            case LAYER_STATE_EXISTS -> ImageService.LayerState.EXISTS;
            // A state of a later daemon must not end a pull.
            case LAYER_STATE_WAITING, LAYER_STATE_UNSPECIFIED, UNRECOGNIZED ->
                    ImageService.LayerState.WAITING;
        };
    }

    static dev.imgd.plugin.proto.v1.PullResult write(PullResult result) {
        var message =
                dev.imgd.plugin.proto.v1.PullResult.newBuilder()
                        .setName(result.name())
                        .setDigest(result.digest().toString())
                        .setFetchedBytes(result.fetchedBytes())
                        .setReusedBytes(result.reusedBytes())
                        .setLayers(result.layers())
                        .setMillis(result.millis())
                        .addAllWarnings(result.warnings());
        result.sources().forEach(use -> message.addSources(write(use)));
        result.chainId().ifPresent(chainId -> message.setChainId(chainId.toString()));
        return message.build();
    }

    static PullResult read(dev.imgd.plugin.proto.v1.PullResult message) throws ImageException {
        return new PullResult(
                message.getName(),
                Digest.parse(message.getDigest()),
                digest(message.hasChainId(), message.getChainId()),
                message.getFetchedBytes(),
                message.getReusedBytes(),
                message.getLayers(),
                message.getMillis(),
                read(message.getSourcesList()),
                List.copyOf(message.getWarningsList()));
    }

    static dev.imgd.plugin.proto.v1.ImageSummary write(ImageSummary image) {
        return dev.imgd.plugin.proto.v1.ImageSummary.newBuilder()
                .setName(image.name())
                .setDigest(image.digest().toString())
                .setMediaType(image.mediaType())
                .setSizeBytes(image.sizeBytes())
                .addAllPlatforms(image.platforms())
                .setUnpacked(image.unpacked())
                .setCreated(write(image.created()))
                .setUpdated(write(image.updated()))
                .build();
    }

    static ImageSummary read(dev.imgd.plugin.proto.v1.ImageSummary message) throws ImageException {
        return new ImageSummary(
                message.getName(),
                Digest.parse(message.getDigest()),
                message.getMediaType(),
                message.getSizeBytes(),
                List.copyOf(message.getPlatformsList()),
                message.getUnpacked(),
                read(message.getCreated()),
                read(message.getUpdated()));
    }

    static dev.imgd.plugin.proto.v1.ImageDetails write(ImageDetails image) {
        var message =
                dev.imgd.plugin.proto.v1.ImageDetails.newBuilder()
                        .setName(image.name())
                        .setDigest(image.digest().toString())
                        .setMediaType(image.mediaType())
                        .setPlatform(image.platform())
                        .setManifestDigest(image.manifestDigest().toString())
                        .setManifest(image.manifest())
                        .setConfigDigest(image.configDigest().toString())
                        .setConfig(image.config())
                        .setCreated(write(image.created()))
                        .setUpdated(write(image.updated()))
                        .putAllLabels(image.labels());
        image.snapshot().ifPresent(message::setSnapshot);
        for (LayerDetails layer : image.layers()) {
            var part =
                    dev.imgd.plugin.proto.v1.LayerDetails.newBuilder()
                            .setMediaType(layer.mediaType())
                            .setDigest(layer.digest().toString())
                            .setSizeBytes(layer.sizeBytes())
                            .setPresent(layer.present());
            layer.diffId().ifPresent(diffId -> part.setDiffId(diffId.toString()));
            layer.chainId().ifPresent(chainId -> part.setChainId(chainId.toString()));
            layer.snapshot().ifPresent(part::setSnapshot);
            message.addLayers(part);
        }
        return message.build();
    }

    static ImageDetails read(dev.imgd.plugin.proto.v1.ImageDetails message) throws ImageException {
        List<LayerDetails> layers = new ArrayList<>(message.getLayersCount());
        for (var layer : message.getLayersList()) {
            layers.add(
                    new LayerDetails(
                            layer.getMediaType(),
                            Digest.parse(layer.getDigest()),
                            layer.getSizeBytes(),
                            layer.getPresent(),
                            digest(layer.hasDiffId(), layer.getDiffId()),
                            digest(layer.hasChainId(), layer.getChainId()),
                            optional(layer.hasSnapshot(), layer.getSnapshot())));
        }
        return new ImageDetails(
                message.getName(),
                Digest.parse(message.getDigest()),
                message.getMediaType(),
                message.getPlatform(),
                Digest.parse(message.getManifestDigest()),
                message.getManifest(),
                Digest.parse(message.getConfigDigest()),
                message.getConfig(),
                layers,
                optional(message.hasSnapshot(), message.getSnapshot()),
                read(message.getCreated()),
                read(message.getUpdated()),
                message.getLabelsMap());
    }

    static dev.imgd.plugin.proto.v1.GcItem write(GcItem item) {
        return dev.imgd.plugin.proto.v1.GcItem.newBuilder()
                .setKind(item.kind())
                .setId(item.id())
                .setSizeBytes(item.sizeBytes())
                .setReason(item.reason())
                .build();
    }

    static GcItem read(dev.imgd.plugin.proto.v1.GcItem message) {
        return new GcItem(
                message.getKind(), message.getId(), message.getSizeBytes(), message.getReason());
    }

    static ExportFormat write(ImageService.ExportFormat format) {
        return switch (format) {
            case OCI_DIRECTORY -> ExportFormat.EXPORT_FORMAT_OCI_DIRECTORY;
            case OCI_ARCHIVE -> ExportFormat.EXPORT_FORMAT_OCI_ARCHIVE;
            case DOCKER_ARCHIVE -> ExportFormat.EXPORT_FORMAT_DOCKER_ARCHIVE;
        };
    }

    static ImageService.ExportFormat read(ExportFormat format) throws ImageException {
        return switch (format) {
            case EXPORT_FORMAT_OCI_DIRECTORY -> ImageService.ExportFormat.OCI_DIRECTORY;
            case EXPORT_FORMAT_OCI_ARCHIVE -> ImageService.ExportFormat.OCI_ARCHIVE;
            case EXPORT_FORMAT_DOCKER_ARCHIVE -> ImageService.ExportFormat.DOCKER_ARCHIVE;
            case EXPORT_FORMAT_UNSPECIFIED, UNRECOGNIZED ->
                    throw ImageException.invalidArgument(
                            "export: this daemon does not know the format; use the imgctl of its"
                                    + " version");
        };
    }

    static StatusResponse write(DaemonStatus status) {
        return StatusResponse.newBuilder()
                .setVersion(status.version())
                .setPid(status.pid())
                .setStarted(write(status.started()))
                .build();
    }

    static DaemonStatus read(StatusResponse message) {
        return new DaemonStatus(message.getVersion(), message.getPid(), read(message.getStarted()));
    }

    /// A path a caller sent.
    ///
    /// @throws ImageException `INVALID_ARGUMENT` unless it is absolute
    static Path path(String field, String text) throws ImageException {
        if (!text.startsWith("/") || text.indexOf('\0') >= 0) {
            throw ImageException.invalidArgument("request: " + field + " is no absolute path");
        }
        return Path.of(text).normalize();
    }

    static Timestamp write(Instant instant) {
        return Timestamp.newBuilder()
                .setSeconds(instant.getEpochSecond())
                .setNanos(instant.getNano())
                .build();
    }

    private static Instant read(Timestamp timestamp) {
        return Instant.ofEpochSecond(timestamp.getSeconds(), timestamp.getNanos());
    }

    static Optional<String> optional(boolean present, String value) {
        return present ? Optional.of(value) : Optional.empty();
    }

    private static Optional<Digest> digest(boolean present, String value) throws ImageException {
        return present ? Optional.of(Digest.parse(value)) : Optional.empty();
    }
}
