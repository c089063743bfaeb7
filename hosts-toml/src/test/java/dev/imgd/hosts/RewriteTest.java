package dev.imgd.hosts;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RewriteTest {
    /// Results of Go's `regexp.ReplaceAllString`.
    @ParameterizedTest
    @CsvSource({
        "^rancher/(.*), mirror/rancher-$1, rancher/k3s, mirror/rancher-k3s",
        "^rancher/(.*), mirror/$1, library/k3s, library/k3s",
        "(.*), proxy/$1, a/b, proxy/a/b",
        "^, proxy/, a/b, proxy/a/b",
        "a, b, a/a/c, b/b/c",
        "^(?P<org>[^/]*)/(?<name>.*)$, ${name}/${org}, x/y, y/x",
        "(.*), x/${1}y, a, x/ay",
        "(.*), x/$1y, a, x/",
        "(.*), x/$9z/a, a, x//a",
        "^a$, x$$, a, x$",
    })
    void apply_patterns_areExpandedAsInGo(
            String pattern, String replacement, String repository, String expected)
            throws Exception {
        Rewrite rewrite = Rewrite.of(pattern, replacement);
        boolean name =
                !expected.endsWith("/") && !expected.contains("//") && !expected.contains("$");
        if (name) {
            assertEquals(expected, rewrite.apply(repository, "m"));
        } else {
            ImageException e =
                    assertThrows(ImageException.class, () -> rewrite.apply(repository, "m"));
            assertTrue(e.getMessage().contains("\"" + expected + "\""), e.getMessage());
        }
    }

    @Test
    void repository_severalRewrites_firstThatChangesItIsUsed() throws Exception {
        RegistryHost plain = RegistryHost.of(RegistryHost.Scheme.HTTPS, "m");
        RegistryHost host =
                new RegistryHost(
                        plain.scheme(),
                        plain.authority(),
                        plain.path(),
                        Set.of(),
                        Map.of(),
                        TlsSettings.SYSTEM,
                        RegistryHost.Role.MIRROR,
                        Optional.of("r"),
                        Optional.empty(),
                        List.of(
                                Rewrite.of("^none/", "x/"),
                                Rewrite.of("^a/", "b/"),
                                Rewrite.of("^b/", "c/")));
        assertEquals("b/x", host.repository("a/x"));
        assertEquals("c/x", host.repository("b/x"));
        assertEquals("d/x", host.repository("d/x"));
    }

    @Test
    void apply_patternThatExplodes_endsSoon() throws Exception {
        Rewrite rewrite = Rewrite.of(".*.*.*.*.*[A-Z]", "x");
        ImageException e =
                assertThrows(
                        ImageException.class, () -> rewrite.apply("a".repeat(200) + "/b", "m"));
        assertTrue(e.getMessage().contains("takes too long"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"a, A/x", "a, ../../x", "a, a?b", "a, x:tag", "a, x@sha256", "a, ''"})
    void apply_resultIsNoName_fails(String pattern, String replacement) throws Exception {
        Rewrite rewrite = Rewrite.of(pattern, replacement);
        ImageException e = assertThrows(ImageException.class, () -> rewrite.apply("a", "m"));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertTrue(e.getMessage().contains("not a repository name"), e.getMessage());
    }

    @Test
    void equals_sameTexts_areEqual() throws Exception {
        assertEquals(Rewrite.of("a", "b"), Rewrite.of("a", "b"));
        assertEquals(Rewrite.of("a", "b").hashCode(), Rewrite.of("a", "b").hashCode());
        assertEquals("a -> b", Rewrite.of("a", "b").toString());
        assertTrue(!Rewrite.of("a", "b").equals(Rewrite.of("a", "c")));
    }
}
