package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.security.GeneralSecurityException;
import java.security.cert.X509Certificate;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;
import okhttp3.ConnectionPool;
import okhttp3.ConnectionSpec;
import okhttp3.HttpUrl;
import okhttp3.OkHttpClient;
import okhttp3.Protocol;
import org.jspecify.annotations.Nullable;

/// OkHttp clients over one connection pool. TLS is set up when the first `https` URL is opened and
/// not before: that is a third of the start of a program that only talks to a plain registry.
final class Connections implements AutoCloseable {
    /// Enough for the layers of a few images at once; HTTP/2 needs one per host.
    private static final int IDLE_CONNECTIONS = 32;

    /// Of TLS; one for each set of authorities and client certificates.
    static final int MOST_CONFIGURATIONS = 64;

    /// Of servers of which is known what they were shown.
    private static final int MOST_SERVERS = 1_000;

    /// @param tls by which the server is connected to
    private record Server(TlsSettings tls, String host, int port) {}

    private final Clock clock;
    private final Duration connectTimeout;
    private final Duration stallTimeout;
    private final Recent<Server, Optional<X509Certificate>> shown = new Recent<>(MOST_SERVERS);
    private final Reached reached = new Reached();
    private final ProxyRoute proxies;
    private final OkHttpClient plain;
    private final Recent<TlsSettings, OkHttpClient> secure = new Recent<>(MOST_CONFIGURATIONS);

    Connections(RegistryOptions options) {
        clock = options.clock();
        connectTimeout = options.connectTimeout();
        stallTimeout = options.stallTimeout();
        int stallMillis = Math.toIntExact(stallTimeout.toMillis());
        proxies = new ProxyRoute(options.proxies());
        OkHttpClient.Builder builder =
                new OkHttpClient.Builder()
                        .connectionPool(new ConnectionPool(IDLE_CONNECTIONS, 60, TimeUnit.SECONDS))
                        .connectionSpecs(List.of(ConnectionSpec.CLEARTEXT))
                        .socketFactory(new BufferedSocketFactory(stallMillis, proxies))
                        .connectTimeout(options.connectTimeout())
                        // The socket's own timeout is used: OkHttp's is armed anew for every 8 KiB,
                        // which would be most of the cost of a plain transfer.
                        .readTimeout(Duration.ZERO)
                        .writeTimeout(options.stallTimeout())
                        .followRedirects(false)
                        .followSslRedirects(false)
                        .addNetworkInterceptor(reached);
        proxies.install(builder);
        RequestLog.install(builder);
        plain = builder.build();
    }

    /// The client for a URL.
    ///
    /// @param tls used for `https` only
    OkHttpClient client(boolean https, TlsSettings tls) throws ImageException {
        if (!https) {
            return plain;
        }
        OkHttpClient known = secure.get(tls);
        if (known != null) {
            return known;
        }
        // Reading certificates blocks. Two clients made at once are harmless, one of them is
        // dropped.
        return secure.keep(tls, secure(tls));
    }

    /// For how many configurations of TLS there is a client. One that is forgotten goes on serving
    /// who has it; its idle connections end as all others do.
    int configurations() {
        return secure.size();
    }

    /// The certificate of this side that the server of a URL was shown last; null for none.
    @Nullable X509Certificate shown(TlsSettings tls, HttpUrl url) {
        Optional<X509Certificate> known = shown.get(new Server(tls, url.host(), url.port()));
        return known == null ? null : known.orElse(null);
    }

    /// How far away the server of a URL was when it was last reached; see [Reached].
    AddressRange reached(HttpUrl url) {
        return reached.of(url);
    }

    /// The same.
    ///
    /// @param what what is wanted through it, for errors in the settings
    OkHttpClient client(String what, boolean https, TlsSettings tls) throws ImageException {
        try {
            return client(https, tls);
        } catch (ImageException e) {
            throw new ImageException(e.kind(), what + ": " + e.getMessage(), e);
        }
    }

    /// The client with HTTP/1.1 only: HTTP/2 would send all answers of a host over one connection.
    static OkHttpClient withoutSharing(OkHttpClient client) {
        return client.newBuilder().protocols(List.of(Protocol.HTTP_1_1)).build();
    }

    private OkHttpClient secure(TlsSettings tls) throws ImageException {
        X509TrustManager trust = ExplainedTrust.of(tls, clock);
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            OfferedKey.Receiver receiver =
                    (host, port, certificate) ->
                            shown.replace(
                                    new Server(tls, host, port), Optional.ofNullable(certificate));
            context.init(
                    OfferedKey.of(tls.keyManagers(), receiver), new TrustManager[] {trust}, null);
            OkHttpClient.Builder builder = plain.newBuilder();
            if (!tls.verifies()) {
                builder.hostnameVerifier((_, _) -> true);
            }
            return builder.connectionSpecs(List.of(ConnectionSpec.MODERN_TLS))
                    // The streams of an HTTP/2 connection share its socket, so each needs a timeout
                    // of
                    // its own.
                    .socketFactory(new BufferedSocketFactory(0, proxies))
                    .readTimeout(stallTimeout)
                    .sslSocketFactory(
                            new HandshakeLimit(context.getSocketFactory(), connectTimeout), trust)
                    .build();
        } catch (GeneralSecurityException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: cannot be set up: " + e.getMessage(), e);
        }
    }

    @Override
    public void close() {
        plain.dispatcher().cancelAll();
        plain.connectionPool().evictAll();
    }
}
