/// The gRPC services: containerd's snapshots and imgd's own.
@NullMarked
package dev.imgd.plugin;

import org.jspecify.annotations.NullMarked;
