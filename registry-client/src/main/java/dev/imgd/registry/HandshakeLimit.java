package dev.imgd.registry;

import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import okio.AsyncTimeout;

/// TLS over connections whose handshake must be over in time, however steadily it trickles.
///
/// OkHttp limits each read of a handshake, but not the handshake.
final class HandshakeLimit extends SSLSocketFactory {
    private final SSLSocketFactory sockets;
    private final Duration limit;

    /// @param limit from the open connection to the end of the handshake
    HandshakeLimit(SSLSocketFactory sockets, Duration limit) {
        this.sockets = sockets;
        this.limit = limit;
    }

    @Override
    public Socket createSocket(Socket connection, String host, int port, boolean autoClose)
            throws IOException {
        Socket secured = sockets.createSocket(connection, host, port, autoClose);
        if (connection instanceof BufferedSocketFactory.BufferedSocket buffered
                && secured instanceof SSLSocket handshaking) {
            AsyncTimeout clock = new Clock(buffered);
            clock.timeout(limit.toMillis(), TimeUnit.MILLISECONDS);
            handshaking.addHandshakeCompletedListener(_ -> clock.exit());
            clock.enter();
        }
        return secured;
    }

    /// Where the handshake fails before its time is up, what it closes then is closed already.
    private static final class Clock extends AsyncTimeout {
        private final BufferedSocketFactory.BufferedSocket connection;

        Clock(BufferedSocketFactory.BufferedSocket connection) {
            this.connection = connection;
        }

        @Override
        protected void timedOut() {
            connection.giveUp();
        }
    }

    @Override
    public String[] getDefaultCipherSuites() {
        return sockets.getDefaultCipherSuites();
    }

    @Override
    public String[] getSupportedCipherSuites() {
        return sockets.getSupportedCipherSuites();
    }

    @Override
    public Socket createSocket(String host, int port) throws IOException {
        throw connectedOnly();
    }

    @Override
    public Socket createSocket(String host, int port, InetAddress localHost, int localPort)
            throws IOException {
        throw connectedOnly();
    }

    @Override
    public Socket createSocket(InetAddress host, int port) throws IOException {
        throw connectedOnly();
    }

    @Override
    public Socket createSocket(
            InetAddress address, int port, InetAddress localAddress, int localPort)
            throws IOException {
        throw connectedOnly();
    }

    private static SocketException connectedOnly() {
        return new SocketException("TLS is spoken over connections that are there");
    }
}
