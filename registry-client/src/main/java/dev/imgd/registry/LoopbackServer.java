package dev.imgd.registry;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.EOFException;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/// A small HTTP/1.1 server on a loopback address, for [EmbeddedRegistry] and for tests.
///
/// One virtual thread per connection; connections are kept alive. Not meant for anything but
/// clients on the same host. Safe for use by many threads. **Source:** RFC 9112.
public final class LoopbackServer implements AutoCloseable {
    private static final int MAX_HEADER_BYTES = 32 << 10;

    /// Answers requests. Called on many threads at once. When it throws, or returns without having
    /// answered, the connection is dropped.
    @FunctionalInterface
    public interface Handler {
        void handle(Exchange exchange) throws IOException;
    }

    private final ServerSocket socket;
    private final Handler handler;
    private final Set<Socket> connections = ConcurrentHashMap.newKeySet();
    private volatile boolean closed;

    private LoopbackServer(ServerSocket socket, Handler handler) {
        this.socket = socket;
        this.handler = handler;
    }

    /// Starts a server on a free port of the IPv4 loopback address.
    public static LoopbackServer start(Handler handler) throws IOException {
        ServerSocket socket = new ServerSocket();
        try {
            InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
            socket.bind(new InetSocketAddress(loopback, 0), 512);
        } catch (IOException e) {
            socket.close();
            throw e;
        }
        return start(socket, handler);
    }

    /// Starts a server on a socket that listens already, for example one that speaks TLS. The
    /// server closes it.
    public static LoopbackServer start(ServerSocket socket, Handler handler) {
        LoopbackServer server = new LoopbackServer(socket, handler);
        Thread.ofVirtual().name("loopback-accept").start(server::acceptAll);
        return server;
    }

    /// The port listened on.
    public int port() {
        return socket.getLocalPort();
    }

    /// `localhost:<port>`, as the registry of a reference.
    public String authority() {
        return "localhost:" + port();
    }

    /// Stops listening and drops all connections.
    @Override
    public void close() {
        closed = true;
        closeQuietly(socket);
        connections.forEach(LoopbackServer::closeQuietly);
    }

    private static void closeQuietly(AutoCloseable closeable) {
        try {
            closeable.close();
        } catch (Exception e) {
            // Nothing can be done about a socket that does not close.
        }
    }

    private void acceptAll() {
        while (!closed) {
            Socket connection;
            try {
                connection = socket.accept();
            } catch (IOException e) {
                return; // closed
            }
            connections.add(connection);
            if (closed) {
                closeQuietly(connection);
            }
            Thread.ofVirtual().name("loopback-connection").start(() -> serve(connection));
        }
    }

    private void serve(Socket connection) {
        try (connection) {
            connection.setTcpNoDelay(true);
            InputStream in = new BufferedInputStream(connection.getInputStream(), 64 << 10);
            boolean more = true;
            while (more && !closed) {
                Optional<Exchange> exchange = Exchange.read(connection, in);
                if (exchange.isEmpty()) {
                    return;
                }
                handler.handle(exchange.get());
                more = exchange.get().finish();
            }
        } catch (IOException e) {
            // The client left or broke the protocol, or the handler wants the connection dropped.
        } finally {
            connections.remove(connection);
        }
    }

    /// One request and its answer. For the thread of the handler, where nothing else is said.
    public static final class Exchange {
        private final Socket connection;
        private final String method;
        private final String target;
        private final Map<String, String> headers;
        private final InputStream body;
        private final BufferedOutputStream out;
        private volatile int status;

        private Exchange(
                Socket connection,
                InputStream in,
                String method,
                String target,
                Map<String, String> headers)
                throws IOException {
            this.connection = connection;
            this.method = method;
            this.target = target;
            this.headers = headers;
            this.out = new BufferedOutputStream(connection.getOutputStream(), 64 << 10);
            this.body = requestBody(in);
        }

        private static Optional<Exchange> read(Socket connection, InputStream in)
                throws IOException {
            int[] budget = {MAX_HEADER_BYTES};
            Optional<String> line = line(in, budget);
            if (line.isEmpty()) {
                return Optional.empty();
            }
            String request = line.get();
            int first = request.indexOf(' ');
            int last = request.lastIndexOf(' ');
            if (first <= 0 || last <= first || !request.startsWith("HTTP/1.", last + 1)) {
                throw new IOException("not an HTTP/1 request");
            }
            Map<String, String> headers = new LinkedHashMap<>();
            while (true) {
                String header = line(in, budget).orElseThrow(EOFException::new);
                if (header.isEmpty()) {
                    break;
                }
                int colon = header.indexOf(':');
                if (colon <= 0) {
                    throw new IOException("not a header");
                }
                headers.put(
                        header.substring(0, colon).toLowerCase(Locale.ROOT),
                        header.substring(colon + 1).strip());
            }
            return Optional.of(
                    new Exchange(
                            connection,
                            in,
                            request.substring(0, first),
                            request.substring(first + 1, last),
                            headers));
        }

        /// A line without its end, or nothing at the end of the stream.
        private static Optional<String> line(InputStream in, int[] budget) throws IOException {
            StringBuilder line = new StringBuilder();
            while (true) {
                int c = in.read();
                if (c < 0) {
                    if (line.isEmpty()) {
                        return Optional.empty();
                    }
                    throw new EOFException();
                }
                if (--budget[0] < 0) {
                    throw new IOException("headers too long");
                }
                if (c == '\n') {
                    return Optional.of(line.toString());
                }
                if (c != '\r') {
                    line.append((char) c);
                }
            }
        }

        private InputStream requestBody(InputStream in) throws IOException {
            if ("chunked".equalsIgnoreCase(headers.get("transfer-encoding"))) {
                return new ChunkedBody(in);
            }
            String length = headers.getOrDefault("content-length", "0");
            try {
                return new FixedBody(in, Long.parseLong(length));
            } catch (NumberFormatException e) {
                throw new IOException("bad Content-Length", e);
            }
        }

        /// `GET`, `PUT`, …
        public String method() {
            return method;
        }

        /// The path, decoded, without the query.
        public String path() {
            int query = target.indexOf('?');
            String raw = query < 0 ? target : target.substring(0, query);
            return raw.indexOf('%') < 0
                    ? raw
                    : URLDecoder.decode(raw.replace("+", "%2B"), StandardCharsets.UTF_8);
        }

        /// The request target as it was sent, with the query.
        public String target() {
            return target;
        }

        /// The first value of a query parameter, decoded.
        public Optional<String> query(String name) {
            int query = target.indexOf('?');
            if (query < 0) {
                return Optional.empty();
            }
            for (String pair : target.substring(query + 1).split("&", -1)) {
                int equals = pair.indexOf('=');
                if (equals == name.length() && pair.startsWith(name)) {
                    return Optional.of(
                            URLDecoder.decode(pair.substring(equals + 1), StandardCharsets.UTF_8));
                }
            }
            return Optional.empty();
        }

        /// The last value of a request header.
        public Optional<String> header(String name) {
            return Optional.ofNullable(headers.get(name.toLowerCase(Locale.ROOT)));
        }

        /// The body of the request; a client that waits for `100 Continue` gets it now.
        public InputStream body() throws IOException {
            if ("100-continue".equalsIgnoreCase(headers.remove("expect"))) {
                raw().write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
                raw().flush();
            }
            return body;
        }

        /// The status that was sent, or 0; for any thread.
        public int status() {
            return status;
        }

        /// Sends an answer with a body, which is left out for `HEAD`.
        public void respond(int code, Map<String, String> answerHeaders, byte[] content)
                throws IOException {
            try (OutputStream to = respond(code, answerHeaders, content.length)) {
                to.write(content);
            }
        }

        /// Sends the headers of an answer; the caller writes the body and closes the stream, which
        /// leaves the connection open. What is written for `HEAD` is dropped.
        ///
        /// @param length of the body, or -1 for one in chunks
        public OutputStream respond(int code, Map<String, String> answerHeaders, long length)
                throws IOException {
            status = code;
            StringBuilder head = new StringBuilder(256);
            head.append("HTTP/1.1 ").append(code).append(" -\r\n");
            answerHeaders.forEach(
                    (name, value) -> head.append(name).append(": ").append(value).append("\r\n"));
            if (code == 204 || code == 304) {
                // RFC 9110 § 8.6: no length where there can be no body.
                head.append("\r\n");
            } else if (length >= 0) {
                head.append("Content-Length: ").append(length).append("\r\n\r\n");
            } else {
                head.append("Transfer-Encoding: chunked\r\n\r\n");
            }
            out.write(head.toString().getBytes(StandardCharsets.ISO_8859_1));
            if (method.equals("HEAD")) {
                return new AnswerBody(OutputStream.nullOutputStream(), out);
            }
            return new AnswerBody(length >= 0 ? out : new ChunkedOutput(out), out);
        }

        /// The bytes of the connection, for answers that are not HTTP. The connection is dropped
        /// afterwards unless [#respond] was also used.
        public OutputStream raw() {
            return out;
        }

        /// Drops the connection with a reset, so that the client sees an error and no end of data.
        public void reset() throws IOException {
            connection.setSoLinger(true, 0);
            connection.close();
        }

        /// Blocks until the client or the server closes the connection.
        public void awaitDisconnect() throws IOException {
            out.flush();
            body.transferTo(OutputStream.nullOutputStream());
            if (connection.getInputStream().read() >= 0) {
                throw new IOException("another request on a stalled connection");
            }
        }

        /// @return whether another request may follow
        private boolean finish() throws IOException {
            if (status == 0) {
                return false;
            }
            body().transferTo(OutputStream.nullOutputStream());
            out.flush();
            return !"close".equalsIgnoreCase(headers.get("connection"));
        }
    }

    /// Keeps the connection open when the body is closed.
    private static final class AnswerBody extends FilterOutputStream {
        private final OutputStream connection;

        AnswerBody(OutputStream body, OutputStream connection) {
            super(body);
            this.connection = connection;
        }

        @Override
        public void write(byte[] from, int offset, int length) throws IOException {
            out.write(from, offset, length);
        }

        @Override
        public void flush() throws IOException {
            out.flush();
            connection.flush();
        }

        @Override
        public void close() throws IOException {
            if (out instanceof ChunkedOutput chunked) {
                chunked.end();
            }
            connection.flush();
        }
    }

    private static final class ChunkedOutput extends OutputStream {
        private final OutputStream out;

        ChunkedOutput(OutputStream out) {
            this.out = out;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] from, int offset, int length) throws IOException {
            if (length > 0) {
                String head = Integer.toHexString(length) + "\r\n";
                out.write(head.getBytes(StandardCharsets.US_ASCII));
                out.write(from, offset, length);
                out.write('\r');
                out.write('\n');
            }
        }

        @Override
        public void flush() throws IOException {
            out.flush();
        }

        void end() throws IOException {
            out.write("0\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
        }
    }

    private static final class FixedBody extends InputStream {
        private final InputStream in;
        private long left;

        FixedBody(InputStream in, long length) {
            this.in = in;
            this.left = length;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            if (left <= 0 || length == 0) {
                return length == 0 ? 0 : -1;
            }
            int count = in.read(into, offset, (int) Math.min(length, left));
            if (count < 0) {
                throw new EOFException();
            }
            left -= count;
            return count;
        }
    }

    private static final class ChunkedBody extends InputStream {
        private final InputStream in;
        private long left;
        private boolean ended;

        ChunkedBody(InputStream in) {
            this.in = in;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            if (length == 0) {
                return 0;
            }
            if (left == 0 && !ended) {
                nextChunk();
            }
            if (ended) {
                return -1;
            }
            int count = in.read(into, offset, (int) Math.min(length, left));
            if (count < 0) {
                throw new EOFException();
            }
            left -= count;
            if (left == 0) {
                line();
            }
            return count;
        }

        private void nextChunk() throws IOException {
            String size = line();
            int extension = size.indexOf(';');
            try {
                left = Long.parseLong(extension < 0 ? size : size.substring(0, extension), 16);
            } catch (NumberFormatException e) {
                throw new IOException("bad chunk", e);
            }
            if (left == 0) {
                ended = true;
                String trailer;
                do {
                    trailer = line();
                } while (!trailer.isEmpty());
            }
        }

        private String line() throws IOException {
            return Exchange.line(in, new int[] {MAX_HEADER_BYTES}).orElseThrow(EOFException::new);
        }
    }
}
