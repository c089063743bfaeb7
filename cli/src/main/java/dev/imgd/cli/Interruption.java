package dev.imgd.cli;

/// Ctrl-C and SIGTERM: the running call is cancelled, which leaves a resumable download and nothing else, and
/// the process waits for that.
final class Interruption {
    private static final long PATIENCE_MILLIS = 15_000;

    private Interruption() {}

    /// Lets signals interrupt the calling thread from now on.
    static void guard() {
        Thread command = Thread.currentThread();
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(
                                () -> {
                                    command.interrupt();
                                    try {
                                        command.join(PATIENCE_MILLIS);
                                    } catch (InterruptedException e) {
                                        Thread.currentThread().interrupt();
                                    }
                                },
                                "imgctl-interrupt"));
    }
}
