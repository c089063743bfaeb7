package dev.imgd.registry;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.Proxies.ProxyUrl;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import okhttp3.Authenticator;
import okhttp3.Connection;
import okhttp3.HttpUrl;
import okhttp3.Interceptor;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.Route;
import org.jspecify.annotations.Nullable;

/// How OkHttp gets through [Proxies]: `https` by CONNECT, `http` by requests with the whole URL.
/// Safe for use by many threads.
///
/// The password of a proxy is sent on the connection to that proxy and nowhere else: with CONNECT,
/// and with requests in the clear, but never with what goes through a tunnel.
final class ProxyRoute {
    private static final String HEADER = "Proxy-Authorization";
    private static final String REFUSED = "Unexpected response code for CONNECT: ";

    private final Proxies proxies;

    /// Proxies that speak TLS, by the addresses that OkHttp connects to.
    private final ConcurrentHashMap<SocketAddress, ProxyUrl> secured = new ConcurrentHashMap<>();

    ProxyRoute(Proxies proxies) {
        this.proxies = proxies;
    }

    /// Makes a client take this way.
    void install(OkHttpClient.Builder client) {
        if (proxies.isEmpty()) {
            client.proxy(Proxy.NO_PROXY);
            return;
        }
        client.proxySelector(new Selector())
                .proxyAuthenticator(authenticator())
                .addInterceptor(this::explained)
                .addNetworkInterceptor(this::authorized);
    }

    private final class Selector extends ProxySelector {
        @Override
        public List<Proxy> select(URI uri) {
            ProxyUrl proxy = proxyFor(HttpUrl.get(uri.toString()));
            if (proxy == null) {
                return List.of(Proxy.NO_PROXY);
            }
            String host = proxy.url().host();
            int port = proxy.url().port();
            // Looked up here, not by OkHttp: that would ask the rules for names that registries
            // give.
            InetAddress[] addresses;
            try {
                addresses = InetAddress.getAllByName(host);
            } catch (UnknownHostException e) {
                // OkHttp fails with it, in its way.
                var unresolved = InetSocketAddress.createUnresolved(host, port);
                return List.of(new Proxy(Proxy.Type.HTTP, unresolved));
            }
            List<Proxy> ways = new ArrayList<>();
            for (InetAddress address : addresses) {
                var to = new InetSocketAddress(address, port);
                if (proxy.url().isHttps()) {
                    secured.put(to, proxy);
                }
                ways.add(new Proxy(Proxy.Type.HTTP, to));
            }
            return ways;
        }

        @Override
        public void connectFailed(URI uri, SocketAddress address, IOException failure) {
            // Told to who asked, and there is no other proxy.
        }
    }

    /// The proxy for a URL whose setting was found to be right when the request began.
    private @Nullable ProxyUrl proxyFor(HttpUrl url) {
        try {
            return proxies.of(url);
        } catch (ImageException e) {
            throw new IllegalStateException(e);
        }
    }

    /// Asked before each CONNECT, and again where the proxy refuses it. Also asked, by OkHttp, when
    /// a server behind a tunnel answers 407; that one gets nothing.
    private Authenticator authenticator() {
        return (route, response) -> {
            Request request = response.request();
            ProxyUrl proxy = route == null ? null : proxyFor(route.address().url());
            if (proxy == null || !request.method().equals("CONNECT")) {
                return null;
            }
            boolean before =
                    response.challenges().stream()
                            .anyMatch(c -> c.scheme().equalsIgnoreCase("OkHttp-Preemptive"));
            // With the header it was refused, whatever the proxy calls its challenge.
            if (!before || request.header(HEADER) != null) {
                throw unauthenticated(proxy);
            }
            String authorization = proxy.authorization();
            return authorization == null
                    ? null
                    : request.newBuilder().header(HEADER, authorization).build();
        };
    }

    /// A network interceptor: the connection is there, and it is to a proxy or not.
    private Response authorized(Interceptor.Chain chain) throws IOException {
        Request request = chain.request();
        Connection connection = chain.connection();
        ProxyUrl proxy = request.url().isHttps() ? null : proxyFor(request.url());
        if (proxy == null || connection == null || !isProxied(connection.route())) {
            return chain.proceed(request);
        }
        String authorization = proxy.authorization();
        return chain.proceed(
                authorization == null
                        ? request
                        : request.newBuilder().header(HEADER, authorization).build());
    }

    private static boolean isProxied(Route route) {
        return route.proxy().type() == Proxy.Type.HTTP;
    }

    /// An interceptor around all of a call: finds wrong settings before anything is sent, and says
    /// of failures that a proxy was in the way.
    private Response explained(Interceptor.Chain chain) throws IOException {
        HttpUrl url = chain.request().url();
        ProxyUrl proxy = proxies.of(url);
        if (proxy == null) {
            return chain.proceed(chain.request());
        }
        Response response;
        try {
            response = chain.proceed(chain.request());
        } catch (ImageException | ProxyException e) {
            throw e;
        } catch (IOException e) {
            ProxyException explained = failure(proxy, e);
            explained.initCause(e);
            throw explained;
        }
        if (response.code() == 407 && !url.isHttps()) {
            response.close();
            throw unauthenticated(proxy);
        }
        return response;
    }

    private static ProxyException failure(ProxyUrl proxy, IOException e) {
        String message = String.valueOf(e.getMessage());
        if (message.startsWith(REFUSED)) {
            String status = message.substring(REFUSED.length());
            return new ProxyException(
                    ErrorKind.UNAVAILABLE,
                    "the proxy %s does not lead there (HTTP %s); list the host in NO_PROXY to reach it without"
                            .formatted(named(proxy), status),
                    status.startsWith("4") ? 1 : Integer.MAX_VALUE);
        }
        if (e instanceof UnknownHostException) {
            return new ProxyException(
                    ErrorKind.UNAVAILABLE,
                    "no address found for the proxy %s; check its name and DNS"
                            .formatted(named(proxy)),
                    3);
        }
        if (e instanceof ConnectException || e instanceof NoRouteToHostException) {
            return new ProxyException(
                    ErrorKind.UNAVAILABLE,
                    "the proxy %s takes no connections; check the address and that it runs"
                            .formatted(named(proxy)),
                    3);
        }
        TransportFailure failure = TransportFailure.of(e);
        return new ProxyException(
                failure.kind(),
                "%s (through the proxy %s)".formatted(failure.text(), named(proxy)),
                failure.attempts());
    }

    private static ProxyException unauthenticated(ProxyUrl proxy) {
        return new ProxyException(
                ErrorKind.UNAUTHENTICATED,
                proxy.authorization() == null
                        ? "the proxy %s wants a user name and a password; write them into %s as %s://USER:PASSWORD@%s"
                                .formatted(
                                        proxy.place(),
                                        proxy.setting(),
                                        proxy.url().scheme(),
                                        proxy.place())
                        : "the proxy %s refuses the user name or the password; check them there"
                                .formatted(named(proxy)),
                1);
    }

    private static String named(ProxyUrl proxy) {
        return "%s of %s".formatted(proxy.place(), proxy.setting());
    }

    /// Starts TLS on a connection that was made, where it leads to a proxy that speaks it.
    ///
    /// @return null where nothing is to be done
    @Nullable SSLSocket secure(Socket connection, SocketAddress to, int timeoutMillis)
            throws IOException {
        ProxyUrl proxy = secured.get(to);
        if (proxy == null) {
            return null;
        }
        int readTimeout = connection.getSoTimeout();
        connection.setSoTimeout(timeoutMillis);
        try {
            TlsSettings tls = proxies.tls();
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, new TrustManager[] {tls.trustManager()}, null);
            SSLSocket socket =
                    (SSLSocket)
                            context.getSocketFactory()
                                    .createSocket(
                                            connection,
                                            proxy.url().host(),
                                            proxy.url().port(),
                                            false);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setProtocols(new String[] {"TLSv1.3", "TLSv1.2"});
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            return socket;
        } catch (SSLException e) {
            ProxyException explained =
                    new ProxyException(
                            ErrorKind.UNAVAILABLE,
                            "TLS with the proxy %s failed: %s; check that it speaks TLS, and the system's authorities"
                                    .formatted(named(proxy), TransportFailure.tlsReason(e)),
                            1);
            explained.initCause(e);
            throw explained;
        } catch (GeneralSecurityException e) {
            throw new ImageException(
                    ErrorKind.INTERNAL, "TLS: cannot be set up: " + e.getMessage(), e);
        } finally {
            connection.setSoTimeout(readTimeout);
        }
    }
}
