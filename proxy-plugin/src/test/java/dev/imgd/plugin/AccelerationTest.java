package dev.imgd.plugin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.snapshots.CommitSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.PrepareSnapshotRequest;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc.SnapshotsBlockingStub;
import dev.imgd.plugin.proto.snapshots.StatSnapshotRequest;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.SnapshotInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class AccelerationTest {
    private static final String NAME = "imgd";
    private static final String REF = "containerd.io/snapshot.ref";
    private static final String CRI = "containerd.io/snapshot/cri.";
    private static final String STARGZ = "containerd.io/snapshot/remote/stargz.";

    private static final Digest[] DIFF_IDS = {digest("diff0"), digest("diff1"), digest("diff2")};
    private static final Digest[] BLOBS = {digest("blob0"), digest("blob1"), digest("blob2")};
    private static final List<Digest> CHAIN = MemorySnapshots.chain(DIFF_IDS);

    private final MemorySnapshots snapshots = new MemorySnapshots();
    private final FakeAccelerator accelerator = new FakeAccelerator();
    private final AtomicReference<Instant> now = new AtomicReference<>(Instant.EPOCH);
    private SocketDirectory directory;
    private SocketServer server;
    private DaemonChannel channel;
    private SnapshotsBlockingStub stub;

    private static Digest digest(String text) {
        return Digest.sha256(text.getBytes(StandardCharsets.UTF_8));
    }

    /// An image of three layers, provided as long as nothing else is set.
    private final class FakeAccelerator implements Accelerator {
        final Queue<AccelerateRequest> requests = new ConcurrentLinkedQueue<>();
        final CountDownLatch interrupted = new CountDownLatch(1);
        final CountDownLatch release = new CountDownLatch(1);
        volatile Exception failure;
        volatile boolean blocking;
        volatile ProvidedLayer other;
        volatile ImageException refusal;

        @Override
        public void admit(AccelerateRequest request) throws ImageException {
            if (refusal != null) {
                throw refusal;
            }
        }

        @Override
        public ProvidedLayer provide(AccelerateRequest request) throws ImageException {
            requests.add(request);
            if (blocking) {
                try {
                    release.await();
                } catch (InterruptedException e) {
                    interrupted.countDown();
                    throw new ImageException(ErrorKind.CANCELLED, "interrupted", e);
                }
            }
            switch (failure) {
                case null -> {}
                case ImageException e -> throw e;
                case RuntimeException e -> throw e;
                default -> throw new AssertionError(failure);
            }
            if (other != null) {
                return other;
            }
            int i = List.of(BLOBS).indexOf(request.layerDigest());
            for (Digest diffId : DIFF_IDS) {
                snapshots.layers.add(diffId);
            }
            return new ProvidedLayer(
                    DIFF_IDS[i], i == 0 ? Optional.empty() : Optional.of(CHAIN.get(i - 1)));
        }
    }

    @BeforeEach
    void create() throws Exception {
        directory = new SocketDirectory();
        serve(AccelerateOptions.defaults());
    }

    private void serve(AccelerateOptions options) throws Exception {
        if (server != null) {
            channel.close();
            server.close();
        }
        server =
                SocketServer.start(
                        SocketOptions.at(directory.socket()),
                        List.of(
                                SnapshotsEndpoint.accelerating(
                                        snapshots, accelerator, options, now::get)),
                        RpcListener.NONE);
        channel = DaemonChannel.to(directory.socket());
        stub = SnapshotsGrpc.newBlockingStub(channel.grpc());
    }

    @AfterEach
    void stop() throws Exception {
        accelerator.release.countDown();
        channel.close();
        server.close();
        directory.close();
    }

    private static Map<String, String> criLabels(int layer) {
        Map<String, String> labels = new HashMap<>();
        labels.put(REF, CHAIN.get(layer).toString());
        labels.put(CRI + "image-ref", "docker.io/library/debian:12");
        labels.put(CRI + "layer-digest", BLOBS[layer].toString());
        labels.put(CRI + "manifest-digest", digest("manifest").toString());
        labels.put(
                CRI + "image-layers",
                String.join(
                        ",",
                        List.of(BLOBS).subList(layer, 3).stream().map(Digest::toString).toList()));
        return labels;
    }

    private static PrepareSnapshotRequest request(
            String key, String parent, Map<String, String> labels) {
        return PrepareSnapshotRequest.newBuilder()
                .setSnapshotter(NAME)
                .setKey(key)
                .setParent(parent)
                .putAllLabels(labels)
                .build();
    }

    /// @return the code of the answer
    private Status.Code prepare(String key, String parent, Map<String, String> labels) {
        try {
            var _ = stub.prepare(request(key, parent, labels));
            return Status.Code.OK;
        } catch (StatusRuntimeException e) {
            return e.getStatus().getCode();
        }
    }

    /// What containerd looks for after `ALREADY_EXISTS`.
    private List<SnapshotInfo> targets(Digest chainId, String parent) throws Exception {
        List<SnapshotInfo> found = new ArrayList<>();
        snapshots
                .view(NAME)
                .walk(
                        List.of(),
                        info -> {
                            if (info.kind() == Kind.COMMITTED
                                    && chainId.toString().equals(info.labels().get(REF))
                                    && parent.equals(info.parent())) {
                                found.add(info);
                            }
                            return true;
                        });
        return found;
    }

    private SnapshotInfo target(Digest chainId, String parent) throws Exception {
        List<SnapshotInfo> found = targets(chainId, parent);
        assertEquals(1, found.size(), "snapshots for " + chainId + " on " + parent);
        return found.getFirst();
    }

    private boolean exists(String key) {
        try {
            var _ = snapshots.view(NAME).stat(key);
            return true;
        } catch (ImageException e) {
            assertEquals(ErrorKind.NOT_FOUND, e.kind());
            return false;
        }
    }

    @Test
    void image_ofThreeLayers_isThereLayerByLayer() throws Exception {
        String parent = "";
        for (int i = 0; i < 3; i++) {
            assertEquals(
                    Status.Code.ALREADY_EXISTS,
                    prepare("k8s.io/" + i + "/extract", parent, criLabels(i)));
            SnapshotInfo target = target(CHAIN.get(i), parent);
            assertEquals(CHAIN.get(i).toString(), target.name());
            assertFalse(exists("k8s.io/" + i + "/extract"), "no active snapshot is left");
            parent = target.name();
        }

        assertEquals(3, accelerator.requests.size());
        assertEquals(Status.Code.OK, prepare("k8s.io/9/container", parent, Map.of()));
    }

    @Test
    void imageRefused_fails_andContainerdCannotGoOnByItself() throws Exception {
        accelerator.refusal = new ImageException(ErrorKind.PERMISSION_DENIED, "no signature");
        assertEquals(Status.Code.PERMISSION_DENIED, prepare("a", "", criLabels(0)));
        assertEquals(0, accelerator.requests.size());
        assertFalse(exists("a"), "nothing that containerd could unpack into");
    }

    @Test
    void imageRefusedLater_failsThoughTheLayerIsHere() throws Exception {
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("a", "", criLabels(0)));
        accelerator.refusal = new ImageException(ErrorKind.PERMISSION_DENIED, "policy changed");
        assertEquals(Status.Code.PERMISSION_DENIED, prepare("b", "", criLabels(0)));
        accelerator.refusal = null;
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("c", "", criLabels(0)));
        assertEquals(1, accelerator.requests.size());
    }

    @Test
    void request_carriesWhatTheLabelsSay() throws Exception {
        var headers = new Metadata();
        headers.put(
                Metadata.Key.of("containerd-namespace", Metadata.ASCII_STRING_MARSHALLER),
                "k8s.io");
        Map<String, String> labels = criLabels(0);
        labels.put("containerd.io/gc.root", "now");
        labels.put("containerd.io/snapshot/annotation", "kept");

        assertThrows(
                StatusRuntimeException.class,
                () ->
                        stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers))
                                .prepare(request("key", "", labels)));

        AccelerateRequest request = accelerator.requests.element();
        assertEquals(NAME, request.view());
        assertEquals("k8s.io", request.namespace());
        assertEquals("docker.io/library/debian:12", request.image().toString());
        assertEquals(Optional.of(digest("manifest")), request.manifestDigest());
        assertEquals(BLOBS[0], request.layerDigest());
        assertEquals(List.of(BLOBS), request.layersFromHere());
        assertEquals(CHAIN.getFirst(), request.chainId());
        assertEquals("", request.parentName());
        assertFalse(request.labels().containsKey("containerd.io/gc.root"));
        Map<String, String> kept = target(CHAIN.getFirst(), "").labels();
        assertEquals("kept", kept.get("containerd.io/snapshot/annotation"));
        assertFalse(kept.containsKey("containerd.io/gc.root"));
    }

    @Test
    void secondNamespace_sharesTheSnapshot() throws Exception {
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("default/1/a", "", criLabels(0)));
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("k8s.io/1/a", "", criLabels(0)));

        assertEquals(1, accelerator.requests.size());
        assertEquals(CHAIN.getFirst().toString(), target(CHAIN.getFirst(), "").name());
    }

    @Test
    void parentThatContainerdCommitted_getsAChildOfItsOwn() throws Exception {
        accelerator.failure = ImageException.unavailable("registry: down", null);
        assertEquals(Status.Code.OK, prepare("ns/1/extract", "", criLabels(0)));
        String parent = "ns/2/" + CHAIN.getFirst();
        var _ =
                stub.commit(
                        CommitSnapshotRequest.newBuilder()
                                .setSnapshotter(NAME)
                                .setKey("ns/1/extract")
                                .setName(parent)
                                .putAllLabels(criLabels(0))
                                .build());
        accelerator.failure = null;
        now.set(now.get().plusSeconds(61));

        assertEquals(Status.Code.ALREADY_EXISTS, prepare("ns/3/extract", parent, criLabels(1)));
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("k8s.io/4/x", "", criLabels(0)));
        String shared = CHAIN.getFirst().toString();
        assertEquals(
                Set.of(parent, shared),
                Set.copyOf(targets(CHAIN.getFirst(), "").stream().map(SnapshotInfo::name).toList()),
                "containerd may adopt either");
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("k8s.io/5/x", shared, criLabels(1)));

        String own = target(CHAIN.get(1), parent).name();
        assertTrue(own.startsWith(CHAIN.get(1) + "@"), own);
        assertEquals(CHAIN.get(1).toString(), target(CHAIN.get(1), shared).name());
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("ns/6/extract", own, criLabels(2)));
        target(CHAIN.get(2), own);
    }

    @Test
    void parentOfAnotherChain_fallsBack() throws Exception {
        Map<String, String> foreign = Map.of(REF, digest("foreign").toString());
        snapshots.view(NAME).put("ns/1/foreign", "", Kind.COMMITTED, foreign);

        assertEquals(Status.Code.OK, prepare("key", "ns/1/foreign", criLabels(1)));

        assertEquals(Kind.ACTIVE, snapshots.view(NAME).stat("key").kind());
        assertFalse(exists(CHAIN.get(1).toString()));
    }

    @Test
    void parentMissing_isNotFound() {
        assertEquals(Status.Code.NOT_FOUND, prepare("key", "nothing", criLabels(1)));
    }

    @Test
    void layerOfAnotherChain_fallsBack() throws Exception {
        accelerator.other = new ProvidedLayer(digest("evil"), Optional.empty());
        snapshots.layers.add(digest("evil"));

        assertEquals(Status.Code.OK, prepare("key", "", criLabels(0)));

        assertEquals(Kind.ACTIVE, snapshots.view(NAME).stat("key").kind());
        assertFalse(exists(CHAIN.getFirst().toString()));
    }

    @Test
    void failure_leavesTheImageToContainerdForAWhile() throws Exception {
        accelerator.failure = ImageException.unavailable("registry: down", null);

        assertEquals(Status.Code.OK, prepare("key0", "", criLabels(0)));
        assertEquals(Status.Code.OK, prepare("key0b", "", criLabels(0)));
        assertEquals(1, accelerator.requests.size(), "not asked again at once");
        assertEquals(
                criLabels(0), snapshots.view(NAME).stat("key0").labels(), "all labels are kept");

        Map<String, String> otherImage = criLabels(0);
        otherImage.put(CRI + "image-ref", "docker.io/library/alpine:3");
        assertEquals(Status.Code.OK, prepare("key1", "", otherImage));
        assertEquals(2, accelerator.requests.size(), "other images are asked for");

        accelerator.failure = null;
        now.set(now.get().plusSeconds(61));
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("key2", "", criLabels(0)));
    }

    @Test
    void bug_fallsBack() {
        accelerator.failure = new IllegalStateException("bug");

        assertEquals(Status.Code.OK, prepare("key", "", criLabels(0)));
    }

    @Test
    void malformedLabels_fallBackWithoutAsking() {
        for (Map<String, String> bad :
                List.of(
                        Map.of(CRI + "image-ref", "docker.io/UPPER:1"),
                        Map.of(CRI + "image-ref", "../../etc"),
                        Map.of(CRI + "layer-digest", "sha256:1234"),
                        Map.of(CRI + "manifest-digest", "sha256:" + "g".repeat(64)),
                        Map.of(CRI + "image-layers", BLOBS[0] + ",../x"),
                        Map.of(REF, "not a chain"))) {
            Map<String, String> labels = criLabels(0);
            labels.putAll(bad);
            assertEquals(Status.Code.OK, prepare("key " + bad, "", labels));
        }
        assertEquals(0, accelerator.requests.size());
    }

    @Test
    void withoutImageLabelsOrTarget_isPlain() {
        Map<String, String> noTarget = criLabels(0);
        noTarget.remove(REF);
        Map<String, String> noLayer = criLabels(0);
        noLayer.remove(CRI + "layer-digest");

        assertEquals(Status.Code.OK, prepare("a", "", noTarget));
        assertEquals(Status.Code.OK, prepare("b", "", noLayer));
        assertEquals(0, accelerator.requests.size());
    }

    private static Map<String, String> stargzLabels() {
        Map<String, String> labels = new HashMap<>();
        labels.put(REF, CHAIN.getFirst().toString());
        labels.put(STARGZ + "reference", "localhost:5000/a@" + digest("manifest"));
        labels.put(STARGZ + "digest", BLOBS[0].toString());
        labels.put(STARGZ + "layers", BLOBS[0] + "," + BLOBS[1] + "," + BLOBS[2]);
        return labels;
    }

    @Test
    void stargzLabels_nameTheImageToo() {
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("a", "", stargzLabels()));

        AccelerateRequest request = accelerator.requests.element();
        assertEquals("localhost:5000/a@" + digest("manifest"), request.image().toString());
        assertEquals(Optional.empty(), request.manifestDigest());
        assertEquals(List.of(BLOBS), request.layersFromHere());
    }

    @Test
    void criLabels_winOverStargzLabels() {
        Map<String, String> both = criLabels(0);
        stargzLabels().forEach(both::putIfAbsent);

        assertEquals(Status.Code.ALREADY_EXISTS, prepare("a", "", both));

        assertEquals(
                "docker.io/library/debian:12", accelerator.requests.element().image().toString());
    }

    @Test
    void labelSourceThatIsOff_isIgnored() throws Exception {
        serve(new AccelerateOptions(Set.of(LabelSource.CRI), Duration.ofMinutes(1), Duration.ZERO));

        assertEquals(Status.Code.OK, prepare("a", "", stargzLabels()));
        assertEquals(0, accelerator.requests.size());
    }

    @Test
    void waitTooLong_fallsBackAndInterrupts() throws Exception {
        serve(new AccelerateOptions(Set.of(LabelSource.CRI), Duration.ofMillis(20), Duration.ZERO));
        accelerator.blocking = true;

        assertEquals(Status.Code.OK, prepare("key", "", criLabels(0)));

        assertTrue(accelerator.interrupted.await(10, TimeUnit.SECONDS));
    }

    @Test
    void callerGone_interruptsAndPreparesNothing() throws Exception {
        accelerator.blocking = true;
        var call =
                SnapshotsGrpc.newFutureStub(channel.grpc())
                        .prepare(request("key", "", criLabels(0)));
        Await.until(() -> accelerator.requests.size() == 1);

        call.cancel(true);

        assertTrue(accelerator.interrupted.await(10, TimeUnit.SECONDS));
        accelerator.blocking = false;
        assertEquals(Status.Code.ALREADY_EXISTS, prepare("other", "", criLabels(0)));
        assertFalse(exists("key"));
    }

    @Test
    void manyWaitingPrepares_doNotHoldUpOtherCalls() {
        accelerator.blocking = true;
        var futures = SnapshotsGrpc.newFutureStub(channel.grpc());
        for (int i = 0; i < 100; i++) {
            var _ = futures.prepare(request("key" + i, "", criLabels(0)));
        }
        Await.until(() -> accelerator.requests.size() == 100);

        var error =
                assertThrows(
                        StatusRuntimeException.class,
                        () ->
                                stub.withDeadlineAfter(10, TimeUnit.SECONDS)
                                        .stat(
                                                StatSnapshotRequest.newBuilder()
                                                        .setSnapshotter(NAME)
                                                        .setKey("x")
                                                        .build()));
        assertEquals(Status.Code.NOT_FOUND, error.getStatus().getCode());
    }

    @Test
    void close_endsWaitingPrepares() throws Exception {
        accelerator.blocking = true;
        var call =
                SnapshotsGrpc.newFutureStub(channel.grpc())
                        .prepare(request("key", "", criLabels(0)));
        Await.until(() -> accelerator.requests.size() == 1);

        server.close(Duration.ofMillis(50));

        assertTrue(accelerator.interrupted.await(10, TimeUnit.SECONDS));
        assertThrows(
                java.util.concurrent.ExecutionException.class,
                () -> call.get(10, TimeUnit.SECONDS));
        assertFalse(exists("key"));
    }
}
