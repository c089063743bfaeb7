package dev.imgd.testkit;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/// An HTTP proxy on the loopback address: CONNECT, and requests with a whole URL. It alone knows
/// where its names lead. One request for each connection in the clear. Safe for use by many
/// threads. **Source:** RFC 9110 § 9.3.6, RFC 9112 § 3.2.2.
public final class HttpProxy implements AutoCloseable {
    private static final int MAX_HEAD_BYTES = 32 << 10;

    /// A request to the proxy itself.
    ///
    /// @param authorization its `Proxy-Authorization`, empty when there was none
    public record Asked(String method, String target, String authorization) {
        /// Without what may be a password.
        @Override
        public String toString() {
            return method + ' ' + target;
        }
    }

    private final ServerSocket server;
    private final int port;
    private final Map<String, Integer> names = new ConcurrentHashMap<>();
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private final List<Asked> asked = new CopyOnWriteArrayList<>();
    private volatile String wanted = "";

    private HttpProxy(ServerSocket server) {
        this.server = server;
        this.port = server.getLocalPort();
        Thread.ofVirtual().name("proxy-accept").start(this::acceptAll);
    }

    /// A proxy that is spoken to in the clear.
    public static HttpProxy start() throws IOException {
        ServerSocket socket = new ServerSocket();
        InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        socket.bind(new InetSocketAddress(loopback, 0), 128);
        return new HttpProxy(socket);
    }

    /// A proxy that is spoken to over TLS.
    public static HttpProxy startTls(TestAuthority.Identity identity) throws IOException {
        return new HttpProxy(new TlsListener(identity, null));
    }

    /// Leads a name to a port of the loopback address.
    ///
    /// @param authority with its port
    public void lead(String authority, int port) {
        names.put(authority, port);
    }

    /// Wants this `Proxy-Authorization` from now on.
    public void require(String authorization) {
        wanted = authorization;
    }

    /// `localhost:<port>`.
    public String authority() {
        return "localhost:" + port;
    }

    /// What it was asked, in order.
    public List<Asked> asked() {
        return List.copyOf(asked);
    }

    @Override
    public void close() throws IOException {
        server.close();
        for (Socket socket : sockets) {
            socket.close();
        }
    }

    private void acceptAll() {
        while (true) {
            try {
                Socket client = server.accept();
                sockets.add(client);
                Thread.ofVirtual().name("proxy-connection").start(() -> serve(client));
            } catch (IOException e) {
                return; // closed
            }
        }
    }

    private void serve(Socket client) {
        try (client) {
            InputStream in = new BufferedInputStream(client.getInputStream());
            boolean more = true;
            while (more) {
                List<String> head = head(in);
                more = !head.isEmpty() && answer(client, in, head);
            }
        } catch (IOException | InterruptedException e) {
            // The client left, or this is closed.
        } finally {
            sockets.remove(client);
        }
    }

    /// @return whether another request may follow
    private boolean answer(Socket client, InputStream in, List<String> head)
            throws IOException, InterruptedException {
        String[] line = head.getFirst().split(" ", -1);
        String authorization = header(head, "proxy-authorization");
        asked.add(new Asked(line[0], line[1], authorization));
        OutputStream out = client.getOutputStream();
        if (!authorization.equals(wanted)) {
            respond(out, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n");
            return header(head, "content-length").isEmpty();
        }
        boolean tunnel = line[0].equals("CONNECT");
        URI uri = URI.create(tunnel ? "//" + line[1] : line[1]);
        int port = uri.getPort() < 0 ? 80 : uri.getPort();
        Integer target = names.get(uri.getHost() + ":" + port);
        if (target == null) {
            respond(out, "502 Bad Gateway", "");
            return false;
        }
        try (Socket upstream = new Socket(InetAddress.getLoopbackAddress(), target)) {
            sockets.add(upstream);
            if (tunnel) {
                out.write("HTTP/1.1 200 OK\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
                out.flush();
            } else {
                upstream.getOutputStream().write(forwarded(line, uri, head));
            }
            Thread requests = Thread.ofVirtual().start(() -> pump(in, upstream));
            try {
                upstream.getInputStream().transferTo(out);
            } finally {
                end(upstream);
                end(client);
                requests.join();
                sockets.remove(upstream);
            }
        }
        return false;
    }

    private static void end(Socket socket) throws IOException {
        socket.close();
    }

    private static void pump(InputStream from, Socket to) {
        try {
            from.transferTo(to.getOutputStream());
            to.shutdownOutput();
        } catch (IOException e) {
            // The other direction ends too, and closes both.
        }
    }

    /// The head of a request as the server gets it: with the path alone, for one answer, and
    /// without what is for the proxy.
    private static byte[] forwarded(String[] line, URI uri, List<String> head) {
        String query = uri.getRawQuery();
        StringBuilder out =
                new StringBuilder(line[0] + ' ' + uri.getRawPath())
                        .append(query == null ? "" : '?' + query)
                        .append(" HTTP/1.1\r\nConnection: close\r\n");
        for (String header : head.subList(1, head.size())) {
            String name = header.toLowerCase(Locale.ROOT);
            if (!name.startsWith("proxy-") && !name.startsWith("connection:")) {
                out.append(header).append("\r\n");
            }
        }
        return out.append("\r\n").toString().getBytes(StandardCharsets.ISO_8859_1);
    }

    private static void respond(OutputStream out, String status, String headers)
            throws IOException {
        out.write(
                ("HTTP/1.1 " + status + "\r\n" + headers + "Content-Length: 0\r\n\r\n")
                        .getBytes(StandardCharsets.US_ASCII));
        out.flush();
    }

    private static String header(List<String> head, String name) {
        for (String line : head) {
            if (line.toLowerCase(Locale.ROOT).startsWith(name + ':')) {
                return line.substring(name.length() + 1).strip();
            }
        }
        return "";
    }

    /// The lines of a head; empty at the end of the connection.
    private static List<String> head(InputStream in) throws IOException {
        ByteArrayOutputStream head = new ByteArrayOutputStream();
        while (!head.toString(StandardCharsets.ISO_8859_1).endsWith("\r\n\r\n")) {
            int next = in.read();
            if (next < 0 || head.size() == MAX_HEAD_BYTES) {
                return List.of();
            }
            head.write(next);
        }
        return head.toString(StandardCharsets.ISO_8859_1).strip().lines().toList();
    }
}
