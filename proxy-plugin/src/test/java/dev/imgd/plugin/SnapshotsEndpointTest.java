package dev.imgd.plugin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.FieldMask;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.snapshots.CleanupRequest;
import dev.imgd.plugin.proto.snapshots.CommitSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.Info;
import dev.imgd.plugin.proto.snapshots.Kind;
import dev.imgd.plugin.proto.snapshots.ListSnapshotsRequest;
import dev.imgd.plugin.proto.snapshots.ListSnapshotsResponse;
import dev.imgd.plugin.proto.snapshots.MountsRequest;
import dev.imgd.plugin.proto.snapshots.PrepareSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.RemoveSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc.SnapshotsBlockingStub;
import dev.imgd.plugin.proto.snapshots.StatSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.UpdateSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.UsageRequest;
import dev.imgd.plugin.proto.snapshots.ViewSnapshotRequest;
import dev.imgd.plugin.proto.types.Mount;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class SnapshotsEndpointTest {
    private static final String NAME = "imgd";

    private final MemorySnapshots snapshots = new MemorySnapshots();
    private final Queue<String> handled = new ConcurrentLinkedQueue<>();
    private SocketDirectory directory;
    private SocketServer server;
    private DaemonChannel channel;
    private SnapshotsBlockingStub stub;

    @BeforeEach
    void start() throws Exception {
        directory = new SocketDirectory();
        server =
                SocketServer.start(
                        SocketOptions.at(directory.socket()),
                        List.of(SnapshotsEndpoint.passive(snapshots)),
                        (service, method, code, nanos) -> handled.add(method + " " + code));
        channel = DaemonChannel.to(directory.socket());
        stub = SnapshotsGrpc.newBlockingStub(channel.grpc());
    }

    @AfterEach
    void stop() throws Exception {
        channel.close();
        server.close();
        directory.close();
    }

    private static Status failure(Executable call) {
        return assertThrows(StatusRuntimeException.class, call).getStatus();
    }

    private List<Mount> prepare(String key, String parent, Map<String, String> labels) {
        return stub.prepare(
                        PrepareSnapshotRequest.newBuilder()
                                .setSnapshotter(NAME)
                                .setKey(key)
                                .setParent(parent)
                                .putAllLabels(labels)
                                .build())
                .getMountsList();
    }

    private void commit(String name, String key) {
        var _ =
                stub.commit(
                        CommitSnapshotRequest.newBuilder()
                                .setSnapshotter(NAME)
                                .setName(name)
                                .setKey(key)
                                .putLabels("containerd.io/snapshot.ref", name)
                                .build());
    }

    private Info stat(String key) {
        return stub.stat(StatSnapshotRequest.newBuilder().setSnapshotter(NAME).setKey(key).build())
                .getInfo();
    }

    @Test
    void prepare_newKey_returnsMounts() {
        List<Mount> mounts = prepare("k8s.io/1/a b", "", Map.of());

        assertEquals(1, mounts.size());
        assertEquals("bind", mounts.getFirst().getType());
        assertEquals("/s/k8s.io/1/a b", mounts.getFirst().getSource());
        assertEquals(List.of("rw", "rbind"), mounts.getFirst().getOptionsList());
    }

    @Test
    void prepare_sameKeyTwice_alreadyExistsWithMessage() {
        prepare("a", "", Map.of());

        Status status = failure(() -> prepare("a", "", Map.of()));

        assertEquals(Status.Code.ALREADY_EXISTS, status.getCode());
        assertEquals("snapshot a: already exists", status.getDescription());
    }

    @Test
    void prepare_unknownOrActiveParent_failsByContract() {
        prepare("active", "", Map.of());

        assertEquals(
                Status.Code.NOT_FOUND, failure(() -> prepare("b", "nothing", Map.of())).getCode());
        assertEquals(
                Status.Code.INVALID_ARGUMENT,
                failure(() -> prepare("b", "active", Map.of())).getCode());
    }

    @Test
    void prepare_labelTooLong_isRefusedAndLeavesNothing() {
        String key = "containerd.io/snapshot/x";
        String fits = "v".repeat(4096 - key.length());

        prepare("fits", "", Map.of(key, fits));
        Status status = failure(() -> prepare("long", "", Map.of(key, fits + "v")));

        assertEquals(Status.Code.INVALID_ARGUMENT, status.getCode());
        assertTrue(status.getDescription().contains("4097 bytes"), status.getDescription());
        assertEquals(Status.Code.NOT_FOUND, failure(() -> stat("long")).getCode());
    }

    @Test
    void view_onCommitted_isReadOnly() {
        prepare("a", "", Map.of());
        commit("base", "a");

        var mounts =
                stub.view(
                                ViewSnapshotRequest.newBuilder()
                                        .setSnapshotter(NAME)
                                        .setKey("v")
                                        .setParent("base")
                                        .build())
                        .getMountsList();

        assertEquals(List.of("ro", "rbind"), mounts.getFirst().getOptionsList());
        assertEquals(Kind.VIEW, stat("v").getKind());
    }

    @Test
    void mounts_committed_failedPrecondition() {
        prepare("a", "", Map.of());
        var request = MountsRequest.newBuilder().setSnapshotter(NAME);

        assertEquals(1, stub.mounts(request.setKey("a").build()).getMountsCount());
        commit("base", "a");
        assertEquals(
                Status.Code.FAILED_PRECONDITION,
                failure(() -> stub.mounts(request.setKey("base").build())).getCode());
        assertEquals(
                Status.Code.NOT_FOUND,
                failure(() -> stub.mounts(request.setKey("a").build())).getCode());
    }

    @Test
    void commit_withParentOfRequest_rebases() {
        prepare("a", "", Map.of());
        commit("base", "a");
        prepare("b", "", Map.of());

        var _ =
                stub.commit(
                        CommitSnapshotRequest.newBuilder()
                                .setSnapshotter(NAME)
                                .setName("top")
                                .setKey("b")
                                .setParent("base")
                                .build());

        assertEquals("base", stat("top").getParent());
    }

    @Test
    void remove_withChild_saysSo() {
        prepare("a", "", Map.of());
        commit("base", "a");
        prepare("b", "base", Map.of());
        var request = RemoveSnapshotRequest.newBuilder().setSnapshotter(NAME);

        Status status = failure(() -> stub.remove(request.setKey("base").build()));
        assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode());
        assertTrue(status.getDescription().contains("remove"), status.getDescription());

        var _ = stub.remove(request.setKey("b").build());
        var _ = stub.remove(request.setKey("base").build());
        assertEquals(Status.Code.NOT_FOUND, failure(() -> stat("base")).getCode());
    }

    @Test
    void stat_everyKind_hasNumbersOfTheProtocol() {
        prepare("a", "", Map.of("l", "v"));
        Info active = stat("a");
        commit("base", "a");
        Info committed = stat("base");

        assertEquals(Kind.ACTIVE, active.getKind());
        assertEquals(2, active.getKindValue());
        assertEquals(Map.of("l", "v"), active.getLabelsMap());
        assertTrue(active.getCreatedAt().getSeconds() > 1_700_000_000L);
        assertEquals(active.getCreatedAt(), active.getUpdatedAt());
        assertEquals(3, committed.getKindValue());
        assertEquals(
                Map.of("containerd.io/snapshot.ref", "base"),
                committed.getLabelsMap(),
                "labels of the commit replace those of the active snapshot");
    }

    @Test
    void update_masks_changeOnlyWhatTheyName() {
        prepare("a", "", Map.of("containerd.io/one", "1", "containerd.io/two", "2"));
        var info =
                Info.newBuilder()
                        .setName("a")
                        .putLabels("containerd.io/one", "new")
                        .putLabels("ignored", "x");
        var request = UpdateSnapshotRequest.newBuilder().setSnapshotter(NAME).setInfo(info);

        var mask =
                FieldMask.newBuilder()
                        .addPaths("labels.containerd.io/one")
                        .addPaths("labels.containerd.io/two");
        Info masked = stub.update(request.setUpdateMask(mask).build()).getInfo();
        assertEquals(Map.of("containerd.io/one", "new"), masked.getLabelsMap());

        Info all = stub.update(request.clearUpdateMask().build()).getInfo();
        assertEquals(Map.of("containerd.io/one", "new", "ignored", "x"), all.getLabelsMap());

        var parent = FieldMask.newBuilder().addPaths("parent");
        assertEquals(
                Status.Code.INVALID_ARGUMENT,
                failure(() -> stub.update(request.setUpdateMask(parent).build())).getCode());
    }

    @Test
    void usageAndCleanup_answer() {
        prepare("a", "", Map.of());

        var usage = stub.usage(UsageRequest.newBuilder().setSnapshotter(NAME).setKey("a").build());
        assertEquals(4096, usage.getSize());
        assertEquals(7, usage.getInodes());

        var _ = stub.cleanup(CleanupRequest.newBuilder().setSnapshotter(NAME).build());
        assertEquals(1, snapshots.cleanups.get());
    }

    @Test
    void views_areSeparate_andLocalIsRefused() {
        prepare("a", "", Map.of());

        var other = StatSnapshotRequest.newBuilder().setKey("a");
        assertEquals(
                Status.Code.NOT_FOUND,
                failure(() -> stub.stat(other.setSnapshotter("other").build())).getCode());
        for (String name : List.of("", "local", "a/b", "x".repeat(256))) {
            assertEquals(
                    Status.Code.INVALID_ARGUMENT,
                    failure(() -> stub.stat(other.setSnapshotter(name).build())).getCode(),
                    name);
        }
    }

    @Test
    void emptyKeys_areInvalid() {
        assertEquals(
                Status.Code.INVALID_ARGUMENT, failure(() -> prepare("", "", Map.of())).getCode());
        assertEquals(Status.Code.INVALID_ARGUMENT, failure(() -> stat("")).getCode());
        assertEquals(Status.Code.INVALID_ARGUMENT, failure(() -> commit("", "a")).getCode());
    }

    @Test
    void everyKind_arrivesWithItsCodeMessageAndName() {
        for (ErrorKind kind : ErrorKind.values()) {
            snapshots.view(NAME).failure =
                    new ImageException(kind, "disk é 100%: " + kind + " wanted\tless");

            var thrown = assertThrows(StatusRuntimeException.class, () -> stat("a"));

            assertEquals(kind.grpcCode(), thrown.getStatus().getCode().value());
            assertEquals(
                    "disk é 100%: " + kind + " wanted\tless", thrown.getStatus().getDescription());
            Metadata trailers = thrown.getTrailers();
            assertEquals(kind.name(), trailers.get(GrpcErrors.KIND));
        }
    }

    @Test
    void listener_isToldOfEveryCall() {
        prepare("a", "", Map.of());
        failure(() -> stat("b"));

        await(() -> handled.size() == 2);
        assertEquals(List.of("Prepare OK", "Stat NOT_FOUND"), List.copyOf(handled));
    }

    @Test
    void list_filters() {
        prepare("a", "", Map.of());
        prepare("b", "", Map.of());
        var request = ListSnapshotsRequest.newBuilder().setSnapshotter(NAME);

        assertEquals(2, names(stub.list(request.build())).size());
        assertEquals(List.of("b"), names(stub.list(request.clone().addFilters("name==b").build())));
        assertEquals(List.of(), names(stub.list(request.clone().addFilters("name==c").build())));
        assertEquals(
                Status.Code.INVALID_ARGUMENT,
                failure(() -> names(stub.list(request.clone().addFilters("bad filter").build())))
                        .getCode());
    }

    private static List<String> names(Iterator<ListSnapshotsResponse> answers) {
        List<String> names = new ArrayList<>();
        while (answers.hasNext()) {
            ListSnapshotsResponse answer = answers.next();
            assertTrue(answer.getInfoCount() <= 100, "batch of " + answer.getInfoCount());
            answer.getInfoList().forEach(info -> names.add(info.getName()));
        }
        return names;
    }

    @Test
    void list_20000_arrivesCompleteInBatches() throws Exception {
        fill(20_000, "");

        var answers = stub.list(ListSnapshotsRequest.newBuilder().setSnapshotter(NAME).build());

        assertEquals(20_000, names(answers).stream().distinct().count());
    }

    @Test
    void list_readerThatStops_holdsTheWalkAndLaterGetsAll() throws Exception {
        fill(20_000, "v".repeat(2000));
        var reader = new SlowReader();
        SnapshotsGrpc.newStub(channel.grpc())
                .list(ListSnapshotsRequest.newBuilder().setSnapshotter(NAME).build(), reader);
        assertTrue(reader.first.await(10, TimeUnit.SECONDS));

        // 40 MB wait to be sent; the walk must stand still with a window's worth of them taken.
        await(() -> snapshots.view(NAME).visitedUnchanged(200));
        int visited = snapshots.view(NAME).visited.get();
        assertTrue(visited < 5_000, "visited while nobody reads: " + visited);

        reader.request(Integer.MAX_VALUE);
        assertTrue(reader.end.await(30, TimeUnit.SECONDS));
        assertEquals(20_000, reader.infos);
    }

    @Test
    void list_cancelled_endsTheWalk() throws Exception {
        fill(20_000, "v".repeat(2000));
        var reader = new SlowReader();
        SnapshotsGrpc.newStub(channel.grpc())
                .list(ListSnapshotsRequest.newBuilder().setSnapshotter(NAME).build(), reader);
        assertTrue(reader.first.await(10, TimeUnit.SECONDS));

        reader.cancel();

        await(() -> snapshots.view(NAME).walking.get() == 0);
        assertTrue(snapshots.view(NAME).visited.get() < 20_000);
    }

    @Test
    void list_hugeLabels_staysUnderTheMessageLimit() throws Exception {
        Map<String, String> labels = new java.util.HashMap<>();
        for (int i = 0; i < 100; i++) {
            labels.put("containerd.io/snapshot/" + i, "v".repeat(4000));
        }
        for (int i = 0; i < 100; i++) {
            snapshots.view(NAME).prepare("k" + i, "", labels);
        }

        var answers = stub.list(ListSnapshotsRequest.newBuilder().setSnapshotter(NAME).build());

        assertEquals(100, names(answers).size());
    }

    private void fill(int count, String value) throws Exception {
        for (int i = 0; i < count; i++) {
            snapshots
                    .view(NAME)
                    .prepare("k8s.io/" + i + "/key", "", Map.of("containerd.io/snapshot/x", value));
        }
    }

    private static void await(java.util.function.BooleanSupplier condition) {
        Await.until(condition);
    }

    private static final class SlowReader
            implements ClientResponseObserver<ListSnapshotsRequest, ListSnapshotsResponse> {
        final CountDownLatch first = new CountDownLatch(1);
        final CountDownLatch end = new CountDownLatch(1);
        volatile int infos;
        private ClientCallStreamObserver<ListSnapshotsRequest> call;

        @Override
        public void beforeStart(ClientCallStreamObserver<ListSnapshotsRequest> stream) {
            call = stream;
            stream.disableAutoRequestWithInitial(1);
        }

        void request(int messages) {
            call.request(messages);
        }

        void cancel() {
            call.cancel("enough", null);
        }

        @Override
        public void onNext(ListSnapshotsResponse value) {
            infos += value.getInfoCount();
            first.countDown();
        }

        @Override
        public void onError(Throwable t) {}

        @Override
        public void onCompleted() {
            end.countDown();
        }
    }
}
