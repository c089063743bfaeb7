package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.imgd.hosts.TlsSettings;
import java.net.InetAddress;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import okhttp3.HttpUrl;
import okhttp3.Request;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AddressRangeTest {
    @ParameterizedTest
    @CsvSource({
        "127.0.0.1, LOOPBACK",
        "127.255.0.9, LOOPBACK",
        "::1, LOOPBACK",
        "::ffff:127.0.0.1, LOOPBACK",
        "169.254.169.254, FORBIDDEN",
        "0.0.0.0, FORBIDDEN",
        "0.1.2.3, FORBIDDEN",
        "255.255.255.255, FORBIDDEN",
        "224.0.0.1, FORBIDDEN",
        "::, FORBIDDEN",
        "fe80::1, FORBIDDEN",
        "ff02::1, FORBIDDEN",
        "::169.254.169.254, FORBIDDEN",
        "64:ff9b::a9fe:a9fe, FORBIDDEN",
        "2002:7f00:1::, LOOPBACK",
        "10.0.0.1, PRIVATE",
        "172.16.0.1, PRIVATE",
        "172.31.255.255, PRIVATE",
        "192.168.1.1, PRIVATE",
        "100.64.0.1, PRIVATE",
        "198.18.0.1, PRIVATE",
        "fd00:ec2::254, PRIVATE",
        "fc00::1, PRIVATE",
        "fec0::1, PRIVATE",
        "172.32.0.1, PUBLIC",
        "100.128.0.1, PUBLIC",
        "8.8.8.8, PUBLIC",
        "2606:4700::1111, PUBLIC",
        "2002:808:808::, PUBLIC",
    })
    void of_address_hasRange(String address, AddressRange range) throws Exception {
        assertEquals(range, AddressRange.of(InetAddress.ofLiteral(address)));
        assertEquals(Optional.of(range), AddressRange.ofLiteral(address));
    }

    @ParameterizedTest
    @CsvSource({
        "http://[::ffff:10.0.0.1]/, PRIVATE",
        "http://localhost/, LOOPBACK",
        "http://LOCALHOST/, LOOPBACK",
        "http://a.localhost/, LOOPBACK",
        "http://registry.example/, PUBLIC",
        "http://10.example/, PUBLIC",
    })
    void range_hostOfUrl_isThatOfItsAddress(String url, AddressRange wanted) {
        assertEquals(wanted, Urls.range(HttpUrl.get(url).host()));
    }

    @ParameterizedTest
    @CsvSource({
        "PUBLIC, PUBLIC",
        "PRIVATE, PUBLIC PRIVATE",
        "LOOPBACK, PUBLIC PRIVATE LOOPBACK",
        "FORBIDDEN, PUBLIC",
    })
    void notNearerThan_whoNamesIt_isNotPassed(AddressRange near, String wanted) {
        for (AddressRange range : AddressRange.values()) {
            assertEquals(
                    List.of(wanted.split(" ", -1)).contains(range.name()),
                    range.notNearerThan(near),
                    range.toString());
        }
    }

    @Test
    void lookup_nameOfThisHost_isRefusedToTheInternet() throws Exception {
        assertThrows(
                RefusedAddressException.class, () -> GuardedDns.internetOnly().lookup("localhost"));
        var near = new GuardedDns(AddressRange.LOOPBACK, "", Set.of());
        assertFalse(near.lookup("localhost").isEmpty());
    }

    @Test
    void reached_isTheAddressOfTheConnection() throws Exception {
        try (Connections connections = new Connections(RegistryOptions.defaults());
                LoopbackServer server =
                        LoopbackServer.start(e -> e.respond(200, Map.of(), new byte[0]))) {
            HttpUrl url = HttpUrl.get("http://" + server.authority() + "/");
            assertEquals(AddressRange.PUBLIC, connections.reached(url), "never reached");
            Request request = new Request.Builder().url(url).build();
            connections.client(false, TlsSettings.SYSTEM).newCall(request).execute().close();
            assertEquals(AddressRange.LOOPBACK, connections.reached(url));
            assertEquals(
                    AddressRange.PUBLIC,
                    connections.reached(url.newBuilder().port(1).build()),
                    "another server of the same host");
        }
    }
}
