package dev.imgd.model;

import static dev.imgd.model.Errors.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ReferenceTest {
    private static final String HEX = "ab".repeat(32);
    private static final String DIGEST = "sha256:" + HEX;

    @ParameterizedTest
    @CsvSource({
        "redis, docker.io, library/redis, , redis",
        "redis:7, docker.io, library/redis, 7, redis:7",
        "test.com:5000, docker.io, library/test.com, 5000, test.com:5000",
        "foo_bar.com:8080, docker.io, library/foo_bar.com, 8080, foo_bar.com:8080",
        "192.168.1.1, docker.io, library/192.168.1.1, , 192.168.1.1",
        "localhost, docker.io, library/localhost, , localhost",
        "localhost:5000, docker.io, library/localhost, 5000, localhost:5000",
        "library/redis, docker.io, library/redis, , redis",
        "docker.io/redis, docker.io, library/redis, , redis",
        "index.docker.io/redis, docker.io, library/redis, , redis",
        "index.docker.io/a/b:c, docker.io, a/b, c, a/b:c",
        "docker.io/library/foo/bar, docker.io, library/foo/bar, , library/foo/bar",
        "store/foo/bar, docker.io, store/foo/bar, , store/foo/bar",
        "docker.io/a.b/c, docker.io, a.b/c, , docker.io/a.b/c",
        "docker.io/localhost/c, docker.io, localhost/c, , docker.io/localhost/c",
        "localhost/fooo, localhost, fooo, , localhost/fooo",
        "localhost:5000/a:1, localhost:5000, a, 1, localhost:5000/a:1",
        "LOCALDOMAIN/fooo/bar, LOCALDOMAIN, fooo/bar, , LOCALDOMAIN/fooo/bar",
        "Foo/bar, Foo, bar, , Foo/bar",
        "test:5000/repo:tag, test:5000, repo, tag, test:5000/repo:tag",
        "b.gcr.io/test.example.com/my-app:test.example.com, b.gcr.io, test.example.com/my-app,"
                + " test.example.com, b.gcr.io/test.example.com/my-app:test.example.com",
        "xn--n3h.com/myimage:xn--n3h.com, xn--n3h.com, myimage, xn--n3h.com,"
                + " xn--n3h.com/myimage:xn--n3h.com",
        "192.168.1.1:5000/repo:5050, 192.168.1.1:5000, repo, 5050, 192.168.1.1:5000/repo:5050",
        "[2001:db8::1]/repo, [2001:db8::1], repo, , [2001:db8::1]/repo",
        "[2001:db8:1:2:3:4:5:6]/repo:tag, [2001:db8:1:2:3:4:5:6], repo, tag,"
                + " [2001:db8:1:2:3:4:5:6]/repo:tag",
        "[2001:db8::]:5000/repo, [2001:db8::]:5000, repo, , [2001:db8::]:5000/repo",
        "[::]:5000/repo, [::]:5000, repo, , [::]:5000/repo",
        "[::1]:5000/a/b, [::1]:5000, a/b, , [::1]:5000/a/b",
        "lowercase:Uppercase, docker.io, library/lowercase, Uppercase, lowercase:Uppercase",
        "docker---rules/docker, docker.io, docker---rules/docker, , docker---rules/docker",
        "dock__er/docker, docker.io, dock__er/docker, , dock__er/docker",
        "d/docker, docker.io, d/docker, , d/docker",
        "a:_.-, docker.io, library/a, _.-, a:_.-",
    })
    void parse_valid_hasItsParts(
            String text, String registry, String repository, String tag, String familiar)
            throws Exception {
        Reference reference = Reference.parse(text);
        assertEquals(registry, reference.registry());
        assertEquals(repository, reference.repository());
        assertEquals(Optional.ofNullable(tag), reference.tag());
        assertEquals(Optional.empty(), reference.digest());
        assertEquals(familiar, reference.familiar());
        assertEquals(
                registry + "/" + repository + (tag == null ? "" : ":" + tag), reference.toString());
        assertEquals(reference, Reference.parse(reference.toString()));
        assertEquals(reference, Reference.parse(reference.familiar()));
    }

    @Test
    void parse_tagAndDigest_keepsBoth() throws Exception {
        Reference reference = Reference.parse("busybox:latest@" + DIGEST);
        assertEquals(Optional.of("latest"), reference.tag());
        assertEquals(Optional.of(Digest.parse(DIGEST)), reference.digest());
        assertEquals("docker.io/library/busybox:latest@" + DIGEST, reference.toString());
        assertEquals("busybox:latest@" + DIGEST, reference.familiar());
        String sha512 = "sha512:" + "0".repeat(128);
        assertEquals(
                Optional.of(Digest.parse(sha512)), Reference.parse("[::1]:5/a@" + sha512).digest());
    }

    @Test
    void parse_nameOfHexDigits_needsARegistry() throws Exception {
        assertFails(ErrorKind.INVALID_ARGUMENT, "image ID", () -> Reference.parse(HEX));
        Reference reference = Reference.parse("docker.io/" + HEX);
        assertEquals("library/" + HEX, reference.repository());
        assertEquals("docker.io/library/" + HEX, reference.familiar());
        assertEquals(HEX + ":1", reference.withTag("1").familiar());
    }

    @Test
    void parse_longest_isAccepted() throws Exception {
        assertEquals(255, Reference.parse("a.b/" + "a".repeat(255)).repository().length());
        assertEquals(128, Reference.parse("a:" + "t".repeat(128)).tag().orElseThrow().length());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\'',
            value = {
                "'' | the name is empty",
                ":justtag | the repository is empty",
                "@sha256:abc | the repository is empty",
                "docker/ | empty component",
                "a.b/ | the repository is empty",
                "docker///docker | empty component",
                "/a | empty component",
                "a/ | empty component",
                "a//b | empty component",
                "a: | the tag is empty",
                "a:b:c | the tag \"b:c\"",
                "a:b/c | the registry's port \"b\" is not a number",
                "a/b:c/d | the tag \"c/d\"",
                "a:-x | the tag \"-x\"",
                "a:.x | the tag \".x\"",
                "a:ä | the tag",
                "Uppercase:tag | upper-case letter; use lower case",
                "test:5000/Uppercase/lowercase:tag | upper-case letter",
                "docker/Docker | upper-case letter",
                "-docker | has a separator at its start or end",
                "docker-/docker | has a separator",
                "____/____ | has a separator",
                "dock..er/docker | is not a registry",
                "dock..er | has a separator",
                "dock_.er/docker | is not a registry",
                "dock_.er | has a separator",
                "dock-.er/docker | is not a registry",
                "dock-.er | has a separator",
                "dock___er/docker | has a separator",
                "-docker.io/docker/docker | is not a registry",
                "docker-.io/a | is not a registry",
                "a..b/c | is not a registry",
                ".b/c | is not a registry",
                "b./c | is not a registry",
                "a_b.c/d | is not a registry",
                "aa/asdf$$^/aa | has the character '$'",
                "https://github.com/docker/docker | remove the scheme",
                "fc00::1:5000/debian | the registry's port",
                "a.b:/c | the registry's port",
                "a.b:0/c | not a number from 1 to 65535",
                "a.b:65536/c | not a number from 1 to 65535",
                "a.b:99999999999999999999/c | not a number from 1 to 65535",
                "a.b:+1/c | not a number from 1 to 65535",
                ":5000/c | is not a registry",
                "[::1] | has the character '['",
                "[::1]:5000 | has the character '['",
                "[fe80::1%eth0]:5000/debian | is not a registry",
                "[2001:db8:3:4::192.0.2.33]:5000/debian | is not a registry",
                "[1:2:3:4:5:6:7]/a | is not a registry",
                "[1:2:3:4:5:6:7:8:9]/a | is not a registry",
                "[1::2::3]/a | is not a registry",
                "[:1::2]/a | is not a registry",
                "[1::2:]/a | is not a registry",
                "[12345::]/a | is not a registry",
                "[:::]/a | is not a registry",
                "[]:1/a | is not a registry",
                "[::1/a | is not a registry",
                "[::1]x/a | the registry's port",
                "repo@sha256:ffff | digest \"sha256:ffff\"",
                "repo@md5:d41d8cd98f00b204e9800998ecf8427e | \"…@md5:d41d8cd98f00b204e9800998ecf8427e\": wanted a digest after the @",
                "repo@ | \"…@\": wanted a digest after the @",
                "repo@a@b | \"…@b\": wanted a digest after the @",
                "a b | has the character ' '",
                "../etc/passwd | is not a registry",
                "a/../b | has a separator",
            })
    void parse_invalid_saysWhatIsWrong(String text, String message) {
        assertFails(ErrorKind.INVALID_ARGUMENT, message, () -> Reference.parse(text));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "a\u0000b",
                "a\nb",
                "\u001b[31ma",
                "é",
                "\ufeffa",
                "a:\u202e",
                "a/\ud800",
                "İ/a",
                "a\u0660",
            })
    void parse_strangeCharacters_areEscapedInTheMessage(String text) {
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT, "reference \"", () -> Reference.parse(text));
        assertEquals(-1, e.getMessage().indexOf('\u202e'));
        assertEquals(-1, e.getMessage().indexOf('\ufeff'));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "me:secret@a.b/c",
                "me:secret@a.b",
                "me:secret@a.b:5000/c:1",
                "me:pa/secret@a.b/c",
                "me:pa@secret@a.b/c",
                "secret@a.b/c",
                "me:secret@a.b/c@sha512:0",
                "https://me:secret@a.b/c",
                "https://me:pa/secret@a.b/c",
                "https://a.b/c?token=secret",
                "https://me:secret@a.b/c@sha256:0"
            })
    void parse_userAndPassword_areNotShown(String text) {
        ImageException e = assertThrows(ImageException.class, () -> Reference.parse(text));
        assertEquals(ErrorKind.INVALID_ARGUMENT, e.kind());
        assertFalse(e.getMessage().contains("secret"), e.getMessage());
        assertTrue(
                text.contains("://")
                        ? e.getMessage().contains("remove the scheme")
                        : e.getMessage().contains("log in to the registry instead"),
                e.getMessage());
    }

    @Test
    void parse_tooLong_fails() {
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "the repository is longer than 255",
                () -> Reference.parse("a.b/" + "a".repeat(256)));
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "the registry is longer than 255",
                () -> Reference.parse("a.".repeat(150) + "b/c"));
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "the tag is longer than 128",
                () -> Reference.parse("a:" + "t".repeat(129)));
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                "longer than 1024",
                () -> Reference.parse("a/".repeat(1_000_000)));
    }

    @Test
    void parse_separatorRuns_takeLinearTime() {
        assertTimeoutPreemptively(
                Duration.ofSeconds(10),
                () -> {
                    for (int i = 0; i < 1000; i++) {
                        Reference.parse("a" + "-".repeat(240) + "b");
                        String bad = "a-".repeat(120) + "_$";
                        assertFails(ErrorKind.INVALID_ARGUMENT, "", () -> Reference.parse(bad));
                    }
                });
    }

    @Test
    void with_changesOnePart() throws Exception {
        Reference plain = Reference.parse("a.b/c");
        assertEquals("a.b/c:latest", plain.withDefaultTag().toString());
        assertEquals("a.b/c@" + DIGEST, plain.withDigest(Digest.parse(DIGEST)).toString());
        assertEquals(
                "a.b/c@" + DIGEST,
                plain.withDigest(Digest.parse(DIGEST)).withDefaultTag().toString());
        assertEquals("a.b/c:1", plain.withDefaultTag().withTag("1").toString());
        assertEquals("a.b/c:1", plain.withTag("1").withDefaultTag().toString());
        assertEquals(
                "a.b/c@" + DIGEST, Reference.parse("a.b/c:1@" + DIGEST).withoutTag().toString());
        assertEquals("a.b/c", plain.name());
        assertFails(ErrorKind.INVALID_ARGUMENT, "the tag", () -> plain.withTag("a b"));
        assertNotEquals(plain, plain.withDefaultTag());
        assertEquals(plain.hashCode(), Reference.parse("a.b/c").hashCode());
    }
}
