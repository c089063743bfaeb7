package dev.imgd.plugin;

import com.google.protobuf.Empty;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.plugin.Acceleration.Target;
import dev.imgd.plugin.proto.snapshots.CleanupRequest;
import dev.imgd.plugin.proto.snapshots.CommitSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.Info;
import dev.imgd.plugin.proto.snapshots.Kind;
import dev.imgd.plugin.proto.snapshots.ListSnapshotsRequest;
import dev.imgd.plugin.proto.snapshots.ListSnapshotsResponse;
import dev.imgd.plugin.proto.snapshots.MountsRequest;
import dev.imgd.plugin.proto.snapshots.MountsResponse;
import dev.imgd.plugin.proto.snapshots.PrepareSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.PrepareSnapshotResponse;
import dev.imgd.plugin.proto.snapshots.RemoveSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc.SnapshotsImplBase;
import dev.imgd.plugin.proto.snapshots.StatSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.StatSnapshotResponse;
import dev.imgd.plugin.proto.snapshots.UpdateSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.UpdateSnapshotResponse;
import dev.imgd.plugin.proto.snapshots.UsageRequest;
import dev.imgd.plugin.proto.snapshots.UsageResponse;
import dev.imgd.plugin.proto.snapshots.ViewSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.ViewSnapshotResponse;
import dev.imgd.plugin.proto.types.Mount;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.Snapshotter;
import dev.imgd.snapshot.Usage;
import io.grpc.Context;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// containerd's snapshots service over a [SnapshotService].
///
/// The `snapshotter` of a request names the view, so one socket serves any number of proxy plugins
/// that never see each other's snapshots; [SnapshotService#LOCAL] is refused, because containerd
/// removes what it finds and does not know. No call needs a namespace: containerd's collector sends
/// none and keys hold it. Stateless apart from acceleration; safe for use by many threads.
///
/// **Source:** containerd `api/services/snapshots/v1/snapshots.proto`, `contrib/snapshotservice`.
public final class SnapshotsEndpoint extends SnapshotsImplBase {
    /// **Source:** containerd `contrib/snapshotservice/service.go`.
    private static final int LIST_BATCH = 100;

    /// Ends a batch early: labels may take 4 KiB each and a message 16 MiB.
    private static final int LIST_BATCH_BYTES = 1 << 20;

    private static final Duration LIST_STALL = Duration.ofMinutes(1);

    private final SnapshotService snapshots;
    private final @Nullable Acceleration acceleration;

    private SnapshotsEndpoint(SnapshotService snapshots, @Nullable Acceleration acceleration) {
        this.snapshots = snapshots;
        this.acceleration = acceleration;
    }

    /// Serves in mode [SnapshotterMode#PASSIVE].
    public static SnapshotsEndpoint passive(SnapshotService snapshots) {
        return new SnapshotsEndpoint(snapshots, null);
    }

    /// Serves in mode [SnapshotterMode#ACCELERATE].
    public static SnapshotsEndpoint accelerating(
            SnapshotService snapshots,
            Accelerator accelerator,
            AccelerateOptions options,
            InstantSource clock) {
        return new SnapshotsEndpoint(
                snapshots, new Acceleration(snapshots, accelerator, options, clock));
    }

    @Override
    public void prepare(
            PrepareSnapshotRequest request, StreamObserver<PrepareSnapshotResponse> out) {
        Answer<PrepareSnapshotResponse> answer = new Answer<>(out);
        answer.unless(() -> prepare(request, answer));
    }

    private void prepare(PrepareSnapshotRequest request, Answer<PrepareSnapshotResponse> answer)
            throws ImageException {
        Snapshotter view = view(request.getSnapshotter());
        required("key", request.getKey());
        Map<String, String> labels = request.getLabelsMap();
        SnapshotLabels.check(labels);
        Acceleration accelerating = acceleration;
        Optional<Target> target =
                accelerating == null
                        ? Optional.empty()
                        : accelerating.target(
                                request.getSnapshotter(),
                                CallLog.NAMESPACE.get(),
                                request.getParent(),
                                labels);
        if (accelerating == null || target.isEmpty()) {
            answer.with(prepared(view, request));
        } else {
            // The wait may take minutes and ends in native calls: neither a thread of the pool
            // nor a virtual one.
            Answer.Work work = () -> accelerate(accelerating, target.get(), view, request, answer);
            Thread.ofPlatform()
                    .name("imgd-accelerate")
                    .daemon()
                    .start(Context.current().wrap(() -> answer.unless(work)));
        }
    }

    private static void accelerate(
            Acceleration acceleration,
            Target target,
            Snapshotter view,
            PrepareSnapshotRequest request,
            Answer<PrepareSnapshotResponse> answer)
            throws ImageException {
        acceleration.admit(target);
        if (acceleration.present(target) || acceleration.provide(target)) {
            throw exists(target);
        }
        answer.with(prepared(view, request));
    }

    private static PrepareSnapshotResponse prepared(
            Snapshotter view, PrepareSnapshotRequest request) throws ImageException {
        return PrepareSnapshotResponse.newBuilder()
                .addAllMounts(
                        mounts(
                                view.prepare(
                                        request.getKey(),
                                        request.getParent(),
                                        request.getLabelsMap())))
                .build();
    }

    private static ImageException exists(Target target) {
        return ImageException.alreadyExists(
                "target snapshot \"%s\": already exists".formatted(target.chainId()));
    }

    @Override
    public void view(ViewSnapshotRequest request, StreamObserver<ViewSnapshotResponse> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            required("key", request.getKey());
                            SnapshotLabels.check(request.getLabelsMap());
                            return ViewSnapshotResponse.newBuilder()
                                    .addAllMounts(
                                            mounts(
                                                    view(request.getSnapshotter())
                                                            .view(
                                                                    request.getKey(),
                                                                    request.getParent(),
                                                                    request.getLabelsMap())))
                                    .build();
                        });
    }

    @Override
    public void mounts(MountsRequest request, StreamObserver<MountsResponse> out) {
        new Answer<>(out)
                .of(
                        () ->
                                MountsResponse.newBuilder()
                                        .addAllMounts(
                                                mounts(
                                                        view(request.getSnapshotter())
                                                                .mounts(
                                                                        required(
                                                                                "key",
                                                                                request.getKey()))))
                                        .build());
    }

    @Override
    public void commit(CommitSnapshotRequest request, StreamObserver<Empty> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            SnapshotLabels.check(request.getLabelsMap());
                            view(request.getSnapshotter())
                                    .commit(
                                            required("name", request.getName()),
                                            required("key", request.getKey()),
                                            request.getLabelsMap(),
                                            request.getParent());
                            return Empty.getDefaultInstance();
                        });
    }

    @Override
    public void remove(RemoveSnapshotRequest request, StreamObserver<Empty> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            view(request.getSnapshotter())
                                    .remove(required("key", request.getKey()));
                            return Empty.getDefaultInstance();
                        });
    }

    @Override
    public void stat(StatSnapshotRequest request, StreamObserver<StatSnapshotResponse> out) {
        new Answer<>(out)
                .of(
                        () ->
                                StatSnapshotResponse.newBuilder()
                                        .setInfo(
                                                info(
                                                        view(request.getSnapshotter())
                                                                .stat(
                                                                        required(
                                                                                "key",
                                                                                request.getKey()))))
                                        .build());
    }

    @Override
    public void update(UpdateSnapshotRequest request, StreamObserver<UpdateSnapshotResponse> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            Map<String, String> labels = request.getInfo().getLabelsMap();
                            SnapshotLabels.check(labels);
                            SnapshotInfo updated =
                                    view(request.getSnapshotter())
                                            .update(
                                                    required("name", request.getInfo().getName()),
                                                    labels,
                                                    request.getUpdateMask().getPathsList());
                            return UpdateSnapshotResponse.newBuilder()
                                    .setInfo(info(updated))
                                    .build();
                        });
    }

    @Override
    public void usage(UsageRequest request, StreamObserver<UsageResponse> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            Usage usage =
                                    view(request.getSnapshotter())
                                            .usage(required("key", request.getKey()));
                            return UsageResponse.newBuilder()
                                    .setSize(usage.sizeBytes())
                                    .setInodes(usage.inodes())
                                    .build();
                        });
    }

    @Override
    public void cleanup(CleanupRequest request, StreamObserver<Empty> out) {
        new Answer<>(out)
                .of(
                        () -> {
                            view(request.getSnapshotter()).cleanup();
                            return Empty.getDefaultInstance();
                        });
    }

    @Override
    public void list(ListSnapshotsRequest request, StreamObserver<ListSnapshotsResponse> out) {
        PacedStream<ListSnapshotsResponse> stream = new PacedStream<>(out, LIST_STALL);
        Answer<ListSnapshotsResponse> answer = new Answer<>(out);
        // A slow reader blocks the walk: on a virtual thread that costs nothing but a cursor.
        Thread.ofVirtual()
                .name("imgd-list")
                .start(Context.current().wrap(() -> answer.unless(() -> list(request, stream))));
    }

    private void list(ListSnapshotsRequest request, PacedStream<ListSnapshotsResponse> stream)
            throws ImageException {
        List<Info> batch = new ArrayList<>(LIST_BATCH);
        int[] bytes = {0};
        view(request.getSnapshotter())
                .walk(
                        request.getFiltersList(),
                        snapshot -> {
                            Info info = info(snapshot);
                            batch.add(info);
                            bytes[0] += info.getSerializedSize();
                            if (batch.size() < LIST_BATCH && bytes[0] < LIST_BATCH_BYTES) {
                                return true;
                            }
                            bytes[0] = 0;
                            return stream.send(message(batch));
                        });
        if (!batch.isEmpty()) {
            stream.send(message(batch));
        }
        stream.end();
    }

    private static ListSnapshotsResponse message(List<Info> batch) {
        ListSnapshotsResponse message =
                ListSnapshotsResponse.newBuilder().addAllInfo(batch).build();
        batch.clear();
        return message;
    }

    private Snapshotter view(String name) throws ImageException {
        if (required("snapshotter", name).equals(SnapshotService.LOCAL)) {
            throw ImageException.invalidArgument(
                    ("snapshotter \"%s\": the name is reserved for imgd's own images;"
                                    + " call the proxy plugin otherwise")
                            .formatted(name));
        }
        if (name.length() > 255 || name.indexOf('/') >= 0) {
            throw ImageException.invalidArgument(
                    "snapshotter \"%s\": wanted a name without a slash of at most 255 characters"
                            .formatted(Text.printable(name, 64)));
        }
        return snapshots.view(name);
    }

    private static String required(String field, String value) throws ImageException {
        if (value.isEmpty()) {
            throw new ImageException(
                    ErrorKind.INVALID_ARGUMENT, "request: field " + field + " is empty");
        }
        return value;
    }

    private static List<Mount> mounts(List<dev.imgd.snapshot.Mount> mounts) {
        List<Mount> out = new ArrayList<>(mounts.size());
        for (var mount : mounts) {
            out.add(
                    Mount.newBuilder()
                            .setType(mount.type())
                            .setSource(mount.source())
                            .addAllOptions(mount.options())
                            .build());
        }
        return out;
    }

    private static Info info(SnapshotInfo snapshot) {
        return Info.newBuilder()
                .setName(snapshot.name())
                .setParent(snapshot.parent())
                .setKind(
                        switch (snapshot.kind()) {
                            case VIEW -> Kind.VIEW;
                            case ACTIVE -> Kind.ACTIVE;
                            case COMMITTED -> Kind.COMMITTED;
                        })
                .setCreatedAt(ImageMessages.write(snapshot.created()))
                .setUpdatedAt(ImageMessages.write(snapshot.updated()))
                .putAllLabels(snapshot.labels())
                .build();
    }
}
