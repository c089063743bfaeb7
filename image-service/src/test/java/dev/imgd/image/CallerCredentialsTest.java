package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.hosts.RegistryHosts;
import dev.imgd.image.ImageService.CopyRequest;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.image.ImageService.PullResult;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.Credentials;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import dev.imgd.testkit.TokenServer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Callers of one service that each bring their own credentials.
@Tag("root")
class CallerCredentialsTest {
    private static final Credentials RIGHT = new Credentials.Login("user", "right");
    private static final Credentials WRONG = new Credentials.Login("user", "wrong");

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private TokenServer tokens;
    private String reference = "";

    @BeforeEach
    void start() throws Exception {
        registry = InMemoryRegistry.start();
        tokens = TokenServer.start();
        TestImage image = ImageBuilder.oci().layer(tar -> tar.file("a", "b")).build();
        reference = registry.push("team/app", "1", image);
        tokens.requireAuthorization(
                "Basic "
                        + Base64.getEncoder()
                                .encodeToString("user:right".getBytes(StandardCharsets.UTF_8)));
        registry.requireToken(tokens);
    }

    @AfterEach
    void stop() {
        registry.close();
        tokens.close();
    }

    private Host host(CredentialSource own) throws ImageException {
        return Host.open(
                directory, options -> options.withCredentials(own), RegistryHosts.direct());
    }

    private PullResult pull(Host host, Credentials credentials) throws ImageException {
        return host.images.pull(
                PullRequest.of(reference).withCredentials(Optional.of(credentials)),
                ProgressListener.NONE);
    }

    @Test
    void pull_callersCredentials_areForThatPullOnly() throws Exception {
        try (Host host = host(CredentialSource.anonymous())) {
            assertFails(ErrorKind.UNAUTHENTICATED, () -> host.pull(reference));
            PullResult pulled = pull(host, RIGHT);
            assertTrue(pulled.fetchedBytes() > 0);
            // Everything is there, and still the registry is asked who may have it.
            assertFails(ErrorKind.UNAUTHENTICATED, () -> host.pull(reference));
            assertFails(ErrorKind.UNAUTHENTICATED, () -> pull(host, WRONG));
            assertEquals(pulled.digest(), pull(host, RIGHT).digest());
        }
    }

    @Test
    void pull_callersCredentials_winOverTheConfiguredOnes() throws Exception {
        try (Host host = host(CredentialSource.of(registry.authority(), RIGHT))) {
            PullResult pulled = host.pull(reference);
            assertFails(ErrorKind.UNAUTHENTICATED, () -> pull(host, WRONG));
            assertFails(ErrorKind.UNAUTHENTICATED, () -> pull(host, new Credentials.Anonymous()));
            assertEquals(pulled.digest(), host.pull(reference).digest());
        }
    }

    /// A mirror has the credentials of its own name, or none: the caller's are for the registry.
    @Test
    void pull_mirror_doesNotGetTheCallersCredentials() throws Exception {
        try (InMemoryRegistry mirror = InMemoryRegistry.start()) {
            mirror.requireBasic("Basic nobody");
            RegistryHosts direct = RegistryHosts.direct();
            RegistryHosts both =
                    name -> {
                        var hosts = new ArrayList<>(direct.hostsFor(mirror.authority()));
                        hosts.addAll(direct.hostsFor(name));
                        return hosts;
                    };
            try (Host host = Host.open(directory, options -> options, both)) {
                pull(host, RIGHT);
            }
            assertFalse(mirror.accessLog().isEmpty());
            assertTrue(
                    mirror.accessLog().stream()
                            .allMatch(access -> access.header("authorization").isEmpty()));
        }
    }

    @Test
    void copy_callersCredentials_areForTheirSide() throws Exception {
        try (Host host = host(CredentialSource.anonymous())) {
            pull(host, RIGHT);
            CopyRequest request =
                    CopyRequest.of("store:" + reference, "docker://" + reference + "-copy");
            assertFails(
                    ErrorKind.UNAUTHENTICATED,
                    () -> host.images.copy(request, ProgressListener.NONE));
            var copied =
                    host.images.copy(
                            request.withCredentials(Optional.empty(), Optional.of(RIGHT)),
                            ProgressListener.NONE);
            CopyRequest back = CopyRequest.of("docker://" + reference + "-copy", "store:back:1");
            assertFails(
                    ErrorKind.UNAUTHENTICATED, () -> host.images.copy(back, ProgressListener.NONE));
            assertEquals(
                    copied.digest(),
                    host.images
                            .copy(
                                    back.withCredentials(Optional.of(RIGHT), Optional.empty()),
                                    ProgressListener.NONE)
                            .digest());
        }
    }
}
