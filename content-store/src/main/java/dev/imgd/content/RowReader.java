package dev.imgd.content;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Platform;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Reads what [RowWriter] wrote. Every error is `DATA_LOSS` and names the row.
final class RowReader {
    private final String what;
    private final byte[] row;
    private int at;

    /// @param what the row, for messages
    /// @param version the only version this program understands
    RowReader(String what, byte[] row, int version) throws ImageException {
        this.what = what;
        this.row = row;
        int got = next();
        if (got != version) {
            throw new ImageException(
                    ErrorKind.FAILED_PRECONDITION,
                    ("%s: wanted row version %d, got %d;"
                                    + " the store was written by another version of imgd")
                            .formatted(what, version, got));
        }
    }

    private int next() throws ImageException {
        if (at >= row.length) {
            throw damaged("it ends too early");
        }
        return row[at++] & 0xFF;
    }

    private ImageException damaged(String reason) {
        return new ImageException(
                ErrorKind.DATA_LOSS, "%s: the row is damaged: %s".formatted(what, reason));
    }

    long number() throws ImageException {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            int b = next();
            value |= (long) (b & 0x7F) << shift;
            if (b < 0x80) {
                return value;
            }
        }
        throw damaged("a number is too long");
    }

    private int length() throws ImageException {
        long length = number();
        if (length < 0 || length > row.length - at) {
            throw damaged("a length runs past the end");
        }
        return (int) length;
    }

    byte[] bytes() throws ImageException {
        int length = length();
        byte[] value = Arrays.copyOfRange(row, at, at + length);
        at += length;
        return value;
    }

    String text() throws ImageException {
        int length = length();
        String value = new String(row, at, length, StandardCharsets.UTF_8);
        at += length;
        return value;
    }

    boolean flag() throws ImageException {
        return next() != 0;
    }

    Digest digest() throws ImageException {
        try {
            return Digest.parse(text());
        } catch (ImageException e) {
            throw damaged(String.valueOf(e.getMessage()));
        }
    }

    Instant time() throws ImageException {
        long zigzag = number();
        long nanos = number();
        try {
            return Instant.ofEpochSecond((zigzag >>> 1) ^ -(zigzag & 1), nanos);
        } catch (DateTimeException | ArithmeticException e) {
            throw damaged("a time is out of range");
        }
    }

    List<String> texts() throws ImageException {
        int count = length();
        List<String> values = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            values.add(text());
        }
        return values;
    }

    Map<String, String> map() throws ImageException {
        int count = length();
        Map<String, String> values = HashMap.newHashMap(count);
        for (int i = 0; i < count; i++) {
            String key = text();
            values.put(key, text());
        }
        return values;
    }

    Optional<String> optionalText() throws ImageException {
        return flag() ? Optional.of(text()) : Optional.empty();
    }

    Descriptor descriptor() throws ImageException {
        String mediaType = text();
        Digest digest = digest();
        long size = number();
        Map<String, String> annotations = map();
        List<String> urls = texts();
        Optional<String> artifactType = optionalText();
        Optional<Platform> platform =
                flag()
                        ? Optional.of(new Platform(text(), text(), text(), text(), texts()))
                        : Optional.empty();
        if (size < 0 || size > Descriptor.MAX_SIZE_BYTES) {
            throw damaged("a size is out of range");
        }
        return new Descriptor(
                mediaType,
                digest,
                size,
                annotations,
                urls,
                platform,
                artifactType,
                Optional.empty());
    }
}
