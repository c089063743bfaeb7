/// The two programs from outside: real processes, sockets, mounts and containers.
@NullMarked
package dev.imgd.e2e;

import org.jspecify.annotations.NullMarked;
