package dev.imgd.testkit;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/// The way to a server on the loopback address: counts, slows down, breaks, goes away and comes
/// back at the same port. Safe for use by many threads.
public final class TcpProxy implements AutoCloseable {
    /// Small enough for the count to be close to what the client has.
    private static final int SOCKET_BUFFER_BYTES = 64 << 10;

    private final int target;
    private final int port;
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private final AtomicLong bytes = new AtomicLong();
    private final AtomicInteger open = new AtomicInteger();
    private final AtomicInteger mostOpen = new AtomicInteger();
    private final AtomicInteger toRefuse = new AtomicInteger();
    private volatile long bytesPerSecond = Long.MAX_VALUE;
    private volatile long burstBytes;
    private volatile boolean together;
    private long dueTogether = System.nanoTime();
    private volatile ServerSocket server;

    private TcpProxy(int target) throws IOException {
        this.target = target;
        this.server = listen(0);
        this.port = server.getLocalPort();
        accept(server);
    }

    /// A way to a port of the loopback address.
    public static TcpProxy to(int port) throws IOException {
        return new TcpProxy(port);
    }

    /// `localhost:<port>`.
    public String authority() {
        return "localhost:" + port;
    }

    /// Bytes that went to clients so far.
    public long bytes() {
        return bytes.get();
    }

    /// How many connections were in use for answers at once, at most.
    public int mostConnections() {
        return mostOpen.get();
    }

    /// Limits each connection.
    public void limitEachConnection(long limitBytesPerSecond) {
        limitEachConnection(limitBytesPerSecond, 0);
    }

    /// Limits each connection as servers do: so many bytes at once, then a pause.
    public void limitEachConnection(long limitBytesPerSecond, long burst) {
        together = false;
        burstBytes = burst;
        bytesPerSecond = limitBytesPerSecond;
    }

    /// Limits what all connections get together.
    public void limitAllConnections(long limitBytesPerSecond) {
        together = true;
        bytesPerSecond = limitBytesPerSecond;
    }

    /// Breaks all connections and refuses new ones.
    public void goAway() throws IOException {
        server.close();
        cut();
    }

    /// Breaks all connections.
    public void cut() {
        sockets.forEach(TcpProxy::reset);
    }

    /// Breaks all connections, and the next ones.
    ///
    /// @param count how many of those; the one after them is served
    public void goAwayFor(int count) {
        toRefuse.set(count);
        cut();
    }

    /// How many connections are still to be broken.
    public int toRefuse() {
        return toRefuse.get();
    }

    /// Accepts connections again.
    public void comeBack() throws IOException {
        server = listen(port);
        accept(server);
    }

    @Override
    public void close() throws IOException {
        goAway();
    }

    private static ServerSocket listen(int port) throws IOException {
        ServerSocket socket = new ServerSocket();
        socket.setReuseAddress(true);
        InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        socket.bind(new InetSocketAddress(loopback, port), 128);
        return socket;
    }

    private void accept(ServerSocket listening) {
        Thread.ofVirtual()
                .start(
                        () -> {
                            while (true) {
                                try {
                                    Socket client = listening.accept();
                                    sockets.add(client);
                                    boolean away =
                                            toRefuse.getAndUpdate(n -> Math.max(0, n - 1)) > 0;
                                    if (away || listening.isClosed()) {
                                        reset(client);
                                    }
                                    Thread.ofVirtual().start(() -> serve(client));
                                } catch (IOException e) {
                                    return; // gone away
                                }
                            }
                        });
    }

    private void serve(Socket client) {
        try (client;
                Socket upstream = new Socket()) {
            sockets.add(upstream);
            upstream.setReceiveBufferSize(SOCKET_BUFFER_BYTES);
            client.setSendBufferSize(SOCKET_BUFFER_BYTES);
            client.setTcpNoDelay(true);
            upstream.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), target));
            Thread requests =
                    Thread.ofVirtual()
                            .start(
                                    () -> {
                                        try {
                                            client.getInputStream()
                                                    .transferTo(upstream.getOutputStream());
                                            upstream.shutdownOutput();
                                        } catch (IOException e) {
                                            reset(upstream);
                                        }
                                    });
            try {
                answers(upstream.getInputStream(), client.getOutputStream());
                client.shutdownOutput();
            } catch (IOException e) {
                reset(client); // or its requests would be waited for
            } finally {
                reset(upstream);
                requests.join();
                sockets.remove(upstream);
            }
        } catch (IOException e) {
            reset(client);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            sockets.remove(client);
        }
    }

    private void answers(InputStream from, OutputStream to) throws IOException {
        byte[] buffer = new byte[16 << 10];
        mostOpen.accumulateAndGet(open.incrementAndGet(), Math::max);
        try {
            long due = System.nanoTime();
            long burst = 0;
            for (int n = from.read(buffer); n >= 0; n = from.read(buffer)) {
                to.write(buffer, 0, n);
                bytes.addAndGet(n);
                burst += n;
                if (bytesPerSecond != Long.MAX_VALUE && (together || burst >= burstBytes)) {
                    due = together ? afterAll(n) : after(due, burst);
                    burst = 0;
                    LockSupport.parkNanos(due - System.nanoTime());
                }
            }
        } finally {
            open.decrementAndGet();
        }
    }

    private long after(long due, long count) {
        return Math.max(due, System.nanoTime() - 20_000_000)
                + count * 1_000_000_000L / bytesPerSecond;
    }

    private synchronized long afterAll(int count) {
        dueTogether = after(dueTogether, count);
        return dueTogether;
    }

    private static void reset(Socket socket) {
        try {
            socket.setSoLinger(true, 0);
            socket.close();
        } catch (IOException e) {
            // Closed already.
        }
    }
}
