package dev.imgd.plugin;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.proto.snapshots.ListSnapshotsRequest;
import dev.imgd.plugin.proto.snapshots.SnapshotsGrpc;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SocketServerTest {
    private final SnapshotsEndpoint service = SnapshotsEndpoint.passive(new MemorySnapshots());
    private SocketDirectory directory;

    @BeforeEach
    void create() throws Exception {
        directory = new SocketDirectory();
    }

    @AfterEach
    void delete() throws Exception {
        directory.close();
    }

    private SocketServer start(Path path) throws ImageException {
        return SocketServer.start(SocketOptions.at(path), List.of(service), RpcListener.NONE);
    }

    private ErrorKind refusal(Path path) {
        return assertThrows(ImageException.class, () -> start(path).close()).kind();
    }

    private static void list(Path socket, String filter) {
        try (DaemonChannel channel = DaemonChannel.to(socket)) {
            SnapshotsGrpc.newBlockingStub(channel.grpc())
                    .list(
                            ListSnapshotsRequest.newBuilder()
                                    .setSnapshotter("imgd")
                                    .addFilters(filter)
                                    .build())
                    .forEachRemaining(_ -> {});
        }
    }

    private static String mode(Path path) throws Exception {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }

    @Test
    void start_missingDirectory_madePrivateAndSocketToo() throws Exception {
        Path socket = directory.path().resolve("run/imgd/s.sock");

        try (SocketServer server = start(socket)) {
            assertEquals("rwx------", mode(socket.getParent()));
            assertEquals("rw-------", mode(socket));
            assertEquals(socket, server.path());
            list(socket, "name==x");
        }
        assertFalse(Files.exists(socket), "removed by close");
    }

    @Test
    void start_staleSocket_isReplaced() throws Exception {
        try (var dead = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            dead.bind(UnixDomainSocketAddress.of(directory.socket()));
        }
        assertTrue(Files.exists(directory.socket()), "the JDK leaves the file");

        try (SocketServer _ = start(directory.socket())) {
            list(directory.socket(), "name==x");
        }
    }

    @Test
    void start_socketThatAnswers_isLockedAndStaysInUse() throws Exception {
        try (SocketServer _ = start(directory.socket())) {
            assertEquals(ErrorKind.LOCKED, refusal(directory.socket()));
            list(directory.socket(), "name==x");
        }
    }

    @Test
    void start_socketWithFullQueue_isLocked() throws Exception {
        try (var busy = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            busy.bind(UnixDomainSocketAddress.of(directory.socket()), 1);
            var waiting = new java.util.ArrayList<java.nio.channels.SocketChannel>();
            try {
                for (int i = 0; i < 4; i++) {
                    var client = java.nio.channels.SocketChannel.open(StandardProtocolFamily.UNIX);
                    waiting.add(client);
                    client.configureBlocking(false);
                    try {
                        client.connect(UnixDomainSocketAddress.of(directory.socket()));
                    } catch (java.io.IOException full) {
                        break;
                    }
                }
                assertEquals(ErrorKind.LOCKED, refusal(directory.socket()));
            } finally {
                for (var client : waiting) {
                    client.close();
                }
            }
        }
    }

    @Test
    void start_otherFile_isRefusedAndKept() throws Exception {
        Files.writeString(directory.socket(), "precious");

        assertEquals(ErrorKind.FAILED_PRECONDITION, refusal(directory.socket()));

        assertEquals("precious", Files.readString(directory.socket()));
    }

    @Test
    void start_symlinkToSocket_isRefusedAndKept() throws Exception {
        Path target = directory.path().resolve("target");
        Files.createSymbolicLink(directory.socket(), target);

        assertEquals(ErrorKind.FAILED_PRECONDITION, refusal(directory.socket()));

        assertTrue(Files.isSymbolicLink(directory.socket()));
    }

    @Test
    void start_directoryOthersCanWrite_isRefused() throws Exception {
        Files.setPosixFilePermissions(
                directory.path(), PosixFilePermissions.fromString("rwxrwxrwx"));

        assertEquals(ErrorKind.FAILED_PRECONDITION, refusal(directory.socket()));
    }

    @Test
    void start_pathTooLong_saysHowLongItMayBe() {
        Path socket = directory.path().resolve("x".repeat(100));

        var error = assertThrows(ImageException.class, () -> start(socket).close());

        assertEquals(ErrorKind.INVALID_ARGUMENT, error.kind());
        assertTrue(error.getMessage().contains("at most 107"), error.getMessage());
    }

    @Test
    void otherUser_isRefusedWithTheReason() throws Exception {
        int self = (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        try (SocketServer _ =
                SocketServer.serve(
                        directory.socket(), Set.of(self + 1), List.of(service), RpcListener.NONE)) {
            var error =
                    assertThrows(
                            StatusRuntimeException.class,
                            () -> list(directory.socket(), "name==x"));

            assertTrue(
                    String.valueOf(error.getStatus()).contains("uid " + self + " may not use"),
                    error.toString());
        }
    }

    @Test
    void message_of15MiB_isAccepted_and17MiBIsNot() throws Exception {
        try (SocketServer _ = start(directory.socket())) {
            list(directory.socket(), "name==" + "x".repeat(15 << 20));

            var error =
                    assertThrows(
                            StatusRuntimeException.class,
                            () -> list(directory.socket(), "name==" + "x".repeat(17 << 20)));
            assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.getStatus().getCode());
        }
    }

    @Test
    void close_twice_isHarmless() throws Exception {
        SocketServer server = start(directory.socket());
        server.close();
        server.close();
    }
}
