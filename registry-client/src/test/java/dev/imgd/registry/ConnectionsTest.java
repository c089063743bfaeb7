package dev.imgd.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;

import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ImageException;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.X509TrustManager;
import okhttp3.OkHttpClient;
import org.junit.jupiter.api.Test;

class ConnectionsTest {
    /// A version of the configuration of a host.
    private record Version(int number) implements TlsSettings {
        @Override
        public X509TrustManager trustManager() throws ImageException {
            return TlsSettings.SYSTEM.trustManager();
        }

        @Override
        public List<KeyManager> keyManagers() {
            return List.of();
        }

        @Override
        public boolean verifies() {
            return true;
        }
    }

    @Test
    void client_configurationThatChangesAgainAndAgain_oldOnesAreForgotten() throws Exception {
        try (Connections connections = new Connections(RegistryOptions.defaults())) {
            OkHttpClient system = connections.client(true, TlsSettings.SYSTEM);
            OkHttpClient first = connections.client(true, new Version(0));
            for (int i = 1; i <= 3 * Connections.MOST_CONFIGURATIONS; i++) {
                OkHttpClient made = connections.client(true, new Version(i));
                assertSame(made, connections.client(true, new Version(i)), "shared while current");
                assertSame(system, connections.client(true, TlsSettings.SYSTEM), "still in use");
            }
            assertEquals(Connections.MOST_CONFIGURATIONS, connections.configurations());
            assertNotSame(first, connections.client(true, new Version(0)));
        }
    }
}
