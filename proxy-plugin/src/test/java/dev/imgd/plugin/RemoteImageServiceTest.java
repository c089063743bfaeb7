package dev.imgd.plugin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageLocation;
import dev.imgd.image.ImageService.CopyPlatforms;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.ExportFormat;
import dev.imgd.image.ImageService.GcReport;
import dev.imgd.image.ImageService.LayerProgress;
import dev.imgd.image.ImageService.LayerState;
import dev.imgd.image.ImageService.Progress;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.v1.ImagesGrpc;
import dev.imgd.plugin.proto.v1.MountRequest;
import dev.imgd.registry.Credentials;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class RemoteImageServiceTest {
    private final FakeImages images = new FakeImages();
    private SocketDirectory directory;
    private SocketServer server;
    private RemoteImageService remote;

    @BeforeEach
    void start() throws Exception {
        directory = new SocketDirectory();
        server =
                SocketServer.start(
                        SocketOptions.at(directory.socket()),
                        List.of(new ImageEndpoint(images, "1.2.3")),
                        RpcListener.NONE);
        remote = RemoteImageService.connect(directory.socket());
    }

    @AfterEach
    void stop() throws Exception {
        remote.close();
        server.close(Duration.ofSeconds(1));
        directory.close();
    }

    @Test
    void pull_tellsProgressThenResult() throws Exception {
        images.states =
                List.of(
                        new Progress("debian:12", "resolving", 0, 0, 0, List.of(), List.of()),
                        new Progress(
                                "debian:12",
                                "downloading",
                                1L << 33,
                                1L << 34,
                                5,
                                IntStream.range(0, LayerState.values().length)
                                        .mapToObj(
                                                i ->
                                                        new LayerProgress(
                                                                FakeImages.DIGEST,
                                                                LayerState.values()[i],
                                                                i,
                                                                i + 1,
                                                                1L << 32))
                                        .toList(),
                                FakeImages.RESULT.sources()));
        List<Progress> seen = new ArrayList<>();
        var request = new PullRequest("debian:12", Optional.of("linux/arm64"), true, false, true);

        var result = remote.pull(request, seen::add);

        assertEquals(FakeImages.RESULT, result);
        assertEquals(images.states, seen);
        assertEquals(List.of(request.toString()), List.copyOf(images.calls));
    }

    private static List<Credentials> everyKind() {
        return List.of(
                new Credentials.Login("user", "pass:word ü"),
                new Credentials.IdentityToken("identity"),
                new Credentials.RegistryToken("registry"),
                new Credentials.Anonymous());
    }

    @ParameterizedTest
    @MethodSource("everyKind")
    void credentials_everyKind_arriveAndAreInNoText(Credentials credentials) throws Exception {
        var request = PullRequest.of("debian:12").withCredentials(Optional.of(credentials));
        var _ = remote.pull(request, ProgressListener.NONE);
        assertEquals(request, images.lastPull);

        var copy =
                CopyRequest.of("store:debian:12", "docker://localhost:5000/a:1")
                        .withCredentials(Optional.empty(), Optional.of(credentials));
        var _ = remote.copy(copy, ProgressListener.NONE);
        assertEquals(copy, images.lastCopy);
        String texts = images.calls.toString();
        for (String secret : List.of("pass:word", "identity]", "registry]")) {
            assertFalse(texts.contains(secret), texts);
        }
    }

    @ParameterizedTest
    @EnumSource(CopyPlatforms.class)
    void copy_everyField_arrivesAndComesBack(CopyPlatforms platforms) throws Exception {
        List<Progress> seen = new ArrayList<>();
        var request =
                new CopyRequest(
                        ImageLocation.parse("store:debian:12"),
                        ImageLocation.parse("oci:/images:x"),
                        platforms,
                        platforms == CopyPlatforms.ONE
                                ? Optional.of("linux/arm64")
                                : Optional.empty(),
                        true,
                        platforms == CopyPlatforms.ALL,
                        platforms == CopyPlatforms.AVAILABLE,
                        true);

        assertEquals(FakeImages.COPIED, remote.copy(request, seen::add));

        assertEquals(List.of("copy " + request), List.copyOf(images.calls));
        assertEquals("oci:/images:x", seen.getFirst().reference());
    }

    @Test
    void copy_relativePath_isMeantHere() throws Exception {
        var _ = remote.copy(CopyRequest.of("store:debian:12", "oci:here"), ProgressListener.NONE);

        String call = images.calls.peek();
        assertTrue(call.contains("destination=oci:" + Path.of("here").toAbsolutePath()), call);
    }

    @Test
    void pull_withoutPlatform_keepsItAbsent() throws Exception {
        var request = PullRequest.of("a");

        var _ = remote.pull(request, ProgressListener.NONE);

        assertEquals(List.of(request.toString()), List.copyOf(images.calls));
    }

    @Test
    void pull_listenerThatBlocks_holdsUpNothingAndGetsTheResult() throws Exception {
        var layer = new LayerProgress(FakeImages.DIGEST, LayerState.DOWNLOADING, 1, 2, 3);
        List<LayerProgress> layers = java.util.Collections.nCopies(1000, layer);
        images.states =
                IntStream.range(0, 2000)
                        .mapToObj(i -> new Progress("a", "downloading", i, 0, 0, layers, List.of()))
                        .toList();
        List<Progress> seen = new ArrayList<>();

        var result =
                remote.pull(
                        PullRequest.of("a"),
                        state -> {
                            seen.add(state);
                            Await.until(() -> images.pulled.getCount() == 0);
                        });

        assertEquals(FakeImages.RESULT, result);
        assertEquals(0, seen.getFirst().doneBytes());
        assertTrue(seen.size() < 2000, "states on the way: " + seen.size());
    }

    @Test
    void list_20000Images_arrivesInOrder() throws Exception {
        images.count = 20_000;

        var list = remote.list();

        assertEquals(20_000, list.size());
        assertEquals(FakeImages.summary(0), list.getFirst());
        assertEquals(FakeImages.summary(19_999), list.getLast());
    }

    @Test
    void everyOtherMethod_arrivesWithItsArguments() throws Exception {
        assertEquals(FakeImages.DETAILS, remote.inspect("a", Optional.of("linux/arm64")));
        assertEquals(FakeImages.DETAILS, remote.inspect("a", Optional.empty()));
        assertEquals(FakeImages.summary(3), remote.tag("a", "b"));
        assertEquals(List.of("a", "b"), remote.remove(List.of("a", "b")));
        assertEquals(List.of("blob0"), remote.verify(true));
        remote.mount("a", Path.of("/m/x"), true);
        remote.mount("a", Optional.of("linux/arm64"), Path.of("/m"), false);
        remote.unmount(Path.of("/m/x"));
        remote.bundle("a", Path.of("/b"), List.of("sh", "-c", ""));
        remote.bundle("a", Optional.of("linux/386"), Path.of("/b"), List.of());
        assertEquals(
                List.of(FakeImages.summary(0)),
                remote.importImages(Path.of("/in.tar"), Optional.of("n"), true));
        var _ = remote.importImages(Path.of("/in.tar"), Optional.empty(), false);
        for (ExportFormat format : ExportFormat.values()) {
            remote.export(List.of("a"), Path.of("/out"), format);
        }

        assertEquals(
                List.of(
                        "inspect a Optional[linux/arm64]",
                        "inspect a Optional.empty",
                        "tag a b",
                        "remove [a, b]",
                        "verify true",
                        "mount a Optional.empty /m/x true",
                        "mount a Optional[linux/arm64] /m false",
                        "unmount /m/x",
                        "bundle a Optional.empty /b [sh, -c, ]",
                        "bundle a Optional[linux/386] /b []",
                        "import /in.tar Optional[n] true",
                        "import /in.tar Optional.empty false",
                        "export [a] /out OCI_DIRECTORY",
                        "export [a] /out OCI_ARCHIVE",
                        "export [a] /out DOCKER_ARCHIVE"),
                List.copyOf(images.calls));
    }

    @Test
    void gc_100000Items_arriveComplete() throws Exception {
        images.count = 100_000;

        GcReport report = remote.gc(true, true);

        assertEquals(images.gc(true, true), report);
    }

    @Test
    void gc_notDry_isNotDryOverThere() throws Exception {
        assertEquals(images.gc(false, false), remote.gc(false, false));
        assertEquals(List.of("gc false false", "gc false false"), List.copyOf(images.calls));
    }

    @Test
    void status_namesTheDaemon() throws Exception {
        DaemonStatus status = remote.status();

        assertEquals("1.2.3", status.version());
        assertEquals(ProcessHandle.current().pid(), status.pid());
    }

    @Test
    void relativePath_isMeantHere() throws Exception {
        remote.unmount(Path.of("some/../dir"));

        assertEquals("unmount " + Path.of("dir").toAbsolutePath(), images.calls.element());
    }

    @Test
    void relativePathOfAForeignClient_isRefused() throws Exception {
        try (DaemonChannel channel = DaemonChannel.to(directory.socket())) {
            var stub = ImagesGrpc.newBlockingStub(channel.grpc());
            for (String path : List.of("", "relative", "/a\0b")) {
                var error =
                        assertThrows(
                                StatusRuntimeException.class,
                                () ->
                                        stub.mount(
                                                MountRequest.newBuilder()
                                                        .setReference("a")
                                                        .setDirectory(path)
                                                        .build()));
                assertEquals(Status.Code.INVALID_ARGUMENT, error.getStatus().getCode());
            }
        }
        assertTrue(images.calls.isEmpty());
    }

    @Test
    void everyKindOfError_arrivesAsItWas() {
        for (ErrorKind kind : ErrorKind.values()) {
            images.failure = new ImageException(kind, "layer é: wanted 1, got 2: " + kind);

            for (var error :
                    List.of(
                            assertThrows(ImageException.class, () -> remote.list()),
                            assertThrows(ImageException.class, () -> remote.tag("a", "b")),
                            assertThrows(
                                    ImageException.class,
                                    () ->
                                            remote.pull(
                                                    PullRequest.of("a"), ProgressListener.NONE)))) {
                assertEquals(kind, error.kind());
                assertEquals("layer é: wanted 1, got 2: " + kind, error.getMessage());
            }
        }
    }

    @Test
    void longMessage_arrivesCut() {
        images.failure = ImageException.invalidContent("é".repeat(100_000));

        var error = assertThrows(ImageException.class, () -> remote.list());

        assertEquals(ErrorKind.INVALID_CONTENT, error.kind());
        assertEquals("é".repeat(2048) + "…", error.getMessage());
    }

    @Test
    void interrupt_cancelsTheWorkInTheDaemon() throws Exception {
        images.blocking = true;
        AtomicReference<ImageException> thrown = new AtomicReference<>();
        AtomicReference<Boolean> flag = new AtomicReference<>();
        Thread caller =
                Thread.ofVirtual()
                        .start(
                                () -> {
                                    thrown.set(
                                            assertThrows(
                                                    ImageException.class,
                                                    () ->
                                                            remote.pull(
                                                                    PullRequest.of("a"),
                                                                    ProgressListener.NONE)));
                                    flag.set(Thread.interrupted());
                                });
        assertTrue(images.blocked.await(10, TimeUnit.SECONDS));

        caller.interrupt();

        assertTrue(images.interrupted.await(10, TimeUnit.SECONDS));
        caller.join();
        assertEquals(ErrorKind.CANCELLED, thrown.get().kind());
        assertTrue(flag.get(), "the caller's thread stays interrupted");
    }

    @Test
    void close_cancelsTheWorkInTheDaemon() throws Exception {
        images.blocking = true;
        Thread caller =
                Thread.ofVirtual()
                        .start(() -> assertThrows(ImageException.class, () -> remote.list()));
        assertTrue(images.blocked.await(10, TimeUnit.SECONDS));

        remote.close();

        assertTrue(images.interrupted.await(10, TimeUnit.SECONDS));
        caller.join();
    }

    /// One that stops cancels calls, and one that is stopped just is no longer there: for the user
    /// it is the same.
    @Test
    void daemonStops_callEndsUnavailableAndSaysWhatToDo() throws Exception {
        images.blocking = true;
        AtomicReference<ImageException> thrown = new AtomicReference<>();
        Thread caller =
                Thread.ofVirtual()
                        .start(
                                () ->
                                        thrown.set(
                                                assertThrows(
                                                        ImageException.class,
                                                        () ->
                                                                remote.pull(
                                                                        PullRequest.of("a"),
                                                                        ProgressListener.NONE))));
        assertTrue(images.blocked.await(10, TimeUnit.SECONDS));

        server.close(Duration.ofMillis(20));

        caller.join();
        assertEquals(ErrorKind.UNAVAILABLE, thrown.get().kind(), thrown.get().toString());
        String message = thrown.get().getMessage();
        assertTrue(
                message.startsWith(
                        "the daemon at "
                                + directory.socket()
                                + " went away during the pull; what was"
                                + " fetched is kept; see systemctl status imgd"),
                message);
    }

    @Test
    void noDaemon_isUnavailableAndNamesTheSocket() {
        try (var nobody = RemoteImageService.connect(Path.of("/nonexistent/imgd.sock"))) {
            var error = assertThrows(ImageException.class, nobody::list);

            assertEquals(ErrorKind.UNAVAILABLE, error.kind());
            assertTrue(
                    error.getMessage().startsWith("daemon at /nonexistent/imgd.sock: "),
                    error.getMessage());
            assertFalse(error.getMessage().contains("\n"), error.getMessage());
        }
    }

    @Test
    void otherUser_learnsWhy() throws Exception {
        int self = (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        Path socket = directory.path().resolve("other.sock");
        try (SocketServer _ =
                        SocketServer.serve(
                                socket,
                                Set.of(self + 1),
                                List.of(new ImageEndpoint(images, "1")),
                                RpcListener.NONE);
                var stranger = RemoteImageService.connect(socket)) {
            var error = assertThrows(ImageException.class, stranger::list);

            assertEquals(ErrorKind.PERMISSION_DENIED, error.kind(), error.toString());
            assertTrue(
                    error.getMessage().startsWith("daemon at " + socket + ": it refuses"),
                    error.getMessage());
            assertTrue(images.calls.isEmpty());
        }
    }
}
