package dev.imgd.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.JsonEncoder;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.encoder.Encoder;
import dev.imgd.registry.RequestLog;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Logging of the daemon: one line per event on standard error, as text or as JSON.
final class DaemonLogging {
    private DaemonLogging() {}

    /// Sets up logging for the process; call before anything logs.
    static void start(Config config) {
        if (!(LoggerFactory.getILoggerFactory() instanceof LoggerContext context)) {
            return; // another back end was chosen on purpose
        }
        context.reset();
        Encoder<ILoggingEvent> encoder;
        if (config.get(Config.LOG_FORMAT).equals("json")) {
            JsonEncoder json = new JsonEncoder();
            json.setContext(context);
            json.setWithFormattedMessage(true);
            json.setWithMessage(false);
            json.setWithArguments(false);
            json.start();
            encoder = json;
        } else {
            PatternLayoutEncoder text = new PatternLayoutEncoder();
            text.setContext(context);
            text.setPattern("%date{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level %logger{0} %msg%n");
            text.start();
            encoder = text;
        }
        ConsoleAppender<ILoggingEvent> appender = new ConsoleAppender<>();
        appender.setContext(context);
        appender.setTarget("System.err");
        appender.setEncoder(encoder);
        appender.start();
        var root = context.getLogger(Logger.ROOT_LOGGER_NAME);
        root.setLevel(Level.WARN);
        root.addAppender(appender);
        // Netty warns for every connection that a Unix socket has no keep-alive, which gRPC asks
        // for.
        context.getLogger("io.netty.bootstrap").setLevel(Level.ERROR);
        Level level = Level.toLevel(config.get(Config.LOG_LEVEL));
        context.getLogger("dev.imgd").setLevel(level);
        if (!level.isGreaterOrEqual(Level.INFO)) {
            RequestLog.turnOn();
        }
    }
}
