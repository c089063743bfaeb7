package dev.imgd.plugin;

import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/// A gRPC connection to a Unix socket, on the JDK's own sockets: loading a native library would
/// cost a short-lived client more than the calls.
final class DaemonChannel implements AutoCloseable {
    private final EventLoopGroup loop;
    private final ManagedChannel channel;

    private DaemonChannel(EventLoopGroup loop, ManagedChannel channel) {
        this.loop = loop;
        this.channel = channel;
    }

    /// Connects with the first call.
    static DaemonChannel to(Path socket) {
        TransportSettings.apply();
        EventLoopGroup loop =
                new MultiThreadIoEventLoopGroup(
                        1,
                        new DefaultThreadFactory("imgd-client-io", true),
                        NioIoHandler.newFactory());
        ManagedChannel channel =
                NettyChannelBuilder.forAddress(UnixDomainSocketAddress.of(socket))
                        .channelType(NioDomainSocketChannel.class, UnixDomainSocketAddress.class)
                        .eventLoopGroup(loop)
                        .usePlaintext()
                        // Some servers refuse the path that would be sent otherwise.
                        .overrideAuthority("localhost")
                        .maxInboundMessageSize(SocketServer.MAX_MESSAGE_BYTES)
                        .flowControlWindow(SocketServer.WINDOW_BYTES)
                        .maxInboundMetadataSize(64 << 10)
                        .disableRetry()
                        .disableServiceConfigLookUp()
                        .build();
        return new DaemonChannel(loop, channel);
    }

    ManagedChannel grpc() {
        return channel;
    }

    /// Ends running calls. Idempotent.
    @Override
    public void close() {
        channel.shutdownNow();
        boolean interrupted = false;
        try {
            channel.awaitTermination(2, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            interrupted = true;
        }
        loop.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly(2_000);
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
