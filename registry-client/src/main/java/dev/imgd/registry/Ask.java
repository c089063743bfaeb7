package dev.imgd.registry;

import okhttp3.HttpUrl;

import org.jspecify.annotations.Nullable;

/// One thing wanted from a host.
///
/// @param what the thing and the image it belongs to, for error messages
/// @param repository decides the scope of the token
/// @param range value of the `Range` header
record Ask(
        String what,
        HttpUrl url,
        String repository,
        @Nullable String accept,
        @Nullable String range) {

    Ask withRange(@Nullable String value) {
        return new Ask(what, url, repository, accept, value);
    }
}
