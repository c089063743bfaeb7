package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ProxiesTest {
    private static final String PROXY = "proxy.lan:3128";

    private static String place(Proxies proxies, String url) throws ImageException {
        return proxies.placeFor(url).orElse("direct");
    }

    /// The rows of Go's `TestProxyForURL` and `TestUseProxy`, and some of ours.
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "|registry.lan|proxied",
                "|localhost|direct",
                "|a.localhost|direct",
                "|127.0.0.1|direct",
                "|127.8.8.8:81|direct",
                "|[::1]:81|direct",
                "|[::2]|proxied",
                "|10.0.0.1|proxied",
                "*|registry.lan|direct",
                "foo.lan, *|registry.lan|direct",
                "registry.lan|registry.lan|direct",
                "registry.lan|REGISTRY.LAN|direct",
                "REGISTRY.lan|registry.lan|direct",
                "registry.lan|a.registry.lan|direct",
                "registry.lan|aregistry.lan|proxied",
                ".lan|registry.lan|direct",
                ".lan|lan|proxied",
                "*.lan|a.registry.lan|direct",
                "*.lan|lan|proxied",
                "registry.lan:443|registry.lan|direct",
                "registry.lan:443|registry.lan:8443|proxied",
                "*.lan:8443|registry.lan:8443|direct",
                "10.0.0.1|10.0.0.1:5000|direct",
                "10.0.0.1:5000|10.0.0.1:5000|direct",
                "10.0.0.1:5000|10.0.0.1:5001|proxied",
                "10.0.0.0/8|10.200.0.1|direct",
                "10.0.0.0/8|11.0.0.1|proxied",
                "10.1.0.0/15|10.1.255.255|direct",
                "10.1.0.0/15|10.2.0.0|proxied",
                "0.0.0.0/0|1.2.3.4|direct",
                "0.0.0.0/0|registry.lan|proxied",
                "10.0.0.0/8|[::2]|proxied",
                "fd00::/8|[fd12::1]|direct",
                "fd00::/8|[fe12::1]|proxied",
                "fd00::1|[fd00::1]:5000|direct",
                "[fd00::1]:5000|[fd00::1]:5000|direct",
                "[fd00::1]:5000|[fd00::1]:5001|proxied",
                "'  , registry.lan ,'|registry.lan|direct"
            })
    void placeFor_exceptions_areAsInGo(String except, String host, String wanted) throws Exception {
        String no = except == null ? "" : except;
        Proxies proxies =
                Proxies.environment(Map.of("HTTPS_PROXY", "http://" + PROXY, "NO_PROXY", no));
        assertEquals(
                wanted.equals("proxied") ? PROXY : "direct", place(proxies, "https://" + host));
        assertEquals("direct", place(proxies, "http://" + host), "there is no HTTP_PROXY");
    }

    @Test
    void environment_eitherCase_upperCaseFirst() throws Exception {
        Proxies proxies =
                Proxies.environment(
                        Map.of(
                                "HTTPS_PROXY", "a.lan:1",
                                "https_proxy", "b.lan:2",
                                "HTTP_PROXY", "",
                                "http_proxy", "https://c.lan",
                                "no_proxy", "x.lan"));
        assertEquals("a.lan:1", place(proxies, "https://registry.lan"));
        assertEquals("c.lan:443", place(proxies, "http://registry.lan"));
        assertEquals("direct", place(proxies, "http://x.lan"));
        assertTrue(Proxies.environment(Map.of("ALL_PROXY", PROXY)).isEmpty());
    }

    @Test
    void with_overridesTheEnvironment() throws Exception {
        Proxies proxies =
                Proxies.environment(Map.of("HTTPS_PROXY", "a.lan:1", "NO_PROXY", "x.lan"))
                        .withHttps("key", "http://b.lan")
                        .withExcept("key", Set.of("y.lan"));
        assertEquals("b.lan:80", place(proxies, "https://x.lan"));
        assertEquals("direct", place(proxies, "https://y.lan"));
        assertEquals("direct", place(proxies.withHttps("key", ""), "https://x.lan"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "socks5://user:canary@proxy.lan:1080",
                "http://user:canary@proxy.lan:port",
                "http://user:cana/canary@proxy.lan",
                "http://user:canary@",
                "user:canary@proxy lan",
                "http://user:canary@proxy.lan?canary@x"
            })
    void placeFor_wrongProxy_namesTheVariableAndNoPassword(String value) throws Exception {
        Proxies proxies = Proxies.environment(Map.of("https_proxy", value));
        assertEquals("direct", place(proxies, "http://registry.lan"), "it is not asked for");
        assertEquals("direct", place(proxies, "https://localhost"));
        ImageException e =
                assertThrows(ImageException.class, () -> place(proxies, "https://registry.lan"));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(
                e.getMessage().startsWith("https_proxy: wanted the URL of a proxy"),
                e.getMessage());
        assertFalse(e.getMessage().contains("cana"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "https://registry.lan",
                "10.0.0.0/33",
                "10.0.0.0/",
                "lan/8",
                "a.lan b.lan",
                "a.lan:port",
                "a.lan:0",
                "a.*.lan",
                ".",
                ":443"
            })
    void placeFor_wrongException_namesTheVariable(String value) {
        Proxies proxies = Proxies.environment(Map.of("HTTPS_PROXY", PROXY, "NO_PROXY", value));
        ImageException e =
                assertThrows(ImageException.class, () -> place(proxies, "https://registry.lan"));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertEquals(
                "NO_PROXY: wanted hosts, .suffixes, addresses and networks such as 10.0.0.0/8, got \"%s\""
                        .formatted(value),
                e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({
        "http://proxy.lan:3128,http://proxy.lan:3128",
        "http://user:canary@proxy.lan,http://user:***@proxy.lan",
        "user:canary@proxy.lan:1,user:***@proxy.lan:1",
        "http://user@proxy.lan,http://user@proxy.lan",
        "http://user:can@ary@proxy.lan,http://user:***@proxy.lan"
    })
    void printable_hidesThePassword(String url, String shown) {
        assertEquals(shown, Proxies.printable(url));
    }
}
