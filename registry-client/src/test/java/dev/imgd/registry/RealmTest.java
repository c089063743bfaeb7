package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;

import okhttp3.HttpUrl;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.Set;

class RealmTest {
    private static Realm of(String registry, String... allowed) {
        return new Realm(HttpUrl.get(registry), Set.of(allowed));
    }

    @ParameterizedTest
    @CsvSource({
        "https://registry-1.docker.io/v2, https://auth.docker.io/token",
        "https://ghcr.io/v2, https://ghcr.io/token",
        "https://registry.example/v2, https://registry.example:8443/token",
        "https://10.0.0.5:5000/v2, https://10.0.0.5:5000/token",
        "http://registry.lan:5000/v2, http://auth.lan/token",
        "http://localhost:5000/v2, http://localhost:5001/token",
        "http://127.0.0.1:5000/v2, http://127.0.0.1:5001/token",
        "http://10.0.0.5:5000/v2, http://10.0.0.5:5000/token",
    })
    void check_honestRealm_isAccepted(String registry, String realm) throws Exception {
        assertEquals(HttpUrl.get(realm), of(registry).check(realm));
    }

    @ParameterizedTest
    @CsvSource({
        "https://registry.example/v2, http://registry.example/token",
        "https://registry.example/v2, https://169.254.169.254/latest/meta-data",
        "http://registry.example/v2, http://169.254.169.254/latest/meta-data",
        "https://registry.example/v2, https://127.0.0.1/token",
        "https://registry.example/v2, https://localhost/token",
        "https://registry.example/v2, https://10.0.0.1/token",
        "https://registry.example/v2, https://[fd00:ec2::254]/token",
        "https://registry.example/v2, https://0.0.0.0/token",
        "https://10.0.0.5:5000/v2, https://10.0.0.6/token",
        "https://10.0.0.5:5000/v2, https://10.0.0.5:22/token",
        "http://localhost:5000/v2, http://10.0.0.1/token",
        "http://localhost:5000/v2, http://169.254.169.254/",
        "https://registry.example/v2, https://user:secret@registry.example/token",
        "https://registry.example/v2, file:///etc/passwd",
        "https://registry.example/v2, /token",
        "https://registry.example/v2, gopher://registry.example/",
    })
    void check_hostileRealm_isRefusedWithoutItsSecrets(String registry, String realm) {
        var e = assertThrows(ImageException.class, () -> of(registry).check(realm));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
        assertFalse(e.getMessage().contains("secret"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({
        "https://registry-1.docker.io/v2, https://auth.docker.io/token, true",
        "https://registry.digitalocean.com/v2, https://api.digitalocean.com/v2/registry/auth, true",
        "https://registry.gitlab.com/v2, https://gitlab.com/jwt/auth, true",
        "https://registry.example.co.uk/v2, https://auth.example.co.uk/, true",
        "http://localhost:5000/v2, http://localhost:5001/token, true",
        "https://registry.example.com/v2, https://evil.com/token, false",
        "https://registry.example.co.uk/v2, https://evil.co.uk/, false",
        "https://alice.github.io/v2, https://mallory.github.io/, false",
        "https://registry.example.com/v2, https://example.com.evil.net/, false",
        "https://8.8.8.8/v2, https://8.8.4.4/, false",
        "http://registry:5000/v2, http://other:5000/, false",
    })
    void mayReceiveCredentials_realm_onlyUnderTheRegistrysDomain(
            String registry, String realm, boolean wanted) {
        assertEquals(wanted, of(registry).mayReceiveCredentials(HttpUrl.get(realm)));
    }

    @Test
    void mayReceiveCredentials_listedHost_isAllowed() {
        Realm realm = of("https://registry.example.com/v2", "sso.other.com", "auth.lan:8443");
        assertTrue(realm.mayReceiveCredentials(HttpUrl.get("https://sso.other.com/token")));
        assertTrue(realm.mayReceiveCredentials(HttpUrl.get("https://auth.lan:8443/token")));
        assertFalse(realm.mayReceiveCredentials(HttpUrl.get("https://auth.lan/token")));
        assertFalse(realm.mayReceiveCredentials(HttpUrl.get("https://x.sso.other.com/token")));
    }
}
