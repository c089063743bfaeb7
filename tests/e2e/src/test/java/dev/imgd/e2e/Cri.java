package dev.imgd.e2e;

import dev.imgd.e2e.cri.ImageServiceGrpc;
import dev.imgd.e2e.cri.ImageSpec;
import dev.imgd.e2e.cri.ImageStatusRequest;
import dev.imgd.e2e.cri.PullImageRequest;
import dev.imgd.e2e.cri.RemoveImageRequest;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/// What a kubelet asks a CRI image service for.
final class Cri implements AutoCloseable {
    private static final long LIMIT_SECONDS = 180;

    private final MultiThreadIoEventLoopGroup loop =
            new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
    private final ManagedChannel channel;
    private final ImageServiceGrpc.ImageServiceBlockingStub images;

    Cri(Path socket) {
        channel =
                NettyChannelBuilder.forAddress(UnixDomainSocketAddress.of(socket))
                        .eventLoopGroup(loop)
                        .channelType(NioDomainSocketChannel.class, UnixDomainSocketAddress.class)
                        .overrideAuthority("localhost")
                        .usePlaintext()
                        .build();
        images = ImageServiceGrpc.newBlockingStub(channel);
    }

    /// Pulls an image.
    ///
    /// @return its identifier: the digest of its configuration
    String pull(String reference) {
        return within().pullImage(PullImageRequest.newBuilder().setImage(spec(reference)).build())
                .getImageRef();
    }

    /// Whether it has that image.
    boolean has(String reference) {
        return within().imageStatus(
                        ImageStatusRequest.newBuilder().setImage(spec(reference)).build())
                .hasImage();
    }

    void remove(String reference) {
        var removed =
                within().removeImage(
                                RemoveImageRequest.newBuilder().setImage(spec(reference)).build());
        assert removed != null;
    }

    private ImageServiceGrpc.ImageServiceBlockingStub within() {
        return images.withDeadlineAfter(LIMIT_SECONDS, TimeUnit.SECONDS);
    }

    private static ImageSpec spec(String reference) {
        return ImageSpec.newBuilder().setImage(reference).build();
    }

    @Override
    public void close() {
        channel.shutdownNow();
        loop.shutdownGracefully(0, 5, TimeUnit.SECONDS).awaitUninterruptibly();
    }
}
