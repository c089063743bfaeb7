package dev.imgd.layers;

import java.util.Arrays;

/// The data regions of a sparse file, in order and without overlap; everything else is a hole.
final class SparseMap {
    private long[] regions = new long[8];
    private int count;
    private long realSize;
    private long dataBytes;

    /// Adds a region.
    ///
    /// @throws TarFormatException when it is not behind the region before it
    void add(long offset, long length) throws TarFormatException {
        long end = count == 0 ? 0 : regions[2 * count - 2] + regions[2 * count - 1];
        if (offset < end || length < 0 || offset > Long.MAX_VALUE - length) {
            throw new TarFormatException(
                    "sparse region %d: wanted one from byte %d on, got %d bytes at %d"
                            .formatted(count, end, length, offset));
        }
        if (2 * count == regions.length) {
            regions = Arrays.copyOf(regions, 2 * regions.length);
        }
        regions[2 * count] = offset;
        regions[2 * count + 1] = length;
        count++;
        dataBytes += length;
    }

    /// Fixes the size of the file.
    ///
    /// @param storedBytes how much data the archive has for it
    /// @throws TarFormatException when regions and sizes disagree
    void complete(long fileSize, long storedBytes) throws TarFormatException {
        long end = count == 0 ? 0 : regions[2 * count - 2] + regions[2 * count - 1];
        if (fileSize < end) {
            throw new TarFormatException(
                    "sparse file of %d bytes has a region that ends at %d"
                            .formatted(fileSize, end));
        }
        if (dataBytes != storedBytes) {
            throw new TarFormatException(
                    "sparse file: wanted %d bytes of data, got %d"
                            .formatted(dataBytes, storedBytes));
        }
        realSize = fileSize;
    }

    int count() {
        return count;
    }

    long offset(int region) {
        return regions[2 * region];
    }

    long length(int region) {
        return regions[2 * region + 1];
    }

    /// The size of the file with its holes.
    long realSize() {
        return realSize;
    }
}
