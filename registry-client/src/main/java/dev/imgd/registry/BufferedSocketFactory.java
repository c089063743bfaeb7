package dev.imgd.registry;

import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import javax.net.SocketFactory;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;

/// Sockets that read up to 128 KiB with one system call, and that speak TLS with proxies that want
/// it, which OkHttp does not.
///
/// OkHttp asks for 8 KiB at a time, which would make a system call per 8 KiB of a layer.
final class BufferedSocketFactory extends SocketFactory {
    private static final int BUFFER_BYTES = 128 << 10;

    private final int readTimeoutMillis;
    private final ProxyRoute proxies;

    /// @param readTimeoutMillis how long a read may wait where OkHttp sets no limit of its own; 0
    ///   for ever
    BufferedSocketFactory(int readTimeoutMillis, ProxyRoute proxies) {
        this.readTimeoutMillis = readTimeoutMillis;
        this.proxies = proxies;
    }

    @Override
    public Socket createSocket() {
        return new BufferedSocket(readTimeoutMillis, proxies);
    }

    @Override
    public Socket createSocket(String host, int port) throws IOException {
        throw unconnectedOnly();
    }

    @Override
    public Socket createSocket(String host, int port, InetAddress localHost, int localPort)
            throws IOException {
        throw unconnectedOnly();
    }

    @Override
    public Socket createSocket(InetAddress host, int port) throws IOException {
        throw unconnectedOnly();
    }

    @Override
    public Socket createSocket(
            InetAddress address, int port, InetAddress localAddress, int localPort)
            throws IOException {
        throw unconnectedOnly();
    }

    private static SocketException unconnectedOnly() {
        return new SocketException("only unconnected sockets are made here");
    }

    static final class BufferedSocket extends Socket {
        private final Object streamLock = new Object();
        private final int readTimeoutMillis;
        private final ProxyRoute proxies;
        private @Nullable InputStream buffered;
        private volatile boolean late;
        private volatile @Nullable SSLSocket secured;

        BufferedSocket(int readTimeoutMillis, ProxyRoute proxies) {
            this.readTimeoutMillis = readTimeoutMillis;
            this.proxies = proxies;
        }

        @Override
        public void connect(SocketAddress endpoint, int timeout) throws IOException {
            super.connect(endpoint, timeout);
            // Over the streams of this socket as they are until then.
            secured = proxies.secure(this, endpoint, timeout);
        }

        @Override
        public OutputStream getOutputStream() throws IOException {
            SSLSocket inner = secured;
            return inner == null ? super.getOutputStream() : inner.getOutputStream();
        }

        /// Closes the connection for taking too long, which is what its reader is told.
        void giveUp() {
            late = true;
            try {
                close();
            } catch (IOException e) {
                // It is of no more use, closed or not.
            }
        }

        @Override
        public void setSoTimeout(int millis) throws SocketException {
            super.setSoTimeout(millis == 0 ? readTimeoutMillis : millis);
        }

        @Override
        public InputStream getInputStream() throws IOException {
            SSLSocket inner = secured;
            if (inner != null) {
                return inner.getInputStream();
            }
            synchronized (streamLock) {
                InputStream in = buffered;
                if (in == null) {
                    in = new Buffered(this, super.getInputStream());
                    buffered = in;
                }
                return in;
            }
        }
    }

    /// For one reading thread, as OkHttp has one per connection.
    private static final class Buffered extends FilterInputStream {
        private final BufferedSocket socket;
        private final byte[] buffer = new byte[BUFFER_BYTES];
        private int at;
        private int end;

        Buffered(BufferedSocket socket, InputStream in) {
            super(in);
            this.socket = socket;
        }

        @Override
        public int read() throws IOException {
            return at == end && !fill() ? -1 : buffer[at++] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            if (length == 0) {
                return 0;
            }
            if (at == end) {
                if (length >= BUFFER_BYTES) {
                    return receive(into, offset, length);
                }
                if (!fill()) {
                    return -1;
                }
            }
            int count = Math.min(length, end - at);
            System.arraycopy(buffer, at, into, offset, count);
            at += count;
            return count;
        }

        private int receive(byte[] into, int offset, int length) throws IOException {
            try {
                return in.read(into, offset, length);
            } catch (SocketException e) {
                if (!socket.late) {
                    throw e;
                }
                var timeout = new SocketTimeoutException("the handshake took too long");
                timeout.initCause(e);
                throw timeout;
            }
        }

        private boolean fill() throws IOException {
            int count = receive(buffer, 0, BUFFER_BYTES);
            at = 0;
            end = Math.max(count, 0);
            return count > 0;
        }

        @Override
        public int available() throws IOException {
            return end - at + in.available();
        }

        @Override
        public long skip(long count) throws IOException {
            if (at == end && (count <= 0 || !fill())) {
                return 0;
            }
            int skipped = (int) Math.min(count, end - at);
            at += skipped;
            return skipped;
        }

        @Override
        public boolean markSupported() {
            return false;
        }
    }
}
