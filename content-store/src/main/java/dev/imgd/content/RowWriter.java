package dev.imgd.content;

import dev.imgd.model.Descriptor;
import dev.imgd.model.Digest;
import dev.imgd.model.Platform;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/// Writes a row: a version byte, then fields in a fixed order. Numbers are varints of seven bits,
/// low group first; texts and byte strings are preceded by their length. [RowReader] is the
/// inverse.
final class RowWriter {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream(256);

    RowWriter(int version) {
        out.write(version);
    }

    RowWriter number(long value) {
        long rest = value;
        while ((rest & ~0x7FL) != 0) {
            out.write((int) (rest & 0x7F) | 0x80);
            rest >>>= 7;
        }
        out.write((int) rest);
        return this;
    }

    RowWriter bytes(byte[] value) {
        number(value.length);
        out.writeBytes(value);
        return this;
    }

    RowWriter text(String value) {
        return bytes(value.getBytes(StandardCharsets.UTF_8));
    }

    RowWriter flag(boolean value) {
        out.write(value ? 1 : 0);
        return this;
    }

    RowWriter digest(Digest value) {
        return text(value.toString());
    }

    RowWriter time(Instant value) {
        long seconds = value.getEpochSecond();
        return number((seconds << 1) ^ (seconds >> 63)).number(value.getNano());
    }

    RowWriter texts(List<String> values) {
        number(values.size());
        for (String value : values) {
            text(value);
        }
        return this;
    }

    RowWriter map(Map<String, String> values) {
        number(values.size());
        for (Map.Entry<String, String> entry : new TreeMap<>(values).entrySet()) {
            text(entry.getKey()).text(entry.getValue());
        }
        return this;
    }

    RowWriter optionalText(Optional<String> value) {
        flag(value.isPresent());
        value.ifPresent(this::text);
        return this;
    }

    /// The descriptor without embedded data, which the blob holds anyway.
    RowWriter descriptor(Descriptor value) {
        text(value.mediaType()).digest(value.digest()).number(value.sizeBytes());
        map(value.annotations()).texts(value.urls()).optionalText(value.artifactType());
        flag(value.platform().isPresent());
        if (value.platform().isPresent()) {
            Platform p = value.platform().get();
            text(p.os()).text(p.architecture()).text(p.variant());
            text(p.osVersion()).texts(p.osFeatures());
        }
        return this;
    }

    byte[] toBytes() {
        return out.toByteArray();
    }
}
