package dev.imgd.trust;

import dev.imgd.model.Bytes;
import dev.imgd.model.ImageException;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// The part of CBOR that COSE messages use, read strictly: definite lengths, no floating point, no
/// key twice, nothing after the item, nested at most 8 deep, at most 1,000 items. **Source:** RFC
/// 8949.
sealed interface Cbor {
    record Int(long value) implements Cbor {}

    record Binary(Bytes value) implements Cbor {}

    record Text(String value) implements Cbor {}

    record Array(List<Cbor> items) implements Cbor {}

    /// Keys are [Int] or [Text].
    record Dictionary(Map<Cbor, Cbor> members) implements Cbor {}

    record Tagged(long tag, Cbor content) implements Cbor {}

    /// `false`, `true`, `null` and `undefined`: 20 to 23.
    record Simple(int value) implements Cbor {}

    /// @throws ImageException `INVALID_CONTENT`
    static Cbor parse(String what, byte[] document) throws ImageException {
        Reader reader = new Reader(what, ByteBuffer.wrap(document));
        Cbor item = reader.item(0);
        if (reader.in.hasRemaining()) {
            throw reader.invalid("more data after the item");
        }
        return item;
    }

    /// A `Sig_structure` of one signer. **Source:** RFC 9052 § 4.4.
    static byte[] signatureStructure(byte[] protectedHeader, byte[] payload) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        head(out, 4, 4);
        byte[] context = "Signature1".getBytes(StandardCharsets.US_ASCII);
        head(out, 3, context.length);
        out.writeBytes(context);
        head(out, 2, protectedHeader.length);
        out.writeBytes(protectedHeader);
        head(out, 2, 0);
        head(out, 2, payload.length);
        out.writeBytes(payload);
        return out.toByteArray();
    }

    private static void head(ByteArrayOutputStream out, int major, int length) {
        if (length < 24) {
            out.write(major << 5 | length);
        } else if (length < 1 << 8) {
            out.write(major << 5 | 24);
            out.write(length);
        } else if (length < 1 << 16) {
            out.write(major << 5 | 25);
            out.write(length >>> 8);
            out.write(length);
        } else {
            out.write(major << 5 | 26);
            out.writeBytes(ByteBuffer.allocate(4).putInt(length).array());
        }
    }

    /// Reads one item after the other.
    final class Reader {
        private static final int MAX_DEPTH = 8;
        private static final int MAX_ITEMS = 1000;

        private final String what;
        private final ByteBuffer in;
        private int items;

        private Reader(String what, ByteBuffer in) {
            this.what = what;
            this.in = in;
        }

        private Cbor item(int depth) throws ImageException {
            if (depth > MAX_DEPTH || ++items > MAX_ITEMS) {
                throw invalid(
                        "nested deeper than %d or more than %d items"
                                .formatted(MAX_DEPTH, MAX_ITEMS));
            }
            int first = next();
            int major = first >>> 5;
            int info = first & 31;
            if (major == 7) {
                if (info < 20 || info > 23) {
                    throw invalid("a value of an unsupported kind");
                }
                return new Simple(info);
            }
            long argument = argument(info);
            return switch (major) {
                case 0 -> new Int(argument);
                case 1 -> new Int(-1 - argument);
                case 2 -> new Binary(Bytes.of(bytes(argument)));
                case 3 -> new Text(text(bytes(argument)));
                case 4 -> array(argument, depth);
                case 5 -> dictionary(argument, depth);
                default -> new Tagged(argument, item(depth + 1));
            };
        }

        private Cbor array(long count, int depth) throws ImageException {
            checkCount(count);
            List<Cbor> content = new ArrayList<>();
            for (long i = 0; i < count; i++) {
                content.add(item(depth + 1));
            }
            return new Array(content);
        }

        private Cbor dictionary(long count, int depth) throws ImageException {
            checkCount(count);
            Map<Cbor, Cbor> members = new LinkedHashMap<>();
            for (long i = 0; i < count; i++) {
                Cbor key = item(depth + 1);
                if (!(key instanceof Int) && !(key instanceof Text)) {
                    throw invalid("a key that is neither a number nor a text");
                }
                if (members.put(key, item(depth + 1)) != null) {
                    throw invalid("the same key twice");
                }
            }
            return new Dictionary(members);
        }

        private void checkCount(long count) throws ImageException {
            if (count > MAX_ITEMS) {
                throw invalid("more than %d items".formatted(MAX_ITEMS));
            }
        }

        private long argument(int info) throws ImageException {
            if (info < 24) {
                return info;
            }
            if (info > 27) {
                throw invalid("an indefinite or reserved length");
            }
            long value = 0;
            for (int i = 0; i < 1 << (info - 24); i++) {
                if (i == 7 && value >>> 55 != 0) {
                    throw invalid("a number of more than 63 bits");
                }
                value = value << 8 | next();
            }
            return value;
        }

        private int next() throws ImageException {
            if (!in.hasRemaining()) {
                throw invalid("ends in the middle of an item");
            }
            return in.get() & 0xff;
        }

        private byte[] bytes(long length) throws ImageException {
            if (length > in.remaining()) {
                throw invalid("ends in the middle of an item");
            }
            byte[] content = new byte[(int) length];
            in.get(content);
            return content;
        }

        private String text(byte[] content) throws ImageException {
            try {
                return StandardCharsets.UTF_8
                        .newDecoder()
                        .onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT)
                        .decode(ByteBuffer.wrap(content))
                        .toString();
            } catch (CharacterCodingException e) {
                throw invalid("a text that is not UTF-8");
            }
        }

        private ImageException invalid(String problem) {
            return ImageException.invalidContent("%s: not valid CBOR: %s".formatted(what, problem));
        }
    }
}
