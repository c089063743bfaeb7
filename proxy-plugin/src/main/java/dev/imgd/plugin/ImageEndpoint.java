package dev.imgd.plugin;

import com.google.protobuf.Empty;
import dev.imgd.image.ImageService;
import dev.imgd.image.ImageService.CopyResult;
import dev.imgd.image.ImageService.GcItem;
import dev.imgd.image.ImageService.GcReport;
import dev.imgd.image.ImageService.ImageSummary;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.v1.BundleRequest;
import dev.imgd.plugin.proto.v1.CopyEvent;
import dev.imgd.plugin.proto.v1.CopyRequest;
import dev.imgd.plugin.proto.v1.ExportRequest;
import dev.imgd.plugin.proto.v1.GcBatch;
import dev.imgd.plugin.proto.v1.GcRequest;
import dev.imgd.plugin.proto.v1.ImageBatch;
import dev.imgd.plugin.proto.v1.ImageDetails;
import dev.imgd.plugin.proto.v1.ImagesGrpc.ImagesImplBase;
import dev.imgd.plugin.proto.v1.ImportRequest;
import dev.imgd.plugin.proto.v1.InspectRequest;
import dev.imgd.plugin.proto.v1.MountRequest;
import dev.imgd.plugin.proto.v1.PullEvent;
import dev.imgd.plugin.proto.v1.PullRequest;
import dev.imgd.plugin.proto.v1.RemoveRequest;
import dev.imgd.plugin.proto.v1.RemoveResponse;
import dev.imgd.plugin.proto.v1.StatusResponse;
import dev.imgd.plugin.proto.v1.TagRequest;
import dev.imgd.plugin.proto.v1.UnmountRequest;
import dev.imgd.plugin.proto.v1.VerifyBatch;
import dev.imgd.plugin.proto.v1.VerifyRequest;
import io.grpc.Context;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/// The service `imgd.v1` over an [ImageService]: what `imgctl` talks to.
///
/// Every call runs on a platform thread of its own, because it may take long, call native code and
/// be interrupted: a caller that goes away cancels its call. Safe for use by many threads.
public final class ImageEndpoint extends ImagesImplBase {
    private static final int BATCH = 500;

    /// A paused terminal must not make a pull fail; a caller that is gone shows itself otherwise.
    private static final Duration STALL = Duration.ofMinutes(10);

    private final ImageService images;
    private final DaemonStatus status;

    /// @param images not closed here
    /// @param version of this program
    public ImageEndpoint(ImageService images, String version) {
        this.images = images;
        this.status = new DaemonStatus(version, ProcessHandle.current().pid(), Instant.now());
    }

    /// Runs `work` on its own thread until it ends or the call is cancelled.
    private static <T> void run(StreamObserver<T> out, Answer.Work work) {
        Answer<T> answer = new Answer<>(out);
        Context context = Context.current();
        Thread thread =
                Thread.ofPlatform()
                        .name("imgd-call")
                        .daemon()
                        .unstarted(context.wrap(() -> answer.unless(work)));
        thread.start();
        // Only after the start: an interrupt of a thread that has not started is lost.
        context.addListener(_ -> thread.interrupt(), Runnable::run);
    }

    private static <T> void answer(StreamObserver<T> out, Answer.Computation<T> computation) {
        Answer<T> answer = new Answer<>(out);
        run(out, () -> answer.with(computation.compute()));
    }

    @Override
    public void pull(PullRequest request, StreamObserver<PullEvent> out) {
        PacedStream<PullEvent> stream = new PacedStream<>(out, STALL);
        run(
                out,
                () -> {
                    PullResult result =
                            images.pull(
                                    ImageMessages.read(request),
                                    progress ->
                                            stream.offer(
                                                    () ->
                                                            PullEvent.newBuilder()
                                                                    .setProgress(
                                                                            ImageMessages.write(
                                                                                    progress))
                                                                    .build()));
                    stream.send(
                            PullEvent.newBuilder().setResult(ImageMessages.write(result)).build());
                    stream.end();
                });
    }

    @Override
    public void copy(CopyRequest request, StreamObserver<CopyEvent> out) {
        PacedStream<CopyEvent> stream = new PacedStream<>(out, STALL);
        run(
                out,
                () -> {
                    CopyResult result =
                            images.copy(
                                    ImageMessages.read(request),
                                    progress ->
                                            stream.offer(
                                                    () ->
                                                            CopyEvent.newBuilder()
                                                                    .setProgress(
                                                                            ImageMessages.write(
                                                                                    progress))
                                                                    .build()));
                    stream.send(
                            CopyEvent.newBuilder().setResult(ImageMessages.write(result)).build());
                    stream.end();
                });
    }

    @Override
    public void list(Empty request, StreamObserver<ImageBatch> out) {
        PacedStream<ImageBatch> stream = new PacedStream<>(out, STALL);
        run(out, () -> send(images.list(), stream));
    }

    private static void send(List<ImageSummary> images, PacedStream<ImageBatch> stream)
            throws ImageException {
        for (int from = 0; from < images.size(); from += BATCH) {
            ImageBatch.Builder batch = ImageBatch.newBuilder();
            for (ImageSummary image : images.subList(from, Math.min(from + BATCH, images.size()))) {
                batch.addImages(ImageMessages.write(image));
            }
            stream.send(batch.build());
        }
        stream.end();
    }

    @Override
    public void inspect(InspectRequest request, StreamObserver<ImageDetails> out) {
        answer(
                out,
                () ->
                        ImageMessages.write(
                                images.inspect(
                                        request.getReference(),
                                        ImageMessages.optional(
                                                request.hasPlatform(), request.getPlatform()))));
    }

    @Override
    public void tag(TagRequest request, StreamObserver<dev.imgd.plugin.proto.v1.ImageSummary> out) {
        answer(
                out,
                () -> ImageMessages.write(images.tag(request.getSource(), request.getTarget())));
    }

    @Override
    public void remove(RemoveRequest request, StreamObserver<RemoveResponse> out) {
        answer(
                out,
                () ->
                        RemoveResponse.newBuilder()
                                .addAllRemoved(
                                        images.remove(List.copyOf(request.getReferencesList())))
                                .build());
    }

    @Override
    public void gc(GcRequest request, StreamObserver<GcBatch> out) {
        PacedStream<GcBatch> stream = new PacedStream<>(out, STALL);
        run(
                out,
                () -> {
                    GcReport report = images.gc(request.getDryRun(), request.getExplain());
                    stream.send(
                            GcBatch.newBuilder()
                                    .setDryRun(report.dryRun())
                                    .setFreedBytes(report.freedBytes())
                                    .build());
                    for (int i = 0; i < report.deleted().size(); i += BATCH) {
                        GcBatch.Builder batch = GcBatch.newBuilder();
                        batch(report.deleted(), i)
                                .forEach(item -> batch.addDeleted(ImageMessages.write(item)));
                        stream.send(batch.build());
                    }
                    for (int i = 0; i < report.kept().size(); i += BATCH) {
                        GcBatch.Builder batch = GcBatch.newBuilder();
                        batch(report.kept(), i)
                                .forEach(item -> batch.addKept(ImageMessages.write(item)));
                        stream.send(batch.build());
                    }
                    stream.end();
                });
    }

    private static List<GcItem> batch(List<GcItem> items, int from) {
        return items.subList(from, Math.min(from + BATCH, items.size()));
    }

    @Override
    public void verify(VerifyRequest request, StreamObserver<VerifyBatch> out) {
        PacedStream<VerifyBatch> stream = new PacedStream<>(out, STALL);
        run(
                out,
                () -> {
                    List<String> findings = images.verify(request.getRehash());
                    for (int i = 0; i < findings.size(); i += BATCH) {
                        stream.send(
                                VerifyBatch.newBuilder()
                                        .addAllFindings(
                                                findings.subList(
                                                        i, Math.min(i + BATCH, findings.size())))
                                        .build());
                    }
                    stream.end();
                });
    }

    @Override
    public void mount(MountRequest request, StreamObserver<Empty> out) {
        answer(
                out,
                () -> {
                    images.mount(
                            request.getReference(),
                            ImageMessages.optional(request.hasPlatform(), request.getPlatform()),
                            ImageMessages.path("directory", request.getDirectory()),
                            request.getWritable());
                    return Empty.getDefaultInstance();
                });
    }

    @Override
    public void unmount(UnmountRequest request, StreamObserver<Empty> out) {
        answer(
                out,
                () -> {
                    images.unmount(ImageMessages.path("directory", request.getDirectory()));
                    return Empty.getDefaultInstance();
                });
    }

    @Override
    public void bundle(BundleRequest request, StreamObserver<Empty> out) {
        answer(
                out,
                () -> {
                    images.bundle(
                            request.getReference(),
                            ImageMessages.optional(request.hasPlatform(), request.getPlatform()),
                            ImageMessages.path("directory", request.getDirectory()),
                            List.copyOf(request.getArgumentsList()));
                    return Empty.getDefaultInstance();
                });
    }

    @Override
    public void import_(ImportRequest request, StreamObserver<ImageBatch> out) {
        PacedStream<ImageBatch> stream = new PacedStream<>(out, STALL);
        run(
                out,
                () -> {
                    Path source = ImageMessages.path("source", request.getSource());
                    Optional<String> name =
                            ImageMessages.optional(request.hasName(), request.getName());
                    send(images.importImages(source, name, request.getUnpack()), stream);
                });
    }

    @Override
    public void export(ExportRequest request, StreamObserver<Empty> out) {
        answer(
                out,
                () -> {
                    images.export(
                            List.copyOf(request.getReferencesList()),
                            ImageMessages.path("target", request.getTarget()),
                            ImageMessages.read(request.getFormat()));
                    return Empty.getDefaultInstance();
                });
    }

    @Override
    public void status(Empty request, StreamObserver<StatusResponse> out) {
        new Answer<>(out).of(() -> ImageMessages.write(status));
    }
}
