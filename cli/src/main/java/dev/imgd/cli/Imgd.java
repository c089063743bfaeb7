package dev.imgd.cli;

import dev.imgd.image.LayerProvider;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.plugin.AccelerateOptions;
import dev.imgd.plugin.AccelerateRequest;
import dev.imgd.plugin.Accelerator;
import dev.imgd.plugin.ImageEndpoint;
import dev.imgd.plugin.LabelSource;
import dev.imgd.plugin.ProvidedLayer;
import dev.imgd.plugin.RpcListener;
import dev.imgd.plugin.SnapshotsEndpoint;
import dev.imgd.plugin.SocketOptions;
import dev.imgd.plugin.SocketServer;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/// The daemon: owns the store and serves imgd's API and containerd's snapshots on unix sockets.
public final class Imgd implements AutoCloseable {
    private static final Duration SHUTDOWN_GRACE = Duration.ofSeconds(5);

    private final Assembly assembly;
    private final LayerProvider provider;
    private final List<SocketServer> servers;
    private final Housekeeping housekeeping;

    private Imgd(
            Assembly assembly,
            LayerProvider provider,
            List<SocketServer> servers,
            Housekeeping housekeeping) {
        this.assembly = assembly;
        this.provider = provider;
        this.servers = servers;
        this.housekeeping = housekeeping;
    }

    @Command(
            name = "imgd",
            description = "The imgd daemon: owns the store, serves imgctl and containerd.",
            usageHelpAutoWidth = true,
            mixinStandardHelpOptions = true,
            version = "imgd " + Version.NUMBER)
    private static final class Arguments implements Callable<Integer> {
        @Option(
                names = "--config",
                paramLabel = "FILE",
                description = "Configuration file (default: /etc/imgd/config.toml).")
        @Nullable Path config;

        @Option(names = "--root", paramLabel = "DIR", description = "The store.")
        @Nullable Path root;

        @Option(names = "--address", paramLabel = "SOCK", description = "Socket of the API.")
        @Nullable Path address;

        @Option(
                names = "--snapshotter-address",
                paramLabel = "SOCK",
                description = "Socket of containerd's proxy plugin.")
        @Nullable Path snapshotterAddress;

        @Override
        public Integer call() throws ImageException, InterruptedException {
            Config effective = Config.load(config);
            if (root != null) {
                effective = effective.with(Config.ROOT, root.toAbsolutePath().normalize());
            }
            if (address != null) {
                effective = effective.with(Config.ADDRESS, address.toAbsolutePath().normalize());
            }
            if (snapshotterAddress != null) {
                effective =
                        effective.with(
                                Config.SNAPSHOTTER_ADDRESS,
                                snapshotterAddress.toAbsolutePath().normalize());
            }
            DaemonLogging.start(effective);
            serve(effective);
            return 0;
        }
    }

    /// Runs the daemon until a signal ends it.
    public static void main(String[] args) {
        CommandLine line = new CommandLine(new Arguments());
        line.setExecutionExceptionHandler((e, command, parsed) -> report(e, System.err));
        System.exit(line.execute(args));
    }

    /// Prints what failed, as one line; after an unexpected error its stack follows.
    ///
    /// @return the exit code
    static int report(Exception e, PrintStream err) {
        ImageException error = Failure.of(e, "what follows");
        err.println("imgd: " + Failure.line(error));
        if (error.kind() == ErrorKind.INTERNAL) {
            e.printStackTrace(err);
        }
        return error.kind().exitCode();
    }

    private static void serve(Config config) throws ImageException, InterruptedException {
        Logger log = LoggerFactory.getLogger(Imgd.class);
        CountDownLatch signalled = new CountDownLatch(1);
        CountDownLatch stopped = new CountDownLatch(1);
        AtomicBoolean inOrder = new AtomicBoolean();
        ServiceNotice manager = new ServiceNotice(System.getenv());
        try (Imgd _ = start(config)) {
            Runtime.getRuntime()
                    .addShutdownHook(
                            new Thread(
                                    () -> {
                                        signalled.countDown();
                                        try {
                                            boolean ended = stopped.await(30, TimeUnit.SECONDS);
                                            if (ended && inOrder.get()) {
                                                // By itself the JVM would end with 143, which
                                                // service managers take for a failure.
                                                Runtime.getRuntime().halt(0);
                                            }
                                        } catch (InterruptedException e) {
                                            Thread.currentThread().interrupt();
                                        }
                                    },
                                    "imgd-shutdown"));
            log.info(
                    "version={} root={} address={} snapshotter={} mode={} msg=\"ready\"",
                    Version.NUMBER,
                    config.get(Config.ROOT),
                    config.get(Config.ADDRESS),
                    config.get(Config.SNAPSHOTTER_ADDRESS),
                    config.get(Config.SNAPSHOTTER_MODE));
            manager.ready();
            signalled.await();
            manager.stopping();
            log.info("msg=\"shutting down\"");
            inOrder.set(true);
        } catch (ImageException | RuntimeException e) {
            inOrder.set(false);
            throw e;
        } finally {
            log.info("msg=\"stopped\"");
            stopped.countDown();
        }
    }

    /// Opens the store and binds both sockets; they accept when this returns.
    static Imgd start(Config config) throws ImageException {
        Assembly.policy(config).check();
        Assembly assembly = Assembly.open(config);
        Housekeeping housekeeping =
                Housekeeping.start(
                        config.get(Config.GC_INTERVAL),
                        config.get(Config.GC_FULL_INTERVAL),
                        () -> assembly.images().sweep(),
                        () -> assembly.images().gc(false, false));
        try {
            assembly.store().maintenance().onUnreferenced(housekeeping::soon);
            LayerProvider provider =
                    new LayerProvider(
                            assembly.images(),
                            assembly.store(),
                            assembly.registries(),
                            config.limits(),
                            config.get(Config.GC_PROVIDE_GRACE),
                            housekeeping::soon);
            SocketServer api =
                    SocketServer.start(
                            SocketOptions.at(config.get(Config.ADDRESS)),
                            List.of(new ImageEndpoint(assembly.images(), Version.NUMBER)),
                            RpcListener.NONE);
            SocketServer snapshots;
            try {
                snapshots =
                        SocketServer.start(
                                SocketOptions.at(config.get(Config.SNAPSHOTTER_ADDRESS)),
                                List.of(endpoint(config, assembly, provider)),
                                RpcListener.NONE);
            } catch (ImageException | RuntimeException e) {
                api.close();
                throw e;
            }
            return new Imgd(assembly, provider, List.of(snapshots, api), housekeeping);
        } catch (ImageException | RuntimeException e) {
            housekeeping.close();
            assembly.close();
            throw e;
        }
    }

    private static SnapshotsEndpoint endpoint(
            Config config, Assembly assembly, LayerProvider provider) {
        if (config.get(Config.SNAPSHOTTER_MODE).equals("passive")) {
            return SnapshotsEndpoint.passive(assembly.snapshots());
        }
        Accelerator accelerator =
                new Accelerator() {
                    @Override
                    public void admit(AccelerateRequest request) throws ImageException {
                        provider.admit(request.image(), request.manifestDigest());
                    }

                    @Override
                    public ProvidedLayer provide(AccelerateRequest request) throws ImageException {
                        LayerProvider.Layer layer =
                                provider.provide(
                                        request.image(),
                                        request.manifestDigest(),
                                        request.chainId());
                        return new ProvidedLayer(
                                layer.diffId(),
                                layer.parentChain(),
                                layer.tree(),
                                layer.parentTree());
                    }
                };
        Set<LabelSource> sources =
                config.get(Config.LABEL_SOURCES).stream()
                        .map(name -> LabelSource.valueOf(name.toUpperCase(Locale.ROOT)))
                        .collect(Collectors.toSet());
        return SnapshotsEndpoint.accelerating(
                assembly.snapshots(),
                accelerator,
                new AccelerateOptions(
                        sources,
                        AccelerateOptions.defaults().maxWait(),
                        AccelerateOptions.defaults().retryAfter()),
                Clock.systemUTC());
    }

    /// Stops serving, lets running calls finish, and closes the store. Mounts stay.
    @Override
    public void close() throws ImageException {
        housekeeping.close();
        servers.forEach(server -> server.close(SHUTDOWN_GRACE));
        provider.close();
        assembly.close();
    }
}
