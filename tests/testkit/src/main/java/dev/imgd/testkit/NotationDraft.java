package dev.imgd.testkit;

import dev.imgd.model.Descriptor;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Optional;

/// A signature of the Notary Project in the making, JWS or COSE, signed by `openssl`. As made it is
/// right; a test changes what it wants to be wrong, one field at a time. **Source:** Notary Project
/// signature-envelope-jws.md and signature-envelope-cose.md.
public class NotationDraft {
    /// The artifact type of the manifest that holds an envelope.
    public static final String TYPE = "application/vnd.cncf.notary.signature";

    private final OpenSsl openssl;

    /// Of the leaf.
    public Path key;

    /// Certificates, the leaf first.
    public List<Path> chain;

    /// As JWS calls it; COSE has numbers for the same.
    public String algorithm;

    public String scheme = "notary.x509";

    /// The name of the time of signing.
    public String timeName = "io.cncf.notary.signingTime";

    public Optional<Instant> expiry = Optional.empty();

    /// Names that whoever reads the envelope must understand.
    public List<String> critical = new ArrayList<>(List.of("io.cncf.notary.signingScheme"));

    public String contentType = "application/vnd.cncf.notary.payload.v1+json";

    /// What is signed.
    public String payload;

    /// COSE instead of JWS.
    public boolean cose;

    /// A JWS that is right.
    ///
    /// @param keyType of `key`, as [OpenSsl#key] takes it
    public NotationDraft(
            OpenSsl openssl, String keyType, Path key, List<Path> chain, String payload) {
        this.openssl = openssl;
        this.key = key;
        this.chain = chain;
        this.payload = payload;
        algorithm =
                switch (keyType) {
                    case "P-384" -> "ES384";
                    case "P-521" -> "ES512";
                    case "RSA2048" -> "PS256";
                    case "RSA3072" -> "PS384";
                    case "RSA4096" -> "PS512";
                    default -> "ES256";
                };
    }

    /// The media type of the layer that holds the envelope.
    public String mediaType() {
        return cose ? "application/cose" : "application/jose+json";
    }

    private byte[] sign(byte[] signed) throws Exception {
        String bits = algorithm.substring(2);
        if (algorithm.startsWith("PS")) {
            return openssl.sign(
                    key,
                    "-sha" + bits,
                    signed,
                    List.of(
                            "-sigopt",
                            "rsa_padding_mode:pss",
                            "-sigopt",
                            "rsa_pss_saltlen:" + Integer.parseInt(bits) / 8));
        }
        int length = bits.equals("512") ? 66 : Integer.parseInt(bits) / 8;
        return concatenated(openssl.sign(key, "-sha" + bits, signed, List.of()), length);
    }

    /// The envelope.
    public byte[] build() throws Exception {
        return cose ? buildCose() : buildJws();
    }

    private byte[] buildJws() throws Exception {
        StringBuilder header = new StringBuilder("{");
        header.append("\"alg\":\"%s\",\"cty\":\"%s\",".formatted(algorithm, contentType));
        header.append("\"crit\":[\"%s\"],".formatted(String.join("\",\"", critical)));
        header.append("\"io.cncf.notary.signingScheme\":\"%s\",".formatted(scheme));
        header.append("\"%s\":\"2026-01-01T00:00:00Z\"".formatted(timeName));
        expiry.ifPresent(at -> header.append(",\"io.cncf.notary.expiry\":\"%s\"".formatted(at)));
        header.append('}');
        String protectedHeader = url(header.toString().getBytes(StandardCharsets.UTF_8));
        String body = url(payload.getBytes(StandardCharsets.UTF_8));
        byte[] signature = sign((protectedHeader + "." + body).getBytes(StandardCharsets.UTF_8));
        List<String> certificates = new ArrayList<>();
        for (Path certificate : chain) {
            certificates.add(Base64.getEncoder().encodeToString(openssl.der(certificate)));
        }
        return "{\"payload\":\"%s\",\"protected\":\"%s\",\"header\":{\"x5c\":[\"%s\"],\"io.cncf.notary.signingAgent\":\"test\"},\"signature\":\"%s\"}"
                .formatted(
                        body, protectedHeader, String.join("\",\"", certificates), url(signature))
                .getBytes(StandardCharsets.UTF_8);
    }

    private byte[] buildCose() throws Exception {
        int alg =
                switch (algorithm) {
                    case "ES256" -> -7;
                    case "ES384" -> -35;
                    case "ES512" -> -36;
                    case "PS256" -> -37;
                    case "PS384" -> -38;
                    default -> -39;
                };
        CborWriter header = new CborWriter();
        header.head(5, expiry.isPresent() ? 6 : 5);
        header.integer(1).integer(alg);
        header.integer(2).head(4, critical.size());
        critical.forEach(header::text);
        header.integer(3).text(contentType);
        header.text("io.cncf.notary.signingScheme").text(scheme);
        header.text(timeName).head(6, 1).integer(1767225600);
        expiry.ifPresent(
                at -> header.text("io.cncf.notary.expiry").head(6, 1).integer(at.getEpochSecond()));
        byte[] body = payload.getBytes(StandardCharsets.UTF_8);
        byte[] signed =
                new CborWriter()
                        .head(4, 4)
                        .text("Signature1")
                        .bytes(header.toBytes())
                        .bytes(new byte[0])
                        .bytes(body)
                        .toBytes();
        CborWriter message = new CborWriter();
        message.head(6, 18).head(4, 4).bytes(header.toBytes());
        message.head(5, 2).integer(33).head(4, chain.size());
        for (Path certificate : chain) {
            message.bytes(openssl.der(certificate));
        }
        message.text("io.cncf.notary.signingAgent").text("test");
        return message.bytes(body).bytes(sign(signed)).toBytes();
    }

    /// The payload that signs an image.
    public static String target(Descriptor image) {
        return "{\"targetArtifact\":{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%d}}"
                .formatted(image.mediaType(), image.digest(), image.sizeBytes());
    }

    private static String url(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    /// From `SEQUENCE { INTEGER r, INTEGER s }` to r and s of equal length.
    private static byte[] concatenated(byte[] der, int length) {
        int at = (der[1] & 0x80) == 0 ? 2 : 3;
        byte[] out = new byte[2 * length];
        for (int half = 1; half <= 2; half++) {
            int size = der[at + 1] & 0xff;
            byte[] number = Arrays.copyOfRange(der, at + 2, at + 2 + size);
            int zeros = Math.max(0, size - length);
            int count = size - zeros;
            System.arraycopy(number, zeros, out, half * length - count, count);
            at += 2 + size;
        }
        return out;
    }

    /// Writes what COSE needs of CBOR.
    private static final class CborWriter {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        CborWriter head(int major, long value) {
            if (value < 24) {
                out.write(major << 5 | (int) value);
            } else if (value < 1 << 8) {
                out.write(major << 5 | 24);
                out.write((int) value);
            } else if (value < 1 << 16) {
                out.write(major << 5 | 25);
                out.writeBytes(ByteBuffer.allocate(2).putShort((short) value).array());
            } else {
                out.write(major << 5 | 26);
                out.writeBytes(ByteBuffer.allocate(4).putInt((int) value).array());
            }
            return this;
        }

        CborWriter integer(long value) {
            return value < 0 ? head(1, -1 - value) : head(0, value);
        }

        CborWriter text(String value) {
            byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
            head(3, bytes.length);
            out.writeBytes(bytes);
            return this;
        }

        CborWriter bytes(byte[] value) {
            head(2, value.length);
            out.writeBytes(value);
            return this;
        }

        byte[] toBytes() {
            return out.toByteArray();
        }
    }
}
