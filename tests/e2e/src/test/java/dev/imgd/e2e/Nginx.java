package dev.imgd.e2e;

import dev.imgd.testkit.TestAuthority;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;

/// Debian's nginx with TLS before a registry; it wants a certificate of its clients.
final class Nginx extends Background {
    private final int port;

    private Nginx(Path directory, Path config, int port) {
        super("nginx", directory.resolve("log"), "/usr/sbin/nginx", "-c", config);
        this.port = port;
        await(this::accepts);
    }

    /// Starts it.
    ///
    /// @param target the registry's port
    /// @param authority who signed its certificate for `localhost`, and those of its clients
    static Nginx before(int target, Path directory, TestAuthority authority) throws IOException {
        Files.createDirectories(directory);
        TestAuthority.Identity identity = authority.server("localhost");
        Files.writeString(directory.resolve("server.crt"), identity.chainPem());
        Files.writeString(directory.resolve("server.key"), identity.keyPem());
        Files.writeString(directory.resolve("clients.crt"), authority.certificatePem());
        int port;
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = free.getLocalPort();
        }
        Path config = directory.resolve("nginx.conf");
        Files.writeString(
                config,
                """
                user root;
                daemon off;
                pid %1$s/pid;
                error_log %1$s/error.log;
                events {}
                http {
                  access_log off;
                  client_max_body_size 0;
                  client_body_temp_path %1$s/body;
                  proxy_temp_path %1$s/proxy;
                  fastcgi_temp_path %1$s/fastcgi;
                  uwsgi_temp_path %1$s/uwsgi;
                  scgi_temp_path %1$s/scgi;
                  server {
                    listen 127.0.0.1:%2$d ssl;
                    ssl_certificate %1$s/server.crt;
                    ssl_certificate_key %1$s/server.key;
                    ssl_client_certificate %1$s/clients.crt;
                    ssl_verify_client on;
                    location / {
                      proxy_pass http://127.0.0.1:%3$d;
                      proxy_set_header Host $http_host;
                      proxy_set_header X-Forwarded-Proto https;
                    }
                  }
                }
                """
                        .formatted(directory, port, target));
        return new Nginx(directory, config, port);
    }

    int port() {
        return port;
    }

    private boolean accepts() {
        try (Socket _ = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return true;
        } catch (IOException e) {
            return false;
        }
    }
}
