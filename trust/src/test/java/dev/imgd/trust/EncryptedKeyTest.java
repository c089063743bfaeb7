package dev.imgd.trust;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Keys under passwords. They were made by other programs and are published: sigstore-rs,
/// `tests/data/keys`.
class EncryptedKeyTest {
    /// `ecdsa_encrypted_private.key`, under "123".
    private static final String WITH_PASSWORD =
            """
            eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjozMjc2OCwiciI6
            OCwicCI6MX0sInNhbHQiOiIrRFJrTXNRZmNUNTNKNCs1Y3VkUnlnWTUyWUMrK0RW
            TmxaSTN4VnlwWFlvPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
            Iiwibm9uY2UiOiJnNTFORnBqQUxlemhvbGVWTWVjUFJUNUErMVhMcDAxeiJ9LCJj
            aXBoZXJ0ZXh0Ijoib0YvN09mOGlQRDlkNlc2Mk5SWGVibEszWXZmNFFucTZORm16
            Q0VyV2FTVUJOZTNXSFJiRVNYK2dJOCszejg4TDBDVXlWdm9LTHhuR0xhVnhnczVD
            YUdyekcrMWxFTEI1cGRMVmZXd1VlQzlLelNab0hxZHZLaUsvUmNodVhpS0VqYmdv
            ajNGd2pMcmhEYkY5a2lVWk93REpuT01kUkoxNnI3emxjRHdwT3htOXFrbWFDWDlB
            VjQ4b1RXVG0rQXExOHlDZE50MDYybGdudVE9PSJ9
            """;

    /// The same key without the password, opened with Python's `hashlib.scrypt` and the cipher
    /// written out there.
    private static final String PLAIN =
            """
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglbehpK6Fx0sEWNSN
            pIbuKMR2pjIrrM7w5piQI8zs/2ehRANCAAQjezG76n8YWsnJ+CZJaviozPBud3+l
            EBKFIbq0dyuWEFKhEICJVg6hBHvnXhTPp+3a1CWegkseYdwWqrLT8REk
            """;

    /// `cosign_generated_encrypted_empty_private.key`, under the empty password.
    private static final String EMPTY_PASSWORD =
            """
            eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
            OCwicCI6MX0sInNhbHQiOiJFY3pJR3Z0bnpFcCsxaEpudERnbGI1UnoxN3gwQVMy
            YklvWGRNcDQrU1NJPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
            Iiwibm9uY2UiOiJtSVVKbG1OMzNINExvZ0dhaG5MamdmK3R4SmJwci93MCJ9LCJj
            aXBoZXJ0ZXh0IjoiM3FtS2FidXRuYm1WT1IvTkZGM2NDaUErTXp1WWQ5L0VERDVI
            MVlUSGhQVzZsSzAvdjVqdDZCQzlsME12NGV5am9qZkl0d3B6a2JJOXQrZGx5VXZ3
            VUgvMWZjbkFZT2dEdXRLQzkvSkNiOE02SVY2VHpVaDF5c0ZFWDFzeG9xb1FzeUpL
            bjM0UVlldFNlaVdDaGtmUHUyZXByQjFEV0pwekdzTGZIakxNVTkzOEdmNk1xM1A0
            N0ZSd2syZzY1cFZnSGMwVWV1L1N1OUs0Zmc9PSJ9
            """;

    private static byte[] decoded(String base64) {
        return Base64.getMimeDecoder().decode(base64);
    }

    private static byte[] pem(String label, String base64) {
        return "-----BEGIN %s-----\n%s-----END %s-----\n"
                .formatted(label, base64, label)
                .getBytes(StandardCharsets.US_ASCII);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    @Test
    void open_keyOfCosign_isTheKeyThatWasEncrypted() throws Exception {
        assertArrayEquals(
                decoded(PLAIN), EncryptedKey.open("key", decoded(WITH_PASSWORD), bytes("123")));
    }

    @Test
    void signer_keysOfCosignUnderBothLabels_areTaken() throws Exception {
        byte[] password = bytes("123");
        assertNotNull(
                ImageSigner.of(
                        "cosign.key",
                        pem("ENCRYPTED COSIGN PRIVATE KEY", WITH_PASSWORD),
                        () -> password));
        assertArrayEquals(new byte[password.length], password, "overwritten");
        assertNotNull(
                ImageSigner.of(
                        "cosign.key",
                        pem("ENCRYPTED SIGSTORE PRIVATE KEY", EMPTY_PASSWORD),
                        () -> new byte[0]));
    }

    @Test
    void signer_wrongPassword_isDeniedWithoutShowingIt() {
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () ->
                                ImageSigner.of(
                                        "cosign.key",
                                        pem("ENCRYPTED SIGSTORE PRIVATE KEY", WITH_PASSWORD),
                                        () -> bytes("canary")));
        assertEquals(ErrorKind.PERMISSION_DENIED, e.kind());
        assertEquals(
                "cosign.key: cannot be opened: the password is wrong, or the file damaged",
                e.getMessage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"N\":32768 | \"N\":1048576 | INVALID_ARGUMENT",
                "\"N\":32768 | \"N\":32767 | INVALID_ARGUMENT",
                "\"N\":32768 | \"N\":99999999999 | INVALID_CONTENT",
                "\"r\":8 | \"r\":64 | INVALID_ARGUMENT",
                "\"p\":1 | \"p\":1000 | INVALID_CONTENT",
                "\"N\":32768, | '' | INVALID_ARGUMENT",
                "scrypt | pbkdf2 | INVALID_ARGUMENT",
                "secretbox | box | INVALID_ARGUMENT",
                "\"nonce\":\"g51N | \"nonce\":\" | INVALID_ARGUMENT",
                "\"nonce\":\"g51N | \"nonce\":\"*51N | INVALID_CONTENT",
                "\"ciphertext\":\"oF | \"ciphertext\":\"pF | PERMISSION_DENIED",
                "nuQ== | nvQ== | PERMISSION_DENIED",
                "\"kdf\" | \"kd\" | INVALID_CONTENT",
            })
    void open_changedFile_isRefused(String part, String changed, ErrorKind kind) {
        String json = new String(decoded(WITH_PASSWORD), StandardCharsets.UTF_8);
        String other = json.replace(part, changed);
        assertFalse(other.equals(json), "nothing was changed");
        ImageException e =
                assertThrows(
                        ImageException.class,
                        () -> EncryptedKey.open("key", bytes(other), bytes("123")));
        assertEquals(kind, e.kind(), e.getMessage());
    }
}
