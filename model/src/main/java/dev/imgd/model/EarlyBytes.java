package dev.imgd.model;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/// Bytes of one blob that came before their turn, kept where they outlive the process: who goes on
/// after a kill need not fetch them again. Keeping is an economy only, so it never fails.
///
/// Safe for use by many threads; each place is for one at a time. Whoever made it closes it.
public interface EarlyBytes {
    /// How many bytes a place holds.
    int PLACE_BYTES = 512 << 10;

    /// Keeps nothing.
    EarlyBytes NONE =
            new EarlyBytes() {
                @Override
                public List<Place> kept() {
                    return List.of();
                }

                @Override
                public Place open(long offset) {
                    return new Nowhere(offset);
                }
            };

    /// What was kept before and not yet freed, by offset and without overlaps; none after the
    /// machine was restarted.
    List<Place> kept();

    /// An empty place for the bytes from an offset of the blob on.
    Place open(long offset);

    /// Room for [#PLACE_BYTES] bytes that follow each other in the blob.
    interface Place {
        /// Where in the blob its first byte is.
        long offset();

        int sizeBytes();

        /// Appends the remaining bytes of the buffer, whose position does not change. At most
        /// [#PLACE_BYTES] in all.
        void add(ByteBuffer bytes);

        /// Reads the bytes from an offset in the place on, until the buffer is full.
        void read(int from, ByteBuffer into) throws IOException;

        /// Lets others use the place; it is not used any more. Until they do, a later process may
        /// find what it holds.
        void free();

        /// As [#free], of bytes that nobody is to find.
        void discard();
    }

    /// A place that keeps nothing.
    record Nowhere(long offset) implements Place {
        @Override
        public int sizeBytes() {
            return 0;
        }

        @Override
        public void add(ByteBuffer bytes) {}

        @Override
        public void read(int from, ByteBuffer into) {}

        @Override
        public void free() {}

        @Override
        public void discard() {}
    }
}
