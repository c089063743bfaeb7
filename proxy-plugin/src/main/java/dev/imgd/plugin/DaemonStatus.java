package dev.imgd.plugin;

import java.time.Instant;

/// Which daemon answers on a socket.
///
/// @param version of the program
/// @param pid its process
/// @param started when it began to serve
public record DaemonStatus(String version, long pid, Instant started) {}
