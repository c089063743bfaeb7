package dev.imgd.testkit;

import dev.imgd.registry.EmbeddedRegistry;
import dev.imgd.registry.LoopbackServer.Exchange;
import dev.imgd.registry.LoopbackServer.Handler;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/// What a scripted registry does instead of answering right.
///
/// The faults of bodies know what the right answer would be: `body` is the content of the blob or
/// manifest asked for, whole, whatever range the request has.
@FunctionalInterface
public interface Fault {
    /// @param body the right content, empty when there is none
    /// @param right answers as if there was no fault
    void handle(Exchange exchange, byte[] body, Handler right) throws IOException;

    /// No fault: lets one request pass, in a script of several.
    static Fault none() {
        return (exchange, _, right) -> right.handle(exchange);
    }

    /// An answer without the content.
    static Fault status(int status, Map<String, String> headers, String content) {
        return (exchange, _, _) ->
                exchange.respond(status, headers, content.getBytes(StandardCharsets.UTF_8));
    }

    /// An error in the form of the specification.
    static Fault error(int status, String code, String message) {
        return (exchange, _, _) -> EmbeddedRegistry.refuse(exchange, status, code, message);
    }

    /// Too many requests.
    ///
    /// @param retryAfter the header of that name
    static Fault rateLimited(String retryAfter) {
        return (exchange, _, _) ->
                exchange.respond(
                        429,
                        Map.of("Retry-After", retryAfter, "Content-Type", "application/json"),
                        EmbeddedRegistry.errorBody("TOOMANYREQUESTS", "slow down"));
    }

    static Fault redirect(int status, String location) {
        return (exchange, _, _) ->
                exchange.respond(status, Map.of("Location", location), new byte[0]);
    }

    /// The connection is reset instead of an answer.
    static Fault reset() {
        return (exchange, _, _) -> exchange.reset();
    }

    /// No answer at all until the client gives up.
    static Fault stall() {
        return (exchange, _, _) -> exchange.awaitDisconnect();
    }

    /// The content with one bit wrong; length and ranges are right.
    static Fault wrongByteAt(int offset) {
        return (exchange, body, _) -> {
            byte[] wrong = body.clone();
            wrong[offset] ^= 1;
            respond(exchange, wrong, range(exchange));
        };
    }

    /// Other content altogether, with a right length of its own.
    static Fault content(byte[] other) {
        return (exchange, _, _) -> respond(exchange, other, range(exchange));
    }

    /// The connection breaks after `count` bytes of what was promised.
    static Fault truncatedAt(int count) {
        return (exchange, body, _) -> {
            int from = range(exchange);
            OutputStream out = head(exchange, body.length, from, body.length - from);
            out.write(body, from, Math.min(count, body.length - from));
            out.flush();
            exchange.reset();
        };
    }

    /// As [#truncatedAt], but the connection ends as if all was well.
    static Fault endedAt(int count) {
        return (exchange, body, _) -> {
            int from = range(exchange);
            OutputStream out = head(exchange, body.length, from, body.length - from);
            out.write(body, from, Math.min(count, body.length - from));
            out.flush();
            throw new IOException("ends here");
        };
    }

    /// Bytes stop after `count`, and the connection stays open.
    static Fault stalledAt(int count) {
        return (exchange, body, _) -> {
            int from = range(exchange);
            OutputStream out = head(exchange, body.length, from, body.length - from);
            out.write(body, from, Math.min(count, body.length - from));
            out.flush();
            exchange.awaitDisconnect();
        };
    }

    /// One byte per period.
    static Fault trickle(Duration period) {
        return (exchange, body, _) -> {
            int from = range(exchange);
            OutputStream out = head(exchange, body.length, from, body.length - from);
            for (int i = from; i < body.length; i++) {
                out.write(body[i]);
                out.flush();
                LockSupport.parkNanos(period.toNanos());
            }
        };
    }

    /// A length of its own that is too small, in good order.
    static Fault shorter(int length) {
        return (exchange, body, _) -> exchange.respond(200, headers(), Arrays.copyOf(body, length));
    }

    /// Bytes after the content, announced in `Content-Length`.
    static Fault longer(int extra) {
        return (exchange, body, _) ->
                exchange.respond(200, headers(), Arrays.copyOf(body, body.length + extra));
    }

    /// The content followed by zeros for ever, in chunks.
    static Fault endless() {
        return (exchange, body, _) -> {
            try (OutputStream out = exchange.respond(200, headers(), -1)) {
                out.write(body);
                byte[] zeros = new byte[64 << 10];
                while (true) {
                    out.write(zeros);
                    out.flush();
                }
            }
        };
    }

    /// The whole content with 200, whatever was asked for.
    static Fault rangeIgnored() {
        return (exchange, body, _) -> exchange.respond(200, headers(), body);
    }

    /// A part of the content with 206, although nobody asked for a part.
    static Fault unaskedPart(int length) {
        return (exchange, body, _) -> {
            Map<String, String> headers = headers();
            headers.put("Content-Range", "bytes 0-" + (length - 1) + '/' + body.length);
            exchange.respond(206, headers, Arrays.copyOf(body, length));
        };
    }

    /// A part with 206 that is not the part asked for; its `Content-Range` is honest.
    ///
    /// @param shift bytes by which it starts later
    static Fault shiftedRange(int shift) {
        return (exchange, body, _) -> {
            int from = Math.min(body.length, range(exchange) + shift);
            Map<String, String> headers = headers();
            headers.put(
                    "Content-Range", "bytes " + from + '-' + (body.length - 1) + '/' + body.length);
            exchange.respond(206, headers, Arrays.copyOfRange(body, from, body.length));
        };
    }

    /// The right bytes of the range, under a wrong `Content-Range`.
    static Fault contentRange(String header) {
        return (exchange, body, _) -> {
            int from = range(exchange);
            Map<String, String> headers = headers();
            headers.put("Content-Range", header);
            exchange.respond(206, headers, Arrays.copyOfRange(body, from, body.length));
        };
    }

    /// The right answer with a header changed or added.
    static Fault header(String name, String value) {
        return (exchange, body, _) -> {
            Map<String, String> headers = headers();
            headers.put(name, value);
            exchange.respond(200, headers, body);
        };
    }

    private static void respond(Exchange exchange, byte[] body, int from) throws IOException {
        try (OutputStream out = head(exchange, body.length, from, body.length - from)) {
            out.write(body, from, body.length - from);
        }
    }

    private static OutputStream head(Exchange exchange, int total, int from, int length)
            throws IOException {
        Map<String, String> headers = headers();
        if (exchange.header("Range").isEmpty()) {
            return exchange.respond(200, headers, length);
        }
        headers.put("Content-Range", "bytes " + from + '-' + (total - 1) + '/' + total);
        return exchange.respond(206, headers, length);
    }

    private static Map<String, String> headers() {
        Map<String, String> headers = new HashMap<>();
        headers.put("Content-Type", "application/octet-stream");
        return headers;
    }

    /// The first byte asked for.
    private static int range(Exchange exchange) {
        String header = exchange.header("Range").orElse("bytes=0-");
        return Integer.parseInt(header.substring(6, header.indexOf('-', 6)));
    }
}
