package dev.imgd.plugin;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.unix.PeerCredentials;
import io.netty.util.ReferenceCountUtil;
import java.io.IOException;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Lets only processes of allowed users in, asking the kernel who is calling (`SO_PEERCRED`).
///
/// Sits in the pipeline of the listening channel. A refused connection never reaches the HTTP/2
/// code: it gets an empty SETTINGS and a GOAWAY frame that says why, which gRPC clients put into
/// the text of `UNAVAILABLE` or `PERMISSION_DENIED`, and is closed.
final class PeerGate extends ChannelInboundHandlerAdapter {
    private static final Logger LOG = LoggerFactory.getLogger(PeerGate.class);

    /// The name that gRPC gives the code of the GOAWAY frame. **Source:** RFC 9113 § 7.
    static final String REFUSED = "INADEQUATE_SECURITY";

    private final String socket;
    private final Set<Integer> allowedUids;
    private final EventLoopGroup workers;

    // Clients have no address of their own, so equal addresses say nothing; the object that a
    // channel keeps for its life does.
    private final Map<SocketAddress, Peer> peers =
            Collections.synchronizedMap(new IdentityHashMap<>());

    PeerGate(String socket, Set<Integer> allowedUids, EventLoopGroup workers) {
        this.socket = socket;
        this.allowedUids = Set.copyOf(allowedUids);
        this.workers = workers;
    }

    /// The process behind the remote address of a connection.
    Peer peer(@Nullable SocketAddress remote) {
        Peer peer = remote == null ? null : peers.get(remote);
        return peer == null ? Peer.UNKNOWN : peer;
    }

    @Override
    public void channelRead(ChannelHandlerContext ctx, Object message) {
        var child = (EpollDomainSocketChannel) message;
        Peer peer;
        try {
            PeerCredentials credentials = child.peerCredentials();
            peer = new Peer(credentials.uid(), credentials.pid());
        } catch (IOException e) {
            LOG.warn("connection refused: the kernel names no peer socket={}", socket, e);
            child.unsafe().closeForcibly();
            return;
        }
        if (allowedUids.contains(peer.uid())) {
            SocketAddress remote = child.remoteAddress();
            if (remote != null) {
                peers.put(remote, peer);
                child.closeFuture().addListener(_ -> peers.remove(remote));
            }
            ctx.fireChannelRead(child);
        } else {
            LOG.warn("connection refused socket={} uid={} pid={}", socket, peer.uid(), peer.pid());
            child.pipeline().addLast(new Refusal("uid " + peer.uid() + " may not use " + socket));
            var _ = workers.register(child);
        }
    }

    /// Says no in HTTP/2 and hangs up.
    private static final class Refusal extends ChannelInboundHandlerAdapter {
        /// Time for the client to read the answer: closing with its bytes unread would reset it.
        private static final long LINGER_MILLIS = 500;

        private static final int SETTINGS = 4;
        private static final int GOAWAY = 7;
        private static final int INADEQUATE_SECURITY = 12;

        private final String reason;

        Refusal(String reason) {
            this.reason = reason;
        }

        @Override
        public void channelActive(ChannelHandlerContext ctx) {
            byte[] text = reason.getBytes(StandardCharsets.UTF_8);
            ByteBuf frames = ctx.alloc().buffer(26 + text.length);
            writeHeader(frames, 0, SETTINGS);
            writeHeader(frames, 8 + text.length, GOAWAY);
            frames.writeInt(0).writeInt(INADEQUATE_SECURITY);
            ByteBufUtil.reserveAndWriteUtf8(frames, reason, text.length);
            var _ = ctx.writeAndFlush(frames);
            var _ =
                    ctx.executor()
                            .schedule(() -> hangUp(ctx), LINGER_MILLIS, TimeUnit.MILLISECONDS);
        }

        /// **Source:** RFC 9113 § 4.1.
        private static void writeHeader(ByteBuf out, int length, int type) {
            out.writeMedium(length).writeByte(type).writeByte(0).writeInt(0);
        }

        @Override
        public void channelRead(ChannelHandlerContext ctx, Object message) {
            ReferenceCountUtil.release(message);
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
            hangUp(ctx);
        }

        private static void hangUp(ChannelHandlerContext ctx) {
            var _ = ctx.close();
        }
    }
}
