package dev.imgd.registry;

import java.util.concurrent.atomic.AtomicReference;
import okhttp3.HttpUrl;
import org.jspecify.annotations.Nullable;

/// Where a host redirects to for one blob, so that not every range of it takes the way through the
/// host. Known for as long as the place answers with the blob. Safe for use by many threads.
final class Whereabouts {
    private final AtomicReference<@Nullable HttpUrl> place = new AtomicReference<>();

    /// Null when it is not known.
    @Nullable HttpUrl place() {
        return place.get();
    }

    void found(HttpUrl url) {
        place.set(url);
    }

    /// Forgets a place, unless another one has been found since.
    void lost(HttpUrl url) {
        place.compareAndSet(url, null);
    }

    /// Forgets any place.
    void lost() {
        place.set(null);
    }
}
