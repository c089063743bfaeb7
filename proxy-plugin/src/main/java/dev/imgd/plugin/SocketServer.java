package dev.imgd.plugin;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import io.grpc.BindableService;
import io.grpc.Server;
import io.grpc.netty.NettyServerBuilder;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// gRPC services on a Unix socket.
///
/// The socket has mode 0600 and every connection is checked against the uids of [SocketOptions].
/// Calls start on a small pool of platform threads, because what they do first is native (the
/// database); services move long work elsewhere. Messages are at most 16 MiB each way, as with
/// containerd. Safe for use by many threads.
///
/// Netty's native library is looked for on `java.library.path`, then unpacked into the directory
/// that the system property `imgd.native.dir` names (default: the temporary directory).
public final class SocketServer implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(SocketServer.class);

    /// **Source:** containerd `defaults/defaults.go`, `DefaultMaxRecvMsgSize`.
    static final int MAX_MESSAGE_BYTES = 16 << 20;

    /// Fixed, because a socket on this host needs no measuring of its bandwidth by pings.
    static final int WINDOW_BYTES = 1 << 20;

    /// containerd sends all its calls over one connection; a waiting Prepare must not stop the
    /// others.
    private static final int MAX_CALLS_PER_CONNECTION = 1024;

    private static final int IO_THREADS = 2;
    private static final Duration DEFAULT_GRACE = Duration.ofSeconds(10);

    private final Path path;
    private final Server server;
    private final EventLoopGroup loops;
    private final ThreadPoolExecutor calls;

    private SocketServer(Path path, Server server, EventLoopGroup loops, ThreadPoolExecutor calls) {
        this.path = path;
        this.server = server;
        this.loops = loops;
        this.calls = calls;
    }

    /// Binds and serves; when this returns, the socket accepts. A socket that nobody answers on is
    /// replaced.
    ///
    /// @param listener told of every call
    /// @throws ImageException `LOCKED` when another process answers there; `FAILED_PRECONDITION`,
    ///   `INVALID_ARGUMENT` or `PERMISSION_DENIED` when the path cannot serve; `NOT_IMPLEMENTED`
    ///   without epoll
    public static SocketServer start(
            SocketOptions options, List<? extends BindableService> services, RpcListener listener)
            throws ImageException {
        Set<Integer> uids = new HashSet<>(options.allowedUids());
        uids.add(0);
        uids.add(SocketPath.claim(options.path()));
        return serve(options.path(), uids, services, listener);
    }

    /// Serves on a path that is free to exactly those users.
    static SocketServer serve(
            Path path,
            Set<Integer> uids,
            List<? extends BindableService> services,
            RpcListener listener)
            throws ImageException {
        loadNative();
        EventLoopGroup loops =
                new MultiThreadIoEventLoopGroup(
                        IO_THREADS,
                        new DefaultThreadFactory("imgd-rpc-io", true),
                        EpollIoHandler.newFactory());
        ThreadPoolExecutor calls = callThreads();
        PeerGate gate = new PeerGate(path.toString(), uids, loops);
        NettyServerBuilder builder =
                NettyServerBuilder.forAddress(new DomainSocketAddress(path.toString()))
                        .channelFactory(
                                () -> {
                                    var channel = new EpollServerDomainSocketChannel();
                                    channel.pipeline().addFirst(gate);
                                    return channel;
                                })
                        .bossEventLoopGroup(loops)
                        .workerEventLoopGroup(loops)
                        .executor(calls)
                        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
                        .flowControlWindow(WINDOW_BYTES)
                        .maxConcurrentCallsPerConnection(MAX_CALLS_PER_CONNECTION)
                        .intercept(new CallLog(gate, listener));
        for (BindableService service : services) {
            builder.addService(service);
        }
        SocketServer started = new SocketServer(path, builder.build(), loops, calls);
        try {
            started.server.start();
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-------"));
        } catch (IOException e) {
            started.close(Duration.ZERO);
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED, "socket " + path + ": cannot listen: " + e, e);
        }
        LOG.info("listening socket={}", path);
        return started;
    }

    private static void loadNative() throws ImageException {
        TransportSettings.apply();
        String directory = System.getProperty("imgd.native.dir");
        if (directory != null && System.getProperty("io.netty.native.workdir") == null) {
            System.setProperty("io.netty.native.workdir", directory);
        }
        if (!Epoll.isAvailable()) {
            Throwable cause = Epoll.unavailabilityCause();
            throw new ImageException(
                    ErrorKind.NOT_IMPLEMENTED,
                    "epoll: Netty's native library cannot be loaded ("
                            + cause
                            + "); set -Dimgd.native.dir to a directory without noexec",
                    cause);
        }
    }

    private static ThreadPoolExecutor callThreads() {
        int threads = Math.max(8, 2 * Runtime.getRuntime().availableProcessors());
        var pool =
                new ThreadPoolExecutor(
                        threads,
                        threads,
                        30,
                        TimeUnit.SECONDS,
                        new LinkedBlockingQueue<>(),
                        new DefaultThreadFactory("imgd-rpc", true));
        pool.allowCoreThreadTimeOut(true);
        return pool;
    }

    /// Where it listens.
    public Path path() {
        return path;
    }

    /// As [#close(Duration)] with ten seconds.
    @Override
    public void close() {
        close(DEFAULT_GRACE);
    }

    /// Stops accepting and removes the socket, lets running calls end, then cancels the rest.
    /// Idempotent.
    ///
    /// @param grace how long calls may go on
    public void close(Duration grace) {
        server.shutdown();
        try {
            if (!server.awaitTermination(grace.toMillis(), TimeUnit.MILLISECONDS)) {
                server.shutdownNow();
                if (!server.awaitTermination(5, TimeUnit.SECONDS)) {
                    LOG.warn("calls do not end after cancellation socket={}", path);
                }
            }
        } catch (InterruptedException e) {
            server.shutdownNow();
            Thread.currentThread().interrupt();
        }
        calls.shutdown();
        loops.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly(2_000);
    }
}
