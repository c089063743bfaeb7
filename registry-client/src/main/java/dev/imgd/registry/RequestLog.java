package dev.imgd.registry;

import java.io.IOException;
import java.util.concurrent.TimeUnit;
import okhttp3.Call;
import okhttp3.EventListener;
import okhttp3.HttpUrl;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// A line in the log for each request to a registry, a token server or where they redirect to: of
/// the URL without what follows its path, and of no header but the length, because the rest may be
/// a secret.
///
/// Off unless a program that logs at that level turns it on before it makes clients; then clients
/// know nothing of it.
public final class RequestLog extends EventListener {
    private static volatile boolean on;

    private final long started = System.nanoTime();
    private boolean answered;

    private RequestLog() {}

    /// Writes lines for the requests of clients that are made from now on.
    public static void turnOn() {
        on = true;
    }

    /// Writes none for those of clients that are made from now on.
    public static void turnOff() {
        on = false;
    }

    /// What a line says of a request beside itself.
    ///
    /// @param host that answers for the registry, and may have redirected to another
    /// @param attempt how often the same was asked by now
    private record Note(String host, int attempt) {}

    /// Writes lines for the requests of a client, if that is wanted.
    static void install(OkHttpClient.Builder builder) {
        if (on) {
            builder.eventListenerFactory(_ -> new RequestLog());
        }
    }

    /// The request, with what a line says of it.
    ///
    /// @param host the request is made for
    /// @param what it asks for, where the URL does not tell
    static Request noted(Request request, String host, String what, Operation operation) {
        if (!on) {
            return request;
        }
        String same =
                request.method() + ' ' + request.url() + ' ' + request.header("Range") + ' ' + what;
        return request.newBuilder()
                .tag(Note.class, new Note(host, operation.attempt(same)))
                .build();
    }

    @Override
    public void responseHeadersEnd(Call call, Response response) {
        if (response.code() / 100 == 1) {
            return;
        }
        answered = true;
        String length = response.header("Content-Length");
        write(
                call,
                "status=%d bytes=%s"
                        .formatted(response.code(), isNumber(length) ? length : "unknown"));
    }

    private static boolean isNumber(@Nullable String text) {
        return text != null
                && !text.isEmpty()
                && text.length() < 20
                && text.chars().allMatch(c -> c >= '0' && c <= '9');
    }

    @Override
    public void callFailed(Call call, IOException failure) {
        if (!answered) {
            String text = call.isCanceled() ? "given up" : TransportFailure.of(failure).text();
            write(call, "error=\"%s\"".formatted(text.replace('"', '\'')));
        }
    }

    private void write(Call call, String outcome) {
        Request request = call.request();
        HttpUrl url = request.url();
        Note note = request.tag(Note.class);
        Log.LOGGER.debug(
                "request method={} url={} {} duration_ms={} attempt={} host={}",
                request.method(),
                Urls.printable(url),
                outcome,
                TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - started),
                note == null ? 1 : note.attempt,
                note == null ? Urls.authority(url) : note.host);
    }

    /// Apart, so that a program that turns nothing on does not start the logging system.
    private static final class Log {
        private static final Logger LOGGER = LoggerFactory.getLogger(RequestLog.class);
    }
}
