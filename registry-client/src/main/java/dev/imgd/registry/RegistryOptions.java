package dev.imgd.registry;

import dev.imgd.hosts.RegistryHosts;
import dev.imgd.model.Limits;
import java.time.Clock;
import java.time.Duration;
import java.util.Set;

/// Settings of a [RegistryClient].
///
/// @param hosts which hosts are asked, and how
/// @param credentials where credentials come from
/// @param limits limits of manifests and other documents
/// @param userAgent the `User-Agent` of every request
/// @param connectTimeout for a TCP connection, and again for the TLS handshake
/// @param headerTimeout from the request to the end of the answer's headers
/// @param stallTimeout how long a body may send nothing, and the window of `minimumRate`
/// @param minimumRate bytes per second that a body must reach, averaged over `stallTimeout` of
///   waiting; 0 for no minimum
/// @param attempts how often a request is made before its failure is reported, at least 1; a blob
///   that makes progress starts counting anew
/// @param firstBackoff the wait before the second attempt; doubles from there, with jitter
/// @param maximumBackoff the longest wait, also when a registry asks for a longer one
/// @param outageTimeout how long a blob is asked for again at a registry that had sent something
///   and then could not be reached or said that it is away; 0 for no longer than `attempts`
/// @param foreignLayers whether layers that say to live elsewhere (`urls`) are fetched from there:
///   over https, without credentials and not from private addresses
/// @param realmAllow hosts of token servers, `host` or `host:port`, that may receive the
///   credentials of registries under other domains
/// @param uploadAllow hosts, `host` or `host:port`, that uploads to a registry may go on at:
///   without its credentials and its headers
/// @param transfer how blobs are transferred
/// @param proxies through which proxies servers are reached
/// @param clock tells when tokens expire
public record RegistryOptions(
        RegistryHosts hosts,
        CredentialSource credentials,
        Limits limits,
        String userAgent,
        Duration connectTimeout,
        Duration headerTimeout,
        Duration stallTimeout,
        long minimumRate,
        int attempts,
        Duration firstBackoff,
        Duration maximumBackoff,
        Duration outageTimeout,
        boolean foreignLayers,
        Set<String> realmAllow,
        Set<String> uploadAllow,
        TransferOptions transfer,
        Proxies proxies,
        Clock clock) {

    public RegistryOptions {
        if (attempts < 1) {
            throw new IllegalArgumentException("attempts must be at least 1: " + attempts);
        }
        realmAllow = Set.copyOf(realmAllow);
        uploadAllow = Set.copyOf(uploadAllow);
    }

    /// The settings of a host without configuration: the registries themselves, anonymous.
    public static RegistryOptions defaults() {
        return new RegistryOptions(
                RegistryHosts.direct(),
                CredentialSource.anonymous(),
                Limits.defaults(),
                "imgd",
                Duration.ofSeconds(10),
                Duration.ofSeconds(30),
                Duration.ofSeconds(30),
                1024,
                5,
                Duration.ofMillis(200),
                Duration.ofSeconds(60),
                Duration.ofSeconds(60),
                false,
                Set.of(),
                Set.of(),
                TransferOptions.defaults(),
                Proxies.none(),
                Clock.systemUTC());
    }

    public RegistryOptions withHosts(RegistryHosts value) {
        Draft draft = new Draft(this);
        draft.hosts = value;
        return draft.options();
    }

    public RegistryOptions withCredentials(CredentialSource value) {
        Draft draft = new Draft(this);
        draft.credentials = value;
        return draft.options();
    }

    public RegistryOptions withLimits(Limits value) {
        Draft draft = new Draft(this);
        draft.limits = value;
        return draft.options();
    }

    public RegistryOptions withUserAgent(String value) {
        Draft draft = new Draft(this);
        draft.userAgent = value;
        return draft.options();
    }

    /// @param connect see [#connectTimeout()]
    /// @param header see [#headerTimeout()]
    /// @param stall see [#stallTimeout()]
    public RegistryOptions withTimeouts(Duration connect, Duration header, Duration stall) {
        Draft draft = new Draft(this);
        draft.connectTimeout = connect;
        draft.headerTimeout = header;
        draft.stallTimeout = stall;
        return draft.options();
    }

    public RegistryOptions withMinimumRate(long bytesPerSecond) {
        Draft draft = new Draft(this);
        draft.minimumRate = bytesPerSecond;
        return draft.options();
    }

    /// @param count see [#attempts()]
    /// @param first see [#firstBackoff()]
    /// @param maximum see [#maximumBackoff()]
    public RegistryOptions withRetries(int count, Duration first, Duration maximum) {
        Draft draft = new Draft(this);
        draft.attempts = count;
        draft.firstBackoff = first;
        draft.maximumBackoff = maximum;
        return draft.options();
    }

    public RegistryOptions withOutageTimeout(Duration value) {
        Draft draft = new Draft(this);
        draft.outageTimeout = value;
        return draft.options();
    }

    public RegistryOptions withForeignLayers(boolean value) {
        Draft draft = new Draft(this);
        draft.foreignLayers = value;
        return draft.options();
    }

    public RegistryOptions withRealmAllow(Set<String> value) {
        Draft draft = new Draft(this);
        draft.realmAllow = value;
        return draft.options();
    }

    public RegistryOptions withUploadAllow(Set<String> value) {
        Draft draft = new Draft(this);
        draft.uploadAllow = value;
        return draft.options();
    }

    public RegistryOptions withTransfer(TransferOptions value) {
        Draft draft = new Draft(this);
        draft.transfer = value;
        return draft.options();
    }

    public RegistryOptions withProxies(Proxies value) {
        Draft draft = new Draft(this);
        draft.proxies = value;
        return draft.options();
    }

    public RegistryOptions withClock(Clock value) {
        Draft draft = new Draft(this);
        draft.clock = value;
        return draft.options();
    }

    private static final class Draft {
        RegistryHosts hosts;
        CredentialSource credentials;
        Limits limits;
        String userAgent;
        Duration connectTimeout;
        Duration headerTimeout;
        Duration stallTimeout;
        long minimumRate;
        int attempts;
        Duration firstBackoff;
        Duration maximumBackoff;
        Duration outageTimeout;
        boolean foreignLayers;
        Set<String> realmAllow;
        Set<String> uploadAllow;
        TransferOptions transfer;
        Proxies proxies;
        Clock clock;

        Draft(RegistryOptions from) {
            hosts = from.hosts;
            credentials = from.credentials;
            limits = from.limits;
            userAgent = from.userAgent;
            connectTimeout = from.connectTimeout;
            headerTimeout = from.headerTimeout;
            stallTimeout = from.stallTimeout;
            minimumRate = from.minimumRate;
            attempts = from.attempts;
            firstBackoff = from.firstBackoff;
            maximumBackoff = from.maximumBackoff;
            outageTimeout = from.outageTimeout;
            foreignLayers = from.foreignLayers;
            realmAllow = from.realmAllow;
            uploadAllow = from.uploadAllow;
            transfer = from.transfer;
            proxies = from.proxies;
            clock = from.clock;
        }

        RegistryOptions options() {
            return new RegistryOptions(
                    hosts,
                    credentials,
                    limits,
                    userAgent,
                    connectTimeout,
                    headerTimeout,
                    stallTimeout,
                    minimumRate,
                    attempts,
                    firstBackoff,
                    maximumBackoff,
                    outageTimeout,
                    foreignLayers,
                    realmAllow,
                    uploadAllow,
                    transfer,
                    proxies,
                    clock);
        }
    }
}
