package dev.imgd.trust;

import dev.imgd.model.ImageException;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

/// One element of ASN.1 in DER: a tag and its content. Only what key files and CMS messages need:
/// tags of one byte and lengths that are stated. Immutable, as long as nobody changes what
/// [#content] gives. **Source:** X.690.
final class Der {
    static final int INTEGER = 0x02;
    static final int OCTETS = 0x04;
    static final int NULL = 0x05;
    static final int OID = 0x06;
    static final int SEQUENCE = 0x30;
    static final int SET = 0x31;

    /// The tag `[0]` of a constructed element.
    static final int CONTEXT_0 = 0xa0;

    private static final int MAX_ELEMENTS = 1024;

    private final int tag;
    private final byte[] content;

    /// @param tag with its class and the bit of constructed ones
    Der(int tag, byte[] content) {
        this.tag = tag;
        this.content = content;
    }

    int tag() {
        return tag;
    }

    byte[] content() {
        return content;
    }

    /// Reads one element that takes all of the bytes.
    ///
    /// @param what for messages
    static Der parse(String what, byte[] bytes) throws ImageException {
        List<Der> all = elements(what, bytes);
        if (all.size() != 1) {
            throw ImageException.invalidContent(
                    "%s: wanted one DER element, got %d".formatted(what, all.size()));
        }
        return all.getFirst();
    }

    private static List<Der> elements(String what, byte[] bytes) throws ImageException {
        List<Der> elements = new ArrayList<>();
        int at = 0;
        while (at < bytes.length) {
            int tag = bytes[at++] & 0xff;
            if ((tag & 0x1f) == 0x1f || at == bytes.length) {
                throw malformed(what);
            }
            int length = bytes[at++] & 0xff;
            if (length >= 0x80) {
                int size = length & 0x7f;
                if (size == 0 || size > 3 || size > bytes.length - at || bytes[at] == 0) {
                    throw malformed(what); // not stated, not shortest, or larger than 16 MiB
                }
                length = 0;
                for (int i = 0; i < size; i++) {
                    length = length << 8 | (bytes[at++] & 0xff);
                }
                if (length < 0x80) {
                    throw malformed(what);
                }
            }
            if (length > bytes.length - at || elements.size() == MAX_ELEMENTS) {
                throw malformed(what);
            }
            elements.add(new Der(tag, Arrays.copyOfRange(bytes, at, at + length)));
            at += length;
        }
        return elements;
    }

    private static ImageException malformed(String what) {
        return ImageException.invalidContent(what + ": malformed DER");
    }

    /// The elements inside.
    ///
    /// @throws ImageException `INVALID_CONTENT` unless this has that tag
    List<Der> items(String what, int wanted) throws ImageException {
        return elements(what, bytes(what, wanted));
    }

    /// The content.
    ///
    /// @throws ImageException `INVALID_CONTENT` unless this has that tag
    byte[] bytes(String what, int wanted) throws ImageException {
        if (tag != wanted) {
            throw ImageException.invalidContent(
                    "%s: wanted the DER tag 0x%02x, got 0x%02x".formatted(what, wanted, tag));
        }
        return content;
    }

    /// Whether this is that object identifier, whose encoded content is given in hexadecimal.
    boolean isOid(String hex) {
        return tag == OID && HexFormat.of().formatHex(content).equals(hex);
    }

    /// An object identifier.
    ///
    /// @param hex its encoded content
    static Der oid(String hex) {
        return new Der(OID, HexFormat.of().parseHex(hex));
    }

    /// An integer from 0 to 127.
    static Der integer(int value) {
        return new Der(INTEGER, new byte[] {(byte) value});
    }

    /// An element of others.
    static Der of(int tag, Der... items) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        for (Der item : items) {
            content.writeBytes(item.encoded());
        }
        return new Der(tag, content.toByteArray());
    }

    byte[] encoded() {
        ByteArrayOutputStream out = new ByteArrayOutputStream(content.length + 5);
        out.write(tag);
        int length = content.length;
        if (length < 0x80) {
            out.write(length);
        } else {
            int size = length < 1 << 8 ? 1 : length < 1 << 16 ? 2 : 3;
            out.write(0x80 | size);
            for (int i = size - 1; i >= 0; i--) {
                out.write(length >>> (8 * i));
            }
        }
        out.writeBytes(content);
        return out.toByteArray();
    }

    /// Without the content, which may be a key.
    @Override
    public String toString() {
        return "DER element 0x%02x of %d bytes".formatted(tag, content.length);
    }
}
