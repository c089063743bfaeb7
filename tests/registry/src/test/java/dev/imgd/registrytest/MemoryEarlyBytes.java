package dev.imgd.registrytest;

import dev.imgd.model.EarlyBytes;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/// Early bytes of a store that is in memory.
final class MemoryEarlyBytes implements EarlyBytes {
    private final List<Bytes> places = new ArrayList<>();

    /// What a process that is started now would find.
    synchronized MemoryEarlyBytes copy() {
        MemoryEarlyBytes copy = new MemoryEarlyBytes();
        for (Bytes place : places) {
            Bytes same = copy.new Bytes(place.offset);
            same.size = place.size;
            System.arraycopy(place.bytes, 0, same.bytes, 0, place.size);
            copy.places.add(same);
        }
        return copy;
    }

    @Override
    public synchronized List<Place> kept() {
        return places.stream()
                .filter(place -> place.size > 0)
                .sorted(Comparator.comparingLong(Bytes::offset))
                .map(Place.class::cast)
                .toList();
    }

    @Override
    public synchronized Place open(long offset) {
        Bytes place = new Bytes(offset);
        places.add(place);
        return place;
    }

    private final class Bytes implements Place {
        private final long offset;
        private final byte[] bytes = new byte[PLACE_BYTES];
        private int size;

        Bytes(long offset) {
            this.offset = offset;
        }

        @Override
        public long offset() {
            return offset;
        }

        @Override
        public int sizeBytes() {
            synchronized (MemoryEarlyBytes.this) {
                return size;
            }
        }

        @Override
        public void add(ByteBuffer added) {
            synchronized (MemoryEarlyBytes.this) {
                added.duplicate().get(bytes, size, added.remaining());
                size += added.remaining();
            }
        }

        @Override
        public void read(int from, ByteBuffer into) {
            synchronized (MemoryEarlyBytes.this) {
                into.put(bytes, from, into.remaining());
            }
        }

        @Override
        public void discard() {
            free();
        }

        @Override
        public void free() {
            synchronized (MemoryEarlyBytes.this) {
                places.remove(this);
            }
        }
    }
}
