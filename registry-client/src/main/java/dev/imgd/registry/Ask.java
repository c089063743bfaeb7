package dev.imgd.registry;

import java.time.Duration;
import java.util.Map;
import okhttp3.HttpUrl;
import okhttp3.RequestBody;
import org.jspecify.annotations.Nullable;

/// One thing wanted from a host.
///
/// @param what the thing and the image it belongs to, for error messages
/// @param method of the request
/// @param scope what a token for it must allow
/// @param accept value of the `Accept` header
/// @param range value of the `Range` header
/// @param headers further headers; of a read they are for the host itself and not for where it
///   redirects to
/// @param body what is sent along; an [UploadBody] is given the time it takes
/// @param alone whether the answer must not share a connection with others
/// @param whereabouts remembers where redirects lead, for the next request for the same; null to
///   follow them each time
/// @param patience how much longer than usual the answer may take once everything is sent
record Ask(
        String what,
        String method,
        HttpUrl url,
        Scope scope,
        @Nullable String accept,
        @Nullable String range,
        Map<String, String> headers,
        @Nullable RequestBody body,
        boolean alone,
        @Nullable Whereabouts whereabouts,
        Duration patience) {

    /// A GET.
    ///
    /// @param repository decides the scope of the token
    Ask(
            String what,
            HttpUrl url,
            String repository,
            @Nullable String accept,
            @Nullable String range) {
        this(what, "GET", url, Scope.pull(repository), accept, range);
    }

    private Ask(
            String what,
            String method,
            HttpUrl url,
            Scope scope,
            @Nullable String accept,
            @Nullable String range) {
        this(what, method, url, scope, accept, range, Map.of(), null, false, null, Duration.ZERO);
    }

    /// A request without a body: GET, HEAD or DELETE; POST with an empty one.
    static Ask of(String what, String method, HttpUrl url, Scope scope) {
        Ask ask = new Ask(what, method, url, scope, null, null);
        return method.equals("POST") ? ask.withBody(RequestBody.create(new byte[0])) : ask;
    }

    Ask withRange(@Nullable String value) {
        return new Ask(
                what,
                method,
                url,
                scope,
                accept,
                value,
                headers,
                body,
                alone,
                whereabouts,
                patience);
    }

    Ask withAccept(String value) {
        return new Ask(
                what,
                method,
                url,
                scope,
                value,
                range,
                headers,
                body,
                alone,
                whereabouts,
                patience);
    }

    Ask withHeaders(Map<String, String> value) {
        return new Ask(
                what, method, url, scope, accept, range, value, body, alone, whereabouts, patience);
    }

    Ask withBody(RequestBody value) {
        return new Ask(
                what,
                method,
                url,
                scope,
                accept,
                range,
                headers,
                value,
                alone,
                whereabouts,
                patience);
    }

    Ask onItsOwnConnection() {
        return new Ask(
                what,
                method,
                url,
                scope,
                accept,
                range,
                headers,
                body,
                true,
                whereabouts,
                patience);
    }

    /// Remembers where redirects lead.
    Ask withWhereabouts(Whereabouts value) {
        return new Ask(
                what, method, url, scope, accept, range, headers, body, alone, value, patience);
    }

    Ask withPatience(Duration value) {
        return new Ask(
                what, method, url, scope, accept, range, headers, body, alone, whereabouts, value);
    }

    /// Whether the request asks and changes nothing, so that it may be sent where a redirect leads.
    boolean isRead() {
        return method.equals("GET") || method.equals("HEAD");
    }

    boolean isWrite() {
        return !isRead();
    }
}
