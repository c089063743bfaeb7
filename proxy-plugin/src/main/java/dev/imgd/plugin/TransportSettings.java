package dev.imgd.plugin;

import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.util.internal.logging.InternalLoggerFactory;
import io.netty.util.internal.logging.JdkLoggerFactory;
import java.util.List;
import java.util.logging.Level;
import java.util.logging.Logger;

/// Settings of Netty and gRPC that hold for the whole process.
///
/// They keep the transport from logging what nobody can act on: gRPC sets `SO_KEEPALIVE` on every
/// connection, and Netty warns each time that Unix sockets have no such option; gRPC logs to
/// `java.util.logging`, by default to standard error, what each failed call reports too. And they
/// spare start-up a quarter of its work: Netty otherwise searches the network interfaces for an
/// identity and sets up its flight recorder events.
final class TransportSettings {
    // Strong references: java.util.logging forgets levels of loggers that nobody holds.
    private static final List<Logger> SILENT =
            List.of(
                    Logger.getLogger(Bootstrap.class.getName()),
                    Logger.getLogger(ServerBootstrap.class.getName()));

    private static final Logger GRPC = Logger.getLogger("io.grpc");

    static {
        setDefault("io.netty.jfr.enabled", "false");
        setDefault("io.netty.machineId", "00:00:00:00:00:00:00:01");
        setDefault("io.netty.processId", Long.toString(ProcessHandle.current().pid()));
        SILENT.forEach(logger -> logger.setLevel(Level.OFF));
        GRPC.setLevel(Level.SEVERE);
        InternalLoggerFactory configured = InternalLoggerFactory.getDefaultFactory();
        InternalLoggerFactory.setDefaultFactory(JdkLoggerFactory.INSTANCE);
        try {
            // Classes take their loggers when they are initialised, and levels belong to a
            // back end: these two get the one whose levels are known here.
            var _ = new Bootstrap();
            var _ = new ServerBootstrap();
        } finally {
            InternalLoggerFactory.setDefaultFactory(configured);
        }
    }

    private TransportSettings() {}

    /// Has to come before the first use of Netty. Idempotent.
    static void apply() {
        // The work is in the initialiser, which runs once.
    }

    private static void setDefault(String property, String value) {
        if (System.getProperty(property) == null) {
            System.setProperty(property, value);
        }
    }
}
