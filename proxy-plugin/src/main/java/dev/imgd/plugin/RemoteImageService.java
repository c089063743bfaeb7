package dev.imgd.plugin;

import com.google.protobuf.Empty;
import dev.imgd.image.ImageService;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.v1.BundleRequest;
import dev.imgd.plugin.proto.v1.ExportRequest;
import dev.imgd.plugin.proto.v1.GcBatch;
import dev.imgd.plugin.proto.v1.GcRequest;
import dev.imgd.plugin.proto.v1.ImageBatch;
import dev.imgd.plugin.proto.v1.ImagesGrpc;
import dev.imgd.plugin.proto.v1.ImagesGrpc.ImagesBlockingStub;
import dev.imgd.plugin.proto.v1.ImportRequest;
import dev.imgd.plugin.proto.v1.InspectRequest;
import dev.imgd.plugin.proto.v1.MountRequest;
import dev.imgd.plugin.proto.v1.RemoveRequest;
import dev.imgd.plugin.proto.v1.TagRequest;
import dev.imgd.plugin.proto.v1.UnmountRequest;
import dev.imgd.plugin.proto.v1.VerifyRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// The images of a running daemon, over its socket.
///
/// Errors arrive with the kind and message they had in the daemon. A lost connection, or none, is
/// `UNAVAILABLE`. Relative paths are meant relative to this process. Safe for use by many threads.
public final class RemoteImageService implements ImageService {
    private final Path socket;
    private final DaemonChannel channel;
    private final ImagesBlockingStub stub;
    private volatile boolean heard;
    private volatile boolean closed;

    private RemoteImageService(Path socket, DaemonChannel channel) {
        this.socket = socket;
        this.channel = channel;
        this.stub = ImagesGrpc.newBlockingStub(channel.grpc());
    }

    /// A client of the daemon that listens there; connects with the first call.
    public static RemoteImageService connect(Path socket) {
        return new RemoteImageService(socket, DaemonChannel.to(socket));
    }

    /// Which daemon this is.
    public DaemonStatus status() throws ImageException {
        return call(() -> ImageMessages.read(stub.status(Empty.getDefaultInstance())));
    }

    private <T> T call(Answer.Computation<T> call) throws ImageException {
        return call("call", "", call);
    }

    /// @param what it is, for when the daemon does not answer it
    /// @param kept what is not lost then, as a part of a sentence; empty for nothing
    private <T> T call(String what, String kept, Answer.Computation<T> call) throws ImageException {
        try {
            T result = call.compute();
            heard = true;
            return result;
        } catch (StatusRuntimeException e) {
            throw error(what, kept, e);
        }
    }

    private ImageException error(String what, String kept, StatusRuntimeException error) {
        Status status = error.getStatus();
        boolean answered =
                error.getTrailers() != null && error.getTrailers().containsKey(GrpcErrors.KIND);
        if (answered) {
            return GrpcErrors.fromStatus(socket.toString(), status, error.getTrailers(), error);
        }
        if (closed
                || (Thread.currentThread().isInterrupted()
                        && status.getCode() == Status.Code.CANCELLED)) {
            return new ImageException(ErrorKind.CANCELLED, "the call was cancelled", error);
        }
        String text = status.getDescription();
        if (text != null && text.contains(PeerGate.REFUSED)) {
            return new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    ("daemon at %s: it refuses calls of this user;"
                                    + " run as root or allow the user id in imgd's configuration")
                            .formatted(socket),
                    error);
        }
        if (wentAway(status)) {
            return ImageException.unavailable(
                    "the daemon at %s went away during the %s%s; see systemctl status imgd, start it unless it starts again by itself, and run the command again"
                            .formatted(socket, what, kept.isEmpty() ? "" : "; " + kept),
                    error);
        }
        return GrpcErrors.fromStatus(
                socket.toString(),
                status.withDescription("daemon at " + socket + ": " + reason(status)),
                error.getTrailers(),
                error);
    }

    /// Whether a daemon that was there ended before its answer. One that stops in order cancels
    /// calls, one that is killed leaves a closed connection.
    private boolean wentAway(Status status) {
        return switch (status.getCode()) {
            case UNAVAILABLE -> heard || status.getCause() == null;
            case CANCELLED -> true; // by nobody here, or it had been found out before
            default -> false;
        };
    }

    /// What the transport says: its own words and those of the lowest cause.
    private static String reason(Status status) {
        String text = status.getDescription();
        StringBuilder reason = new StringBuilder(text == null ? status.getCode().name() : text);
        Throwable cause = status.getCause();
        while (cause != null && cause.getCause() != null) {
            cause = cause.getCause();
        }
        if (cause != null && cause.getMessage() != null) {
            reason.append(": ").append(cause.getMessage());
        }
        for (int i = 0; i < reason.length(); i++) {
            if (reason.charAt(i) == '\n') {
                reason.setCharAt(i, ' ');
            }
        }
        return reason.toString();
    }

    @Override
    public PullResult pull(PullRequest request, ProgressListener progress) throws ImageException {
        return call(
                "pull",
                "what was fetched is kept",
                () ->
                        result(
                                "pull",
                                stub.pull(ImageMessages.write(request)),
                                event ->
                                        switch (event.getEventCase()) {
                                            case PROGRESS -> {
                                                progress.progress(
                                                        ImageMessages.read(event.getProgress()));
                                                yield null;
                                            }
                                            case RESULT -> ImageMessages.read(event.getResult());
                                            case EVENT_NOT_SET -> null;
                                        }));
    }

    @Override
    public CopyResult copy(CopyRequest request, ProgressListener progress) throws ImageException {
        return call(
                "copy",
                "what the destination has by now is not sent again",
                () ->
                        result(
                                "copy",
                                stub.copy(ImageMessages.write(request)),
                                event ->
                                        switch (event.getEventCase()) {
                                            case PROGRESS -> {
                                                progress.progress(
                                                        ImageMessages.read(event.getProgress()));
                                                yield null;
                                            }
                                            case RESULT -> ImageMessages.read(event.getResult());
                                            case EVENT_NOT_SET -> null;
                                        }));
    }

    /// What one event of a call means: its result, or null for all others. A later daemon may send
    /// events that are not known here.
    @FunctionalInterface
    private interface Meaning<E, R> {
        @Nullable R of(E event) throws ImageException;
    }

    /// Reads the events of a call to their end.
    private <E, R> R result(String what, Iterator<E> events, Meaning<E, R> meaning)
            throws ImageException {
        R result = null;
        while (events.hasNext()) {
            E event = events.next();
            heard = true;
            R found = meaning.of(event);
            result = found == null ? result : found;
        }
        if (result == null) {
            throw new ImageException(
                    ErrorKind.INTERNAL,
                    "daemon at %s: the %s ended without a result".formatted(socket, what));
        }
        return result;
    }

    @Override
    public List<ImageSummary> list() throws ImageException {
        return call(() -> images(stub.list(Empty.getDefaultInstance())));
    }

    private static List<ImageSummary> images(Iterator<ImageBatch> batches) throws ImageException {
        List<ImageSummary> images = new ArrayList<>();
        while (batches.hasNext()) {
            for (var image : batches.next().getImagesList()) {
                images.add(ImageMessages.read(image));
            }
        }
        return images;
    }

    @Override
    public ImageDetails inspect(String reference, Optional<String> platform) throws ImageException {
        InspectRequest.Builder request = InspectRequest.newBuilder().setReference(reference);
        platform.ifPresent(request::setPlatform);
        return call(() -> ImageMessages.read(stub.inspect(request.build())));
    }

    @Override
    public ImageSummary tag(String source, String target) throws ImageException {
        return call(
                () ->
                        ImageMessages.read(
                                stub.tag(
                                        TagRequest.newBuilder()
                                                .setSource(source)
                                                .setTarget(target)
                                                .build())));
    }

    @Override
    public List<String> remove(List<String> references) throws ImageException {
        return call(
                () ->
                        List.copyOf(
                                stub.remove(
                                                RemoveRequest.newBuilder()
                                                        .addAllReferences(references)
                                                        .build())
                                        .getRemovedList()));
    }

    @Override
    public GcReport gc(boolean dryRun, boolean explain) throws ImageException {
        return call(
                () -> {
                    Iterator<GcBatch> batches =
                            stub.gc(
                                    GcRequest.newBuilder()
                                            .setDryRun(dryRun)
                                            .setExplain(explain)
                                            .build());
                    boolean dry = false;
                    long freed = 0;
                    List<GcItem> deleted = new ArrayList<>();
                    List<GcItem> kept = new ArrayList<>();
                    while (batches.hasNext()) {
                        GcBatch batch = batches.next();
                        dry |= batch.getDryRun();
                        freed += batch.getFreedBytes();
                        batch.getDeletedList()
                                .forEach(item -> deleted.add(ImageMessages.read(item)));
                        batch.getKeptList().forEach(item -> kept.add(ImageMessages.read(item)));
                    }
                    return new GcReport(dry, freed, deleted, kept);
                });
    }

    @Override
    public List<String> verify(boolean rehash) throws ImageException {
        return call(
                () -> {
                    List<String> findings = new ArrayList<>();
                    stub.verify(VerifyRequest.newBuilder().setRehash(rehash).build())
                            .forEachRemaining(batch -> findings.addAll(batch.getFindingsList()));
                    return findings;
                });
    }

    @Override
    public void mount(String reference, Optional<String> platform, Path directory, boolean writable)
            throws ImageException {
        MountRequest.Builder request =
                MountRequest.newBuilder()
                        .setReference(reference)
                        .setDirectory(absolute(directory))
                        .setWritable(writable);
        platform.ifPresent(request::setPlatform);
        var _ = call(() -> stub.mount(request.build()));
    }

    @Override
    public void unmount(Path directory) throws ImageException {
        var _ =
                call(
                        () ->
                                stub.unmount(
                                        UnmountRequest.newBuilder()
                                                .setDirectory(absolute(directory))
                                                .build()));
    }

    @Override
    public void bundle(
            String reference, Optional<String> platform, Path directory, List<String> arguments)
            throws ImageException {
        BundleRequest.Builder request =
                BundleRequest.newBuilder()
                        .setReference(reference)
                        .setDirectory(absolute(directory))
                        .addAllArguments(arguments);
        platform.ifPresent(request::setPlatform);
        var _ = call(() -> stub.bundle(request.build()));
    }

    @Override
    public List<ImageSummary> importImages(Path source, Optional<String> name, boolean unpack)
            throws ImageException {
        ImportRequest.Builder request =
                ImportRequest.newBuilder().setSource(absolute(source)).setUnpack(unpack);
        name.ifPresent(request::setName);
        return call(() -> images(stub.import_(request.build())));
    }

    @Override
    public void export(List<String> references, Path target, ExportFormat format)
            throws ImageException {
        var _ =
                call(
                        () ->
                                stub.export(
                                        ExportRequest.newBuilder()
                                                .addAllReferences(references)
                                                .setTarget(absolute(target))
                                                .setFormat(ImageMessages.write(format))
                                                .build()));
    }

    private static String absolute(Path path) {
        return path.toAbsolutePath().normalize().toString();
    }

    /// Ends running calls.
    @Override
    public void close() {
        closed = true;
        channel.close();
    }
}
