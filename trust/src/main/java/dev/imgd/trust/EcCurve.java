package dev.imgd.trust;

import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import java.math.BigInteger;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.interfaces.ECPublicKey;
import java.security.spec.ECFieldFp;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;

/// An elliptic curve of JOSE. **Source:** RFC 7518 6.2.1.
///
/// @param bytes the length of a coordinate
record EcCurve(String name, ECParameterSpec parameters, int bytes) {
    /// The curve of a name such as `P-256`.
    static EcCurve named(String name) throws ImageException {
        return switch (name) {
            case "P-256" -> of("P-256", "secp256r1", 32);
            case "P-384" -> of("P-384", "secp384r1", 48);
            case "P-521" -> of("P-521", "secp521r1", 66);
            default ->
                    throw ImageException.invalidContent(
                            "wanted the curve P-256, P-384 or P-521, got \"%s\""
                                    .formatted(Text.printable(name, 40)));
        };
    }

    private static EcCurve of(String name, String standard, int bytes) {
        try {
            AlgorithmParameters parameters = AlgorithmParameters.getInstance("EC");
            parameters.init(new ECGenParameterSpec(standard));
            return new EcCurve(name, parameters.getParameterSpec(ECParameterSpec.class), bytes);
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every JDK has the curve " + name, e);
        }
    }

    /// The curve of a key.
    static EcCurve of(ECParameterSpec parameters) throws ImageException {
        // The JDK has only one curve of each size.
        return named("P-" + parameters.getOrder().bitLength());
    }

    /// A public key of this curve.
    ///
    /// @throws ImageException `INVALID_CONTENT` when the point is not on it, with which it would
    ///   give away bits of the private key it is combined with
    ECPublicKey point(String what, byte[] x, byte[] y) throws ImageException {
        if (x.length != bytes || y.length != bytes) {
            throw ImageException.invalidContent(
                    "%s: wanted coordinates of %d bytes".formatted(what, bytes));
        }
        BigInteger p = ((ECFieldFp) parameters.getCurve().getField()).getP();
        BigInteger px = new BigInteger(1, x);
        BigInteger py = new BigInteger(1, y);
        BigInteger right =
                px.pow(3)
                        .add(parameters.getCurve().getA().multiply(px))
                        .add(parameters.getCurve().getB());
        if (px.compareTo(p) >= 0
                || py.compareTo(p) >= 0
                || !py.pow(2).subtract(right).mod(p).equals(BigInteger.ZERO)) {
            throw ImageException.invalidContent(
                    "%s: the point is not on the curve %s".formatted(what, name));
        }
        try {
            return (ECPublicKey)
                    KeyFactory.getInstance("EC")
                            .generatePublic(new ECPublicKeySpec(new ECPoint(px, py), parameters));
        } catch (GeneralSecurityException e) {
            throw ImageException.invalidContent(what + ": not a public key");
        }
    }

    /// A coordinate in its full length.
    byte[] coordinate(BigInteger value) {
        byte[] full = new byte[bytes];
        byte[] short_ = value.toByteArray();
        int from = Math.max(0, short_.length - bytes);
        int size = short_.length - from;
        System.arraycopy(short_, from, full, bytes - size, size);
        return full;
    }
}
