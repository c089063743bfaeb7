package dev.imgd.cli;

import dev.imgd.content.Store;
import dev.imgd.content.StoreOptions;
import dev.imgd.gc.GarbageCollector;
import dev.imgd.gc.GcOptions;
import dev.imgd.hosts.HostsMode;
import dev.imgd.hosts.RegistryHosts;
import dev.imgd.image.LocalImageService;
import dev.imgd.image.PullOptions;
import dev.imgd.image.RegistryClients;
import dev.imgd.model.ImageException;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Proxies;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.TransferOptions;
import dev.imgd.snapshot.SnapshotService;
import dev.imgd.snapshot.overlay.OverlayOptions;
import dev.imgd.snapshot.overlay.OverlaySnapshotService;
import dev.imgd.trust.DecryptionKeys;
import dev.imgd.trust.Effort;
import dev.imgd.trust.PolicyGate;
import java.time.Clock;
import java.time.Duration;
import java.util.Map;
import java.util.Set;

/// The parts of a process that owns a store, put together.
///
/// @param images closed first; then the others, in reverse order of their making
record Assembly(
        Store store,
        SnapshotService snapshots,
        RegistryClients registries,
        LocalImageService images)
        implements AutoCloseable {

    /// Opens the store and everything on top of it. Opens no connection.
    static Assembly open(Config config) throws ImageException {
        return open(config, DecryptionKeys.NONE);
    }

    /// @param more keys for encrypted layers, in addition to those of the configuration
    static Assembly open(Config config, DecryptionKeys more) throws ImageException {
        Store store = Store.open(config.get(Config.ROOT), storeOptions(config));
        try {
            SnapshotService snapshots =
                    new LazySnapshots(
                            () ->
                                    OverlaySnapshotService.open(
                                            store.root(),
                                            store.database(),
                                            OverlayOptions.defaults()));
            RegistryClients registries = registries(config);
            LocalImageService images =
                    new LocalImageService(
                            store,
                            snapshots,
                            registries,
                            new GarbageCollector(store, snapshots, gcOptions(config)),
                            config.limits(),
                            pullOptions(config),
                            keys(config, more),
                            Clock.systemUTC());
            return new Assembly(store, snapshots, registries, images);
        } catch (ImageException | RuntimeException e) {
            store.close();
            throw e;
        }
    }

    static StoreOptions storeOptions(Config config) {
        StoreOptions defaults = StoreOptions.defaults();
        return new StoreOptions(
                config.get(Config.STORE_CACHE),
                config.get(Config.INGEST_TTL),
                defaults.minFreeRatio(),
                "imgd " + Version.NUMBER,
                defaults.clock());
    }

    static GcOptions gcOptions(Config config) {
        return new GcOptions(Duration.ZERO, config.get(Config.INGEST_TTL), 0, Clock.systemUTC());
    }

    static PullOptions pullOptions(Config config) {
        return new PullOptions(
                config.get(Config.CONCURRENT_DOWNLOADS),
                config.get(Config.CONCURRENT_UNPACKS),
                config.get(Config.PULL_DEADLINE));
    }

    /// The keys for encrypted layers; those of the directory are read when they are needed.
    static DecryptionKeys.Source keys(Config config, DecryptionKeys more) {
        return () ->
                config.get(Config.KEY_MODEL).equals("node")
                        ? more.and(
                                DecryptionKeys.directory(
                                        config.get(Config.KEYS_PATH),
                                        config.sets(Config.KEYS_PATH)))
                        : more;
    }

    private static TransferOptions transfer(Config config) {
        return TransferOptions.defaults()
                .withRanges(
                        config.get(Config.RANGE_CONNECTIONS), config.get(Config.RANGE_THRESHOLD))
                .withSpread(config.get(Config.SPREAD))
                .withLimits(
                        config.get(Config.BANDWIDTH_LIMIT), config.get(Config.REQUESTS_PER_SECOND))
                .withRequestsAtOnce(config.get(Config.REQUESTS_AT_ONCE));
    }

    /// The proxies of the environment, where the configuration does not name others.
    static Proxies proxies(Config config, Map<String, String> environment) {
        Proxies proxies = Proxies.environment(environment);
        String https = config.get(Config.HTTPS_PROXY);
        if (!https.isEmpty()) {
            proxies = proxies.withHttps(Config.HTTPS_PROXY.name(), proxy(https));
        }
        String http = config.get(Config.HTTP_PROXY);
        if (!http.isEmpty()) {
            proxies = proxies.withHttp(Config.HTTP_PROXY.name(), proxy(http));
        }
        Set<String> except = config.get(Config.NO_PROXY);
        return except.isEmpty() ? proxies : proxies.withExcept(Config.NO_PROXY.name(), except);
    }

    private static String proxy(String value) {
        return value.equals(ConfigKey.NO_PROXY) ? "" : value;
    }

    /// The clients of the registries, as configured; for commands that need no store too. Opens no
    /// connection.
    static RegistryClients registries(Config config) {
        return registries(config, CredentialSource.anonymous());
    }

    /// @param first asked for credentials before those of the configuration
    static RegistryClients registries(Config config, CredentialSource first) {
        return new RegistryClients(
                registryOptions(config, first),
                config.get(Config.PLAIN_HTTP),
                plainHttp -> hosts(config, plainHttp),
                policy(config));
    }

    /// How registries are asked, with the hosts that the configuration names.
    static RegistryOptions registryOptions(Config config) {
        return registryOptions(config, CredentialSource.anonymous());
    }

    /// @param first asked for credentials before those of the configuration
    static RegistryOptions registryOptions(Config config, CredentialSource first) {
        return RegistryOptions.defaults()
                .withUserAgent("imgd/" + Version.NUMBER)
                .withLimits(config.limits())
                .withRealmAllow(config.get(Config.REALM_ALLOW))
                .withUploadAllow(config.get(Config.UPLOAD_ALLOW))
                .withForeignLayers(config.get(Config.FOREIGN_LAYERS))
                .withTimeouts(
                        config.get(Config.CONNECT_TIMEOUT),
                        config.get(Config.HEADER_TIMEOUT),
                        config.get(Config.STALL_TIMEOUT))
                .withMinimumRate(config.get(Config.MINIMUM_RATE))
                .withRetries(
                        config.get(Config.ATTEMPTS),
                        RegistryOptions.defaults().firstBackoff(),
                        config.get(Config.MAXIMUM_BACKOFF))
                .withOutageTimeout(config.get(Config.OUTAGE_TIMEOUT))
                .withTransfer(transfer(config))
                .withProxies(proxies(config, System.getenv()))
                .withCredentials(
                        first.orElse(
                                config.get(Config.AUTH_FILE)
                                        .map(CredentialSource::file)
                                        .orElseGet(
                                                () ->
                                                        CredentialSource.standardFiles(
                                                                System.getenv()))))
                .withHosts(hosts(config, config.get(Config.PLAIN_HTTP)));
    }

    private static RegistryHosts hosts(Config config, Set<String> plainHttp) {
        boolean strict = config.get(Config.HOSTS_MODE).equals("strict");
        return RegistryHosts.directory(
                config.get(Config.HOSTS_DIR),
                strict ? HostsMode.STRICT : HostsMode.CONTAINERD,
                plainHttp);
    }

    /// The policy as configured; read when something is decided.
    static PolicyGate policy(Config config) {
        return PolicyGate.of(
                config.get(Config.TRUST_POLICY),
                config.sets(Config.TRUST_POLICY),
                config.get(Config.TRUST_NOTATION),
                effort(config),
                Clock.systemUTC());
    }

    static Effort effort(Config config) {
        return new Effort(config.limits(), config.get(Config.TRUST_TIMEOUT));
    }

    @Override
    public void close() throws ImageException {
        try (store;
                snapshots;
                registries) {
            images.close();
        }
    }
}
