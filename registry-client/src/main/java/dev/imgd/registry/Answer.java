package dev.imgd.registry;

import okhttp3.Call;
import okhttp3.Response;

/// An answer whose body has not been read.
///
/// @param from the host and port that sent it, after redirects
/// @param moved whether a redirect led to another host, port or scheme
record Answer(Call call, Response response, String from, boolean moved) implements AutoCloseable {
    int status() {
        return response.code();
    }

    /// Drops the connection, whatever is still to come on it.
    void abort() {
        call.cancel();
        response.close();
    }

    /// Gives the connection back for reuse; a short rest of the body is read for that.
    @Override
    public void close() {
        response.close();
    }
}
