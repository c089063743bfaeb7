package dev.imgd.cli;

/// Ctrl-C and SIGTERM: the running call is cancelled, which leaves a resumable download and nothing
/// else, and the process waits for that.
final class Interruption implements AutoCloseable {
    private static final long PATIENCE_MILLIS = 15_000;

    private static volatile boolean signalled;

    private final Thread hook;

    private Interruption(Thread hook) {
        this.hook = hook;
    }

    /// Lets signals interrupt the calling thread until this is closed. To be called before there is
    /// anything that would have to be cleaned up.
    static Interruption guard() {
        Thread command = Thread.currentThread();
        Thread hook =
                new Thread(
                        () -> {
                            signalled = true;
                            command.interrupt();
                            try {
                                command.join(PATIENCE_MILLIS);
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                            }
                        },
                        "imgctl-interrupt");
        Runtime.getRuntime().addShutdownHook(hook);
        return new Interruption(hook);
    }

    /// Whether a signal has come, so that whatever fails from then on fails because of it.
    static boolean signalled() {
        return signalled;
    }

    @Override
    public void close() {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException shuttingDown) {
            // The hook runs already and waits for the end of the thread that is here.
        }
    }
}
