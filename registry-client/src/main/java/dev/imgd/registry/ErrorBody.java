package dev.imgd.registry;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Json;
import dev.imgd.model.JsonNode;
import dev.imgd.model.Limits;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.concurrent.TimeUnit;
import okhttp3.Response;
import okio.Buffer;
import org.jspecify.annotations.Nullable;

/// Turns an answer that is not a success into an error. **Source:** distribution-spec v1.1 § Error
/// Codes.
final class ErrorBody {
    private static final long MAX_SECONDS = 2;
    private static final int MAX_DETAILS = 8;
    private static final int MAX_DETAIL_CHARS = 1024;

    static final String CLIENT_CERTIFICATE_ADVICE =
            "check \"client\" of this host in hosts.toml, and that the server trusts its issuer";
    static final String NO_CLIENT_CERTIFICATE =
            "the server wants a client certificate and none was sent; name one as \"client\" of"
                    + " this host in hosts.toml";

    static final String PLAIN_HTTP =
            "this port speaks https and was asked with plain http; name it with https:// in"
                    + " hosts.toml, and leave --plain-http out";

    private ErrorBody() {}

    /// What is said of an answer instead of what its status usually means.
    ///
    /// @param meaning null for the usual one
    /// @param kind null for the usual one
    /// @param advice null for the usual one
    record Wording(@Nullable String meaning, @Nullable ErrorKind kind, @Nullable String advice) {
        static final Wording USUAL = new Wording(null, null, null);

        static Wording advice(String advice) {
            return new Wording(null, null, advice);
        }
    }

    /// Reads the body within the limits. The caller closes the response.
    ///
    /// @param writing whether the request was to change something
    static RegistryException exception(
            String what,
            String from,
            Response response,
            RegistryOptions options,
            boolean writing,
            Wording wording) {
        Limits limits = options.limits();
        int status = response.code();
        byte[] body = body(response, limits.errorBodyBytes());
        boolean tooLong = body.length > limits.errorBodyBytes();
        List<RegistryException.Detail> details = tooLong ? List.of() : details(body);
        StringBuilder message = new StringBuilder(what);
        String meaning = wording.meaning == null ? meaning(status) : wording.meaning;
        message.append(": ").append(meaning).append(" (HTTP ").append(status);
        message.append(" from ").append(from).append(')');
        if (tooLong) {
            message.append(", explained in more than ").append(limits.errorBodyBytes());
            message.append(" bytes, ").append(Limits.Key.ERROR_BODY_BYTES.configKey());
        }
        show(details, limits.errorShownBytes(), message);
        boolean incomplete = writing && details.stream().anyMatch(ErrorBody::isMissingContent);
        Front front = status == 400 && details.isEmpty() ? front(body) : Front.NONE;
        OwnCertificateException own =
                front == Front.CERTIFICATE_REFUSED
                        ? OwnCertificateException.sent(response, options.clock().instant())
                        : null;
        message.append(own == null ? front.advice : ": " + own.getMessage());
        if (incomplete) {
            message.append("; push what it points to into the same repository first");
        } else if (wording.advice != null) {
            message.append(wording.advice);
        } else {
            message.append(writing ? writingAdvice(status) : advice(status));
        }
        ErrorKind kind = kind(status);
        if (wording.kind != null) {
            kind = wording.kind;
        } else if (front != Front.NONE) {
            kind = front.kind;
        } else if (incomplete || (writing && status == 405)) {
            kind = ErrorKind.FAILED_PRECONDITION;
        }
        return new RegistryException(kind, message.toString(), status, details, null);
    }

    private static boolean isMissingContent(RegistryException.Detail detail) {
        return detail.code().equals("MANIFEST_BLOB_UNKNOWN");
    }

    private static void show(
            List<RegistryException.Detail> details, int limit, StringBuilder message) {
        int end = message.length() + limit;
        for (RegistryException.Detail detail : new LinkedHashSet<>(details)) {
            String text =
                    detail.message().isEmpty()
                            ? detail.code()
                            : detail.code() + ' ' + detail.message();
            int room = end - message.length() - 2;
            if (room <= 0) {
                return;
            }
            message.append(": ").append(Text.printable(text, room));
        }
    }

    /// @return one byte more than the limit where there are more
    private static byte[] body(Response response, int limit) {
        try {
            var source = response.body().source();
            // The headers came in time; a body in drops would keep us for hours.
            source.timeout().deadline(MAX_SECONDS, TimeUnit.SECONDS);
            source.request(limit + 1L);
            Buffer body = source.getBuffer();
            return body.readByteArray(Math.min(body.size(), limit + 1L));
        } catch (IOException e) {
            // The status says what happened; a body that cannot be read adds nothing to it.
            return new byte[0];
        }
    }

    private static List<RegistryException.Detail> details(byte[] body) {
        if (body.length == 0) {
            return List.of();
        }
        try {
            return parse(body);
        } catch (IOException e) {
            // The status says what happened; what is no error document adds nothing to it.
            return List.of();
        }
    }

    /// Servers that stand before a registry finish a handshake that they do not like, and say so in
    /// a page. **Source:** nginx, ngx_http_special_response.c; Go, net/http server.go; Apache
    /// httpd, ssl_engine_kernel.c.
    private enum Front {
        NONE("", "", ErrorKind.UNKNOWN),
        NO_CERTIFICATE(
                "No required SSL certificate was sent",
                ": " + NO_CLIENT_CERTIFICATE,
                ErrorKind.UNAUTHENTICATED),
        CERTIFICATE_REFUSED(
                "The SSL certificate error",
                ": the server refused this side's certificate; " + CLIENT_CERTIFICATE_ADVICE,
                ErrorKind.UNAUTHENTICATED),
        PLAIN_AT_NGINX("The plain HTTP request was sent to HTTPS port"),
        PLAIN_AT_GO("Client sent an HTTP request to an HTTPS server"),
        PLAIN_AT_APACHE("speaking plain HTTP to an SSL-enabled server port");

        private final String page;
        private final String advice;
        private final ErrorKind kind;

        Front(String page, String advice, ErrorKind kind) {
            this.page = page;
            this.advice = advice;
            this.kind = kind;
        }

        Front(String page) {
            this(page, ": " + PLAIN_HTTP, ErrorKind.INVALID_ARGUMENT);
        }
    }

    private static Front front(byte[] body) {
        String page = new String(body, StandardCharsets.UTF_8);
        for (Front front : Front.values()) {
            if (front != Front.NONE && page.contains(front.page)) {
                return front;
            }
        }
        return Front.NONE;
    }

    static List<RegistryException.Detail> parse(byte[] body) throws ImageException {
        List<RegistryException.Detail> details = new ArrayList<>();
        for (JsonNode error : Json.parse("error body", body).items("errors")) {
            if (details.size() == MAX_DETAILS) {
                break;
            }
            details.add(
                    new RegistryException.Detail(
                            Text.printable(error.text("code", "UNKNOWN"), 64),
                            Text.printable(
                                    error.text("message", "") + about(error), MAX_DETAIL_CHARS)));
        }
        return details;
    }

    /// The digest that an error is about, which registries leave out of their message. Nothing else
    /// of the detail is shown: it may be anything.
    private static String about(JsonNode error) {
        try {
            String detail = error.text("detail", "");
            return detail.isEmpty() ? "" : " (" + Digest.parse(detail) + ")";
        } catch (ImageException e) {
            return "";
        }
    }

    static ErrorKind kind(int status) {
        return switch (status) {
            case 401 -> ErrorKind.UNAUTHENTICATED;
            case 403 -> ErrorKind.PERMISSION_DENIED;
            case 404 -> ErrorKind.NOT_FOUND;
            case 429 -> ErrorKind.RATE_LIMITED;
            case 408 -> ErrorKind.UNAVAILABLE;
            default -> status >= 500 && status != 501 ? ErrorKind.UNAVAILABLE : ErrorKind.UNKNOWN;
        };
    }

    private static String meaning(int status) {
        return switch (status) {
            case 401 -> "not authorised";
            case 403 -> "denied";
            case 404 -> "not found";
            case 429 -> "too many requests";
            default ->
                    status >= 500
                            ? "the registry failed"
                            : status >= 400 ? "refused" : "unexpected answer";
        };
    }

    private static String writingAdvice(int status) {
        return switch (status) {
            case 401 -> "; log in with an account that may write to the repository";
            case 403 -> "; check that this account may write to the repository";
            case 405 -> "; the registry does not allow it: see its configuration";
            case 413 -> "; the registry, or a proxy before it, takes no bodies of this size";
            case 429 -> "; try again later";
            default -> "";
        };
    }

    private static String advice(int status) {
        return switch (status) {
            case 401 -> "; log in, or check that the repository exists";
            case 403 -> "; check that this account may pull the repository";
            case 404 -> "; check the name and the tag or digest";
            case 429 -> "; try again later or log in for a higher limit";
            default -> "";
        };
    }
}
