package dev.imgd.cli;

import dev.imgd.registry.RequestLog;
import java.io.PrintStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.ILoggerFactory;
import org.slf4j.IMarkerFactory;
import org.slf4j.Marker;
import org.slf4j.event.Level;
import org.slf4j.helpers.AbstractLogger;
import org.slf4j.helpers.BasicMarkerFactory;
import org.slf4j.helpers.MessageFormatter;
import org.slf4j.helpers.NOPMDCAdapter;
import org.slf4j.spi.MDCAdapter;
import org.slf4j.spi.SLF4JServiceProvider;

/// Logging of the command line: warnings as plain lines on standard error, everything with
/// `--debug`.
///
/// A full logging back end would take longer to start than most commands take to run; the daemon
/// uses one.
public final class CliLogging implements SLF4JServiceProvider {
    private static volatile @Nullable PrintStream target;
    private static volatile boolean debug;

    private final IMarkerFactory markers = new BasicMarkerFactory();
    private final MDCAdapter mdc = new NOPMDCAdapter();

    /// Chooses this back end for the process; call before anything logs.
    static void start(PrintStream err, boolean debugging) {
        System.setProperty("slf4j.provider", CliLogging.class.getName());
        System.setProperty("slf4j.internal.verbosity", "ERROR");
        target = err;
        debug = debugging;
        if (debugging) {
            RequestLog.turnOn();
        }
    }

    @Override
    public ILoggerFactory getLoggerFactory() {
        return Line::new;
    }

    @Override
    public IMarkerFactory getMarkerFactory() {
        return markers;
    }

    @Override
    public MDCAdapter getMDCAdapter() {
        return mdc;
    }

    @Override
    public String getRequestedApiVersion() {
        return "2.0.99";
    }

    @Override
    public void initialize() {}

    private static final class Line extends AbstractLogger {
        private static final long serialVersionUID = 1;

        Line(String name) {
            this.name = name;
        }

        private boolean enabled(Level level) {
            if (name.startsWith("io.netty.")) {
                // It warns that a Unix socket has no keep-alive, which gRPC asks for.
                return level == Level.ERROR;
            }
            if (name.startsWith("io.grpc.")) {
                // At DEBUG it prints frames, and what is in them may be a password.
                return level.toInt() >= Level.WARN.toInt();
            }
            return debug ? level != Level.TRACE : level.toInt() >= Level.WARN.toInt();
        }

        @Override
        protected @Nullable String getFullyQualifiedCallerName() {
            return null;
        }

        @Override
        protected void handleNormalizedLoggingCall(
                Level level,
                @Nullable Marker marker,
                String message,
                Object @Nullable [] arguments,
                @Nullable Throwable cause) {
            PrintStream err = target;
            if (err == null) {
                return;
            }
            String text = MessageFormatter.basicArrayFormat(message, arguments);
            synchronized (err) {
                if (debug) {
                    err.println("%s %s %s".formatted(level, name, text));
                    if (cause != null) {
                        cause.printStackTrace(err);
                    }
                } else if (level == Level.WARN) {
                    Console.current().warn(text);
                } else {
                    err.println("imgctl: error: " + text);
                }
                err.flush();
            }
        }

        @Override
        public boolean isTraceEnabled() {
            return enabled(Level.TRACE);
        }

        @Override
        public boolean isTraceEnabled(Marker marker) {
            return enabled(Level.TRACE);
        }

        @Override
        public boolean isDebugEnabled() {
            return enabled(Level.DEBUG);
        }

        @Override
        public boolean isDebugEnabled(Marker marker) {
            return enabled(Level.DEBUG);
        }

        @Override
        public boolean isInfoEnabled() {
            return enabled(Level.INFO);
        }

        @Override
        public boolean isInfoEnabled(Marker marker) {
            return enabled(Level.INFO);
        }

        @Override
        public boolean isWarnEnabled() {
            return enabled(Level.WARN);
        }

        @Override
        public boolean isWarnEnabled(Marker marker) {
            return enabled(Level.WARN);
        }

        @Override
        public boolean isErrorEnabled() {
            return enabled(Level.ERROR);
        }

        @Override
        public boolean isErrorEnabled(Marker marker) {
            return enabled(Level.ERROR);
        }
    }
}
