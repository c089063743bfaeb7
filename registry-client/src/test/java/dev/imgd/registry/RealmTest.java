package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.Set;
import okhttp3.HttpUrl;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RealmTest {
    private static Realm of(String registry, String... allowed) {
        return new Realm(HttpUrl.get(registry), Set.of(allowed));
    }

    @ParameterizedTest
    @CsvSource({
        "https://registry-1.docker.io/v2, PUBLIC, https://auth.docker.io/token",
        "https://ghcr.io/v2, PUBLIC, https://ghcr.io/token",
        "https://registry.example/v2, PUBLIC, https://registry.example:8443/token",
        "http://registry.lan:5000/v2, PRIVATE, http://auth.lan/token",
        // The registry's own address, whatever it is.
        "https://10.0.0.5:5000/v2, PUBLIC, https://10.0.0.5:5000/token",
        "http://10.0.0.5:5000/v2, PRIVATE, http://10.0.0.5:5000/token",
        "http://169.254.1.1:5000/v2, FORBIDDEN, http://169.254.1.1:5000/token",
        // A private registry with its token server on another port or another private address.
        "https://10.0.0.5:5000/v2, PRIVATE, https://10.0.0.5:5001/auth",
        "https://10.0.0.5:5000/v2, PRIVATE, https://10.0.0.6/token",
        "https://registry.corp/v2, PRIVATE, https://192.168.1.4/token",
        "https://registry.corp/v2, PRIVATE, https://[fd00::4]/token",
        "https://10.0.0.5:5000/v2, PRIVATE, https://auth.example/token",
        "http://localhost:5000/v2, LOOPBACK, http://localhost:5001/token",
        "http://127.0.0.1:5000/v2, LOOPBACK, http://127.0.0.1:5001/token",
        // A registry forwarded from elsewhere names what is there.
        "http://localhost:5000/v2, LOOPBACK, http://10.0.0.1/token",
    })
    void check_honestRealm_isAccepted(String registry, AddressRange near, String realm)
            throws Exception {
        assertEquals(HttpUrl.get(realm), of(registry).check(realm, near));
    }

    @ParameterizedTest
    @CsvSource({
        "https://registry.example/v2, PUBLIC, http://registry.example/token",
        "https://registry.example/v2, PUBLIC, https://169.254.169.254/latest/meta-data",
        "http://registry.example/v2, PUBLIC, http://169.254.169.254/latest/meta-data",
        "https://registry.corp/v2, PRIVATE, https://169.254.169.254/latest/meta-data",
        "https://registry.example/v2, PUBLIC, https://127.0.0.1/token",
        "https://registry.example/v2, PUBLIC, https://localhost/token",
        "https://registry.corp/v2, PRIVATE, https://127.0.0.1/token",
        "https://registry.corp/v2, PRIVATE, https://localhost/token",
        "https://registry.corp/v2, PRIVATE, https://0.0.0.0/token",
        "https://registry.example/v2, PUBLIC, https://10.0.0.1/token",
        "https://registry.example/v2, PUBLIC, https://[fd00:ec2::254]/token",
        "https://registry.example/v2, PUBLIC, https://0.0.0.0/token",
        // A name or an address that only pretends to be near: reached elsewhere.
        "https://10.0.0.5:5000/v2, PUBLIC, https://10.0.0.6/token",
        "http://localhost:5000/v2, PUBLIC, http://localhost:5001/token",
        "http://localhost:5000/v2, LOOPBACK, http://169.254.169.254/",
        "https://registry.example/v2, PUBLIC, https://user:secret@registry.example/token",
        "https://registry.example/v2, PUBLIC, https://user:pa/secret@registry.example/token",
        "https://registry.example/v2, PUBLIC, https://user:pa?secret@registry.example/token",
        "https://registry.example/v2, PUBLIC, https://registry.example:x/t?mail=a@b&sig=secret",
        "https://registry.example/v2, PUBLIC, file:///etc/passwd",
        "https://registry.example/v2, PUBLIC, /token",
        "https://registry.example/v2, PUBLIC, gopher://registry.example/",
    })
    void check_hostileRealm_isRefusedWithoutItsSecrets(
            String registry, AddressRange near, String realm) {
        var e = assertThrows(ImageException.class, () -> of(registry).check(realm, near));
        assertEquals(ErrorKind.UNAUTHENTICATED, e.kind());
        assertFalse(e.getMessage().contains("secret"), e.getMessage());
    }

    @Test
    void check_listedHost_mayBeNear_exceptLinkLocal() throws Exception {
        Realm realm =
                of("https://registry.example/v2", "10.0.0.1", "localhost:5001", "169.254.1.1");
        realm.check("https://10.0.0.1/token", AddressRange.PUBLIC);
        realm.check("https://localhost:5001/token", AddressRange.PUBLIC);
        for (String refused :
                new String[] {
                    "https://10.0.0.2/token", "https://localhost/token", "https://169.254.1.1/"
                }) {
            assertThrows(
                    ImageException.class, () -> realm.check(refused, AddressRange.PUBLIC), refused);
        }
        GuardedDns dns = realm.dns(AddressRange.PUBLIC);
        assertTrue(dns.allows("localhost", AddressRange.LOOPBACK));
        assertFalse(dns.allows("localhost", AddressRange.FORBIDDEN));
        assertFalse(dns.allows("other", AddressRange.LOOPBACK));
        assertTrue(dns.allows("registry.example", AddressRange.PRIVATE));
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
        "https://10.0.0.5:5000/v2, https://10.0.0.5:5001/, true",
        "https://10.0.0.5:5000/v2, https://10.0.0.6/, false",
        "https://registry.corp.internal/v2, https://auth.corp.internal/, true",
    })
    void mayReceiveCredentials_realm_onlyUnderTheRegistrysDomain(
            String registry, String realm, boolean wanted) {
        assertEquals(wanted, of(registry).mayReceiveCredentials(HttpUrl.get(realm)));
    }

    @ParameterizedTest
    @CsvSource({
        "http://localhost:5000, http://127.0.0.1:5000/token, true",
        "http://127.0.0.1:5000, http://[::1]:5000/token, true",
        "http://[::1]:5000, http://localhost:5000/token, true",
        "http://localhost:5000, http://127.0.0.1:5001/token, false",
        "http://localhost:5000, http://127.0.0.2:5000/token, false",
        "http://localhost:5000, http://a.localhost:5000/token, false",
        "http://registry.lan:5000, http://localhost:5000/token, false",
    })
    void mayReceiveCredentials_thisHost_isOneByAllItsNames(
            String registry, String realm, boolean may) {
        assertEquals(may, of(registry).mayReceiveCredentials(HttpUrl.get(realm)));
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
