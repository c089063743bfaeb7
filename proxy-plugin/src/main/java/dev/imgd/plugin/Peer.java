package dev.imgd.plugin;

import io.grpc.Context;

/// The process at the other end of a socket, as the kernel says.
record Peer(int uid, int pid) {
    static final Peer UNKNOWN = new Peer(-1, 0);

    /// The peer of the call that runs in the current context.
    static final Context.Key<Peer> OF_CALL = Context.keyWithDefault("imgd-peer", UNKNOWN);
}
