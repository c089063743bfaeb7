package dev.imgd.registry;

import dev.imgd.model.Text;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// What a registry wants its users to know, shown once: it says so with every answer. Nothing else
/// follows from it. For all sessions of a client; safe for use by many threads. **Source:**
/// distribution-spec v1.1 § Warnings, RFC 7234 § 5.5.
final class Notices {
    /// How many characters of an answer are looked at: a registry must not send more.
    private static final int MOST_CHARS = 4096;

    private static final int MOST_CHARS_SHOWN = 300;

    /// How many texts of a registry are shown before they are forgotten.
    static final int MOST_SHOWN = 10;

    /// After this time they are forgotten, so that a daemon reminds of what is still so.
    static final Duration REMEMBERED = Duration.ofHours(1);

    private static final String PREFIX = "299 - \"";

    private final String host;
    private final Clock clock;
    private final Set<String> shown = new HashSet<>();
    private Instant since;

    /// @param host whose they are
    Notices(String host, Clock clock) {
        this.host = host;
        this.clock = clock;
        this.since = clock.instant();
    }

    /// Shows what is new, and tells all of it to who asked.
    ///
    /// @param headers the values of the `Warning` headers of an answer
    void show(List<String> headers, Operation asking) {
        for (String text : parse(headers)) {
            String notice = "registry %s says: %s".formatted(host, text);
            asking.hear(notice);
            if (isNew(text)) {
                Log.warn(notice);
            }
        }
    }

    private synchronized boolean isNew(String text) {
        Instant now = clock.instant();
        if (now.isAfter(since.plus(REMEMBERED))) {
            shown.clear();
        }
        if (shown.isEmpty()) {
            since = now;
        }
        return shown.size() < MOST_SHOWN && shown.add(text);
    }

    /// The texts of warnings that are for people, fit to be shown. Others, and what comes after
    /// something that is no warning, are left out.
    static List<String> parse(List<String> headers) {
        List<String> texts = new ArrayList<>();
        int room = MOST_CHARS;
        for (String header : headers) {
            String value = header.substring(0, Math.min(header.length(), room));
            room -= value.length();
            parse(value, texts);
        }
        return texts;
    }

    private static void parse(String value, List<String> texts) {
        int at = 0;
        while (true) {
            while (at < value.length() && " \t,".indexOf(value.charAt(at)) >= 0) {
                at++;
            }
            if (!value.startsWith(PREFIX, at)) {
                return;
            }
            StringBuilder text = new StringBuilder();
            at = quoted(value, at + PREFIX.length(), text);
            if (at < 0) {
                return;
            }
            String shown = Text.printable(text.toString().strip(), MOST_CHARS_SHOWN);
            if (!shown.isEmpty()) {
                texts.add(shown);
            }
        }
    }

    /// Reads the rest of a quoted string.
    ///
    /// @return the place after it, or -1 when it does not end
    private static int quoted(String value, int start, StringBuilder text) {
        for (int at = start; at < value.length(); at++) {
            char c = value.charAt(at);
            if (c == '"') {
                return at + 1;
            }
            if (c == '\\' && ++at < value.length()) {
                c = value.charAt(at);
            }
            text.append(c);
        }
        return -1;
    }

    /// Apart, so that a program that is told nothing does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(Notices.class);

        static void warn(String notice) {
            LOGGER.warn("{}", notice);
        }
    }
}
