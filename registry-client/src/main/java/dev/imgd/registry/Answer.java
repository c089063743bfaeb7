package dev.imgd.registry;

import dev.imgd.model.RegistryException;
import okhttp3.Call;
import okhttp3.Response;

/// An answer whose body has not been read.
///
/// @param from the host and port that sent it, after redirects
/// @param moved whether a redirect led to another host, port or scheme
/// @param options of the client: limits of what is read of it to explain a failure, and a clock
/// @param wording what is known of why it is a refusal
record Answer(
        Call call,
        Response response,
        String from,
        boolean moved,
        RegistryOptions options,
        ErrorBody.Wording wording)
        implements AutoCloseable {
    /// The same with what is known of why it is a refusal.
    Answer with(ErrorBody.Wording known) {
        return new Answer(call, response, from, moved, options, known);
    }

    int status() {
        return response.code();
    }

    /// The error that an answer is which is not a success. Reads its body; the caller closes it.
    ///
    /// @param what was wanted
    /// @param writing whether the request was to change something
    RegistryException failure(String what, boolean writing) {
        return ErrorBody.exception(what, from, response, options, writing, wording);
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
