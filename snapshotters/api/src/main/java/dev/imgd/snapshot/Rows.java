package dev.imgd.snapshot;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// The binary form of snapshot and layer rows.
///
/// ```
/// snapshot  u8 version=1 | u8 kind | u8 flags | i64 directory | str layer | str parent
///           | time created | time updated | [flags&1: usage] | u16 n | n × (str key | str value)
/// layer     u8 version=1 | i64 directory | str diffId | usage | time created
/// time      i64 seconds | i32 nanos            usage   i64 bytes | i64 inodes
/// str       u16 length | modified UTF-8        flags   1 usage known, 2 lost
/// ```
///
/// Numbers are big-endian.
final class Rows {
    private static final int VERSION = 1;
    private static final int USAGE_KNOWN = 1;
    private static final int LOST = 2;
    private static final Kind[] KINDS = Kind.values();

    private Rows() {}

    static byte[] encode(StoredSnapshot snapshot) {
        SnapshotInfo info = snapshot.info();
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            out.writeByte(VERSION);
            out.writeByte(info.kind().number());
            out.writeByte(
                    (snapshot.usage().isPresent() ? USAGE_KNOWN : 0)
                            | (snapshot.lost() ? LOST : 0));
            out.writeLong(snapshot.directory());
            out.writeUTF(snapshot.layer());
            out.writeUTF(info.parent());
            time(out, info.created());
            time(out, info.updated());
            if (snapshot.usage().isPresent()) {
                usage(out, snapshot.usage().get());
            }
            out.writeShort(info.labels().size());
            for (Map.Entry<String, String> label : info.labels().entrySet()) {
                out.writeUTF(label.getKey());
                out.writeUTF(label.getValue());
            }
        } catch (IOException e) {
            throw new UncheckedIOException("writing to memory", e);
        }
        return bytes.toByteArray();
    }

    static StoredSnapshot snapshot(String view, String name, byte[] row) throws ImageException {
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(row))) {
            version(in);
            Kind kind = KINDS[in.readUnsignedByte() - 1];
            int flags = in.readUnsignedByte();
            long directory = in.readLong();
            String layer = in.readUTF();
            String parent = in.readUTF();
            Instant created = time(in);
            Instant updated = time(in);
            Optional<Usage> usage =
                    (flags & USAGE_KNOWN) != 0 ? Optional.of(usage(in)) : Optional.empty();
            int count = in.readUnsignedShort();
            Map<String, String> labels = HashMap.newHashMap(count);
            for (int i = 0; i < count; i++) {
                String key = in.readUTF();
                labels.put(key, in.readUTF());
            }
            return new StoredSnapshot(
                    view,
                    new SnapshotInfo(name, parent, kind, created, updated, labels),
                    directory,
                    layer,
                    usage,
                    (flags & LOST) != 0);
        } catch (IOException | RuntimeException e) {
            throw unreadable("snapshot " + view + "/" + name, e);
        }
    }

    static byte[] encode(Layer layer) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(128);
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            out.writeByte(VERSION);
            out.writeLong(layer.directory());
            out.writeUTF(layer.diffId().toString());
            usage(out, layer.usage());
            time(out, layer.created());
        } catch (IOException e) {
            throw new UncheckedIOException("writing to memory", e);
        }
        return bytes.toByteArray();
    }

    static Layer layer(String id, byte[] row) throws ImageException {
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(row))) {
            version(in);
            long directory = in.readLong();
            Digest diffId = Digest.parse(in.readUTF());
            Usage usage = usage(in);
            return new Layer(id, diffId, directory, usage, time(in));
        } catch (IOException | RuntimeException e) {
            throw unreadable("layer " + id, e);
        }
    }

    private static void version(DataInputStream in) throws IOException {
        int version = in.readUnsignedByte();
        if (version != VERSION) {
            throw new IOException("wanted format 1, got " + version);
        }
    }

    private static void time(DataOutputStream out, Instant time) throws IOException {
        out.writeLong(time.getEpochSecond());
        out.writeInt(time.getNano());
    }

    private static Instant time(DataInputStream in) throws IOException {
        long seconds = in.readLong();
        return Instant.ofEpochSecond(seconds, in.readInt());
    }

    private static void usage(DataOutputStream out, Usage usage) throws IOException {
        out.writeLong(usage.sizeBytes());
        out.writeLong(usage.inodes());
    }

    private static Usage usage(DataInputStream in) throws IOException {
        long sizeBytes = in.readLong();
        return new Usage(sizeBytes, in.readLong());
    }

    private static ImageException unreadable(String what, Exception cause) {
        return new ImageException(
                ErrorKind.DATA_LOSS,
                what + ": its row in the database is unreadable: " + cause.getMessage(),
                cause);
    }
}
