package dev.imgd.registry;

import dev.imgd.model.EarlyBytes;
import dev.imgd.model.EarlyBytes.Place;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// A part of a blob that comes before its turn: in memory for its reader, and kept where it
/// outlives the process. What an earlier process kept is read from there.
///
/// Guarded by its [RangeWindow], but for two things: one worker alone writes behind what is filled,
/// and the reader alone reads what is.
final class WindowChunk {
    private static final int UNIT_BYTES = UnitPool.UNIT_BYTES;

    /// Bytes that came from one host; `end` is an offset in the chunk.
    ///
    /// @param source null where an earlier process fetched them
    private record Piece(@Nullable BlobSource source, int end) {}

    final long start;
    final int length;

    /// Whether a worker is at it.
    boolean fetching;

    /// Whether nothing of it may be found later.
    boolean unwanted;

    /// How much of it is there.
    int filled;

    /// How much of it was read.
    int used;

    private final ByteBuffer[] units;
    private final Place[] places;
    private final List<Piece> pieces = new ArrayList<>(1);

    private WindowChunk(long start, int length, ByteBuffer[] units, Place[] places) {
        this.start = start;
        this.length = length;
        this.units = units;
        this.places = places;
    }

    /// A chunk that a worker is to fill.
    ///
    /// @param units memory for `length` bytes
    static WindowChunk toFetch(long start, int length, ByteBuffer[] units, EarlyBytes early) {
        Place[] places = new Place[units.length];
        for (int i = 0; i < places.length; i++) {
            places[i] = early.open(start + (long) i * UNIT_BYTES);
        }
        WindowChunk chunk = new WindowChunk(start, length, units, places);
        chunk.fetching = true;
        return chunk;
    }

    /// A chunk that an earlier process fetched.
    static WindowChunk kept(Place place) {
        WindowChunk chunk =
                new WindowChunk(
                        place.offset(), place.sizeBytes(), new ByteBuffer[0], new Place[] {place});
        chunk.filled = chunk.length;
        chunk.pieces.add(new Piece(null, chunk.length));
        return chunk;
    }

    long end() {
        return start + length;
    }

    /// The memory for the bytes from `at` on, as far as it is in one piece.
    ByteBuffer room(int at) {
        int inUnit = at % UNIT_BYTES;
        int limit = Math.min(UNIT_BYTES, inUnit + length - at);
        return units[at / UNIT_BYTES].limit(limit).position(inUnit);
    }

    /// Keeps bytes that were written into the memory. For the worker, without the lock.
    void keep(int from, int to) {
        for (int at = from; at < to; ) {
            int inUnit = at % UNIT_BYTES;
            int count = Math.min(UNIT_BYTES - inUnit, to - at);
            places[at / UNIT_BYTES].add(
                    units[at / UNIT_BYTES].duplicate().clear().slice(inUnit, count));
            at += count;
        }
    }

    /// Makes bytes readable.
    void publish(BlobSource source, int to) {
        filled = to;
        if (!pieces.isEmpty() && pieces.getLast().source() == source) {
            pieces.removeLast();
        }
        pieces.add(new Piece(source, to));
    }

    /// Who sent the byte at an offset; null where an earlier process fetched it.
    @Nullable BlobSource source(int at) {
        return piece(at).source();
    }

    /// How many bytes from `at` on can be read at once, and came from one host.
    int readable(int at) {
        return Math.min(piece(at).end() - at, UNIT_BYTES - at % UNIT_BYTES);
    }

    private Piece piece(int at) {
        for (Piece piece : pieces) {
            if (at < piece.end()) {
                return piece;
            }
        }
        throw new IllegalStateException("bytes of nobody");
    }

    /// Copies bytes that are readable. For the reader, without the lock.
    void copy(int from, int count, ByteBuffer into) throws IOException {
        int at = into.position();
        if (units.length == 0) {
            places[0].read(from, into.slice(at, count));
        } else {
            into.put(at, units[from / UNIT_BYTES], from % UNIT_BYTES, count);
        }
        into.position(at + count);
    }

    /// Gives the memory back; nobody may use the chunk any more. What is kept stays.
    void close(UnitPool pool) {
        pool.give(units);
    }

    boolean hasBytesOf(BlobSource source) {
        for (Piece piece : pieces) {
            if (piece.source() == source) {
                return true;
            }
        }
        return false;
    }

    /// Keeps it no more.
    void drop() {
        for (Place place : places) {
            if (unwanted) {
                place.discard();
            } else {
                place.free();
            }
        }
    }
}
