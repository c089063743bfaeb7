package dev.imgd.layers;

/// Lends a second thread to the pass over a layer while a processor is free for it. Called by the
/// thread that applies the layer.
@FunctionalInterface
public interface Assistant {
    /// Has never time.
    Assistant NONE = _ -> false;

    /// Runs `work` on another thread, now or never. It reads the source, up to 2 MiB more than it
    /// has read, while the calling thread does not; the pass waits for it before it ends.
    ///
    /// @return whether it runs; if not, the calling thread does the work itself
    boolean begin(Runnable work);
}
