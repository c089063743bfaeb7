package dev.imgd.registry;

import java.io.IOException;
import java.net.InetAddress;
import java.net.Proxy;
import java.util.concurrent.ConcurrentHashMap;
import okhttp3.Connection;
import okhttp3.HttpUrl;
import okhttp3.Interceptor;
import okhttp3.Response;
import okhttp3.Route;

/// How far away each server was when it was reached, from the addresses of the connections
/// themselves: a name can lead to one address when it is connected to and to another when it is
/// looked up. Safe for use by many threads.
final class Reached implements Interceptor {
    /// More servers than any pull asks; those beyond count as far away.
    private static final int MAX_SERVERS = 1_000;

    private final ConcurrentHashMap<String, AddressRange> ranges = new ConcurrentHashMap<>();

    @Override
    public Response intercept(Chain chain) throws IOException {
        Connection connection = chain.connection();
        if (connection != null) {
            note(chain.request().url(), range(connection.route()));
        }
        return chain.proceed(chain.request());
    }

    /// What is behind a proxy may be anywhere.
    private static AddressRange range(Route route) {
        InetAddress address = route.socketAddress().getAddress();
        return route.proxy().type() != Proxy.Type.DIRECT || address == null
                ? AddressRange.PUBLIC
                : AddressRange.of(address);
    }

    private void note(HttpUrl url, AddressRange range) {
        String server = Urls.authority(url);
        AddressRange known = ranges.get(server);
        if (known != range && (known != null || ranges.size() < MAX_SERVERS)) {
            ranges.merge(server, range, Reached::farther);
        }
    }

    private static AddressRange farther(AddressRange a, AddressRange b) {
        return a.compareTo(b) > 0 ? a : b;
    }

    /// The farthest address at which the server was reached so far; public where it never was.
    AddressRange of(HttpUrl url) {
        return ranges.getOrDefault(Urls.authority(url), AddressRange.PUBLIC);
    }
}
