package dev.imgd.image;

import dev.imgd.layers.Growth;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Limits;
import java.io.File;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;

/// What the layers of one pull have grown to so far, against the size an image may have and the
/// room there is on disk. Layers are unpacked side by side, so each has a share of one sum.
/// Thread-safe.
final class UnpackBudget {
    /// How much a layer grows between two looks at the file system.
    private static final long STEP_BYTES = 16L << 20;

    /// The reserve is at most this part of the file system: small stores must be usable too.
    private static final int RESERVE_DIVISOR = 20;

    private final String what;
    private final Limits limits;
    private final AtomicLong total = new AtomicLong();

    /// @param what the image, for error messages
    UnpackBudget(String what, Limits limits) {
        this.what = what;
        this.limits = limits;
    }

    /// The share of one layer. Closing gives it back unless the layer is kept.
    ///
    /// @param directory where the layer is unpacked
    Share share(Path directory) {
        return new Share(directory.toFile());
    }

    /// For the thread that unpacks the layer.
    final class Share implements Growth, AutoCloseable {
        private final File directory;
        private long bytes;
        private boolean kept;

        private Share(File directory) {
            this.directory = directory;
        }

        @Override
        public void grown(int more) throws ImageException {
            long before = bytes;
            bytes += more;
            if (total.addAndGet(more) > limits.imageUncompressedBytes()) {
                throw limits.exceeded(
                        Limits.Key.IMAGE_UNCOMPRESSED_BYTES, what + ": size of all layers");
            }
            if (bytes / STEP_BYTES != before / STEP_BYTES) {
                requireRoom();
            }
        }

        private void requireRoom() throws ImageException {
            long size = directory.getTotalSpace();
            long free = directory.getUsableSpace();
            long reserve = Math.min(limits.diskReserveBytes(), size / RESERVE_DIVISOR);
            // A size of 0 means that the file system does not say.
            if (size > 0 && free < reserve) {
                throw new ImageException(
                        ErrorKind.NO_SPACE,
                        ("%s: unpacking would fill the disk: wanted %d bytes to stay free (%s), got"
                                        + " %d; free some or run imgctl gc")
                                .formatted(
                                        what,
                                        reserve,
                                        Limits.Key.DISK_RESERVE_BYTES.configKey(),
                                        free));
            }
        }

        /// Counts the layer for good.
        void keep() {
            kept = true;
        }

        @Override
        public void close() {
            if (!kept) {
                kept = true;
                total.addAndGet(-bytes);
            }
        }
    }
}
