package dev.imgd.testkit;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;

/// A loopback port that speaks TLS, or not, as a test tells it to.
final class TlsListener extends ServerSocket {
    private static final byte[] PLAIN_ANSWER =
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
                    .getBytes(StandardCharsets.US_ASCII);

    private final Queue<Socket> silent = new ConcurrentLinkedQueue<>();
    private volatile SSLContext context;
    private volatile boolean wantsClient;
    private volatile TlsFault fault = TlsFault.NONE;

    TlsListener(TestAuthority.Identity server, @Nullable TestAuthority clients) throws IOException {
        context = TestAuthority.serverContext(server, clients);
        wantsClient = clients != null;
        bind(new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), 0), 512);
    }

    void present(TestAuthority.Identity server, @Nullable TestAuthority clients) {
        context = TestAuthority.serverContext(server, clients);
        wantsClient = clients != null;
    }

    void fault(TlsFault value) {
        fault = value;
    }

    @Override
    public Socket accept() throws IOException {
        while (true) {
            Socket connection = super.accept();
            switch (fault) {
                case NONE -> {
                    return secured(connection);
                }
                case PLAIN -> {
                    connection.getOutputStream().write(PLAIN_ANSWER);
                    connection.shutdownOutput();
                    // Closed later: closing with the client's bytes unread would be a reset.
                    silent.add(connection);
                }
                case STALL -> silent.add(connection);
                case ABORT -> {
                    connection.setSoLinger(true, 0);
                    connection.close();
                }
            }
        }
    }

    private SSLSocket secured(Socket connection) throws IOException {
        String peer = connection.getInetAddress().getHostAddress();
        SSLSocket secured =
                (SSLSocket)
                        context.getSocketFactory()
                                .createSocket(connection, peer, connection.getPort(), true);
        secured.setUseClientMode(false);
        secured.setNeedClientAuth(wantsClient);
        return secured;
    }

    @Override
    public void close() throws IOException {
        super.close();
        for (Socket connection : silent) {
            connection.close();
        }
    }
}
