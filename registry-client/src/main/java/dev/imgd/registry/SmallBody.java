package dev.imgd.registry;

import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.IOException;
import okio.BufferedSource;

/// Reads documents whole, within the limit for manifests and within the time for headers.
final class SmallBody {
    private SmallBody() {}

    static byte[] read(String what, Answer answer, RegistryOptions options, Operation operation)
            throws ImageException {
        long limit = options.limits().manifestBytes();
        try (Deadline deadline = Deadline.start(answer.call(), options.headerTimeout())) {
            BufferedSource source = answer.response().body().source();
            boolean longer;
            try {
                longer = source.request(limit + 1);
            } catch (IOException e) {
                answer.abort();
                operation.check(what, e);
                throw TransportFailure.of(deadline.explain(e)).exception(what, answer.from(), e);
            }
            if (longer) {
                answer.abort();
                throw options.limits()
                        .exceeded(Limits.Key.MANIFEST_BYTES, what + " from " + answer.from());
            }
            return source.getBuffer().readByteArray();
        }
    }
}
