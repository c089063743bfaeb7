package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CertificateNamesTest {
    private static final int EMAIL = 1;
    private static final int DNS = 2;
    private static final int IP = 7;

    private static final List<List<?>> NAMES =
            List.of(
                    List.of(EMAIL, "mail.test"),
                    List.of(0, new byte[] {1}),
                    List.of(DNS, "R.example"),
                    List.of(DNS, "*.lan"),
                    List.of(DNS, "10.0.0.9"),
                    List.of(IP, "10.0.0.1"),
                    List.of(IP, "fd00:0:0:0:0:0:0:1"));

    @ParameterizedTest
    @CsvSource({
        "r.example, true",
        "R.EXAMPLE, true",
        "x.r.example, false",
        "example, false",
        "a.lan, true",
        "A.LAN, true",
        "a.b.lan, false",
        "lan, false",
        ".lan, false",
        "mail.test, false",
        "10.0.0.1, true",
        "10.0.0.2, false",
        "10.0.0.9, false",
        "fd00::1, true",
        "[fd00::1], true",
        "fd00::2, false",
    })
    void isAmong_names_byKindAndLabel(String host, boolean expected) {
        assertEquals(expected, RefusedCertificateException.isAmong(NAMES, host));
    }
}
