package dev.imgd.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CommandsTest {
    private static final String ONE = FakeImages.ONE.toString();
    private static final String TWO = FakeImages.TWO.toString();

    private static final String SUMMARY =
            """
            {"name":"%s","digest":"%s","mediaType":"application/x","sizeBytes":2048,\
            "platforms":["linux/amd64"],"unpacked":true,"created":"2026-01-02T03:04:05Z",\
            "updated":"2026-01-02T03:04:05Z"}""";

    @TempDir Path directory;

    private final FakeImages images = new FakeImages();

    private static String summary(String name) {
        return SUMMARY.formatted(name, ONE);
    }

    private Cli ok(String... args) {
        Cli run = Cli.run(images, args);
        assertEquals(0, run.exit(), run.toString());
        assertTrue(images.closed, "the session was not closed");
        return run;
    }

    private Cli json(String... args) {
        List<String> all = new ArrayList<>(List.of("--output", "json"));
        all.addAll(List.of(args));
        return ok(all.toArray(String[]::new));
    }

    // ---- results for programs

    @Test
    void pull_json_isOneObject() throws Exception {
        Cli run = json("--progress", "none", "pull", "n", "--platform", "linux/arm64");
        assertEquals(
                """
                {"name":"n:1","digest":"%s","chainId":"%s","layers":1,"fetchedBytes":3,\
                "reusedBytes":4,"millis":1500,"sources":[{"host":"host","bytes":3,"retries":0}],\
                "warnings":["watch out"]}"""
                        .formatted(ONE, TWO),
                run.json());
        assertEquals("imgctl: warning: watch out\n", run.err());
        assertEquals(
                List.of(
                        "pull PullRequest[reference=n, platform=Optional[linux/arm64],"
                                + " allPlatforms=false, unpack=true, plainHttp=false,"
                                + " credentials=Optional.empty]"),
                images.calls);
    }

    @Test
    void ls_json_isAList() throws Exception {
        assertEquals("[" + summary("a:1") + "," + summary("b:2") + "]", json("ls").json());
    }

    @Test
    void inspect_always_isJson() throws Exception {
        assertEquals(
                """
                {"name":"a:1","digest":"%1$s","mediaType":"application/x","platform":"linux/amd64",\
                "manifestDigest":"%1$s","manifest":{"schemaVersion":2},"configDigest":"%2$s",\
                "config":{"os":"linux"},"layers":[{"mediaType":"application/l","digest":"%2$s",\
                "sizeBytes":5,"present":true,"diffId":"%1$s","snapshot":"s"}],\
                "created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z","labels":{"k":"v"}}"""
                        .formatted(ONE, TWO),
                ok("inspect", "a").json());
    }

    @Test
    void tag_json_isTheNewImage() throws Exception {
        assertEquals(summary("b"), json("tag", "a", "b").json());
    }

    @Test
    void rm_json_listsWhatWentAndWhatDidNot() throws Exception {
        assertEquals("{\"removed\":[\"a\",\"b\"],\"failed\":[]}", json("rm", "a", "b").json());
        FakeImages some = new FakeImages(Map.of("x", ImageException.notFound("no x")));
        Cli run = Cli.run(some, "-o", "json", "rm", "a", "x", "b");
        assertEquals(Imgctl.EXIT_PARTIAL, run.exit());
        assertEquals(
                """
                {"removed":["a","b"],"failed":[{"reference":"x","code":"NOT_FOUND","message":"no x"}]}""",
                run.json());
    }

    @Test
    void gc_json_saysWhyWhenAsked() throws Exception {
        String deleted =
                """
                "deleted":[{"kind":"blob","id":"b","sizeBytes":7,"reason":"unused"}]""";
        assertEquals(
                "{\"dryRun\":true,\"freedBytes\":7," + deleted + "}",
                json("gc", "--dry-run").json());
        assertEquals(
                "{\"dryRun\":false,\"freedBytes\":7,"
                        + deleted
                        + ",\"kept\":[{\"kind\":\"blob\",\"id\":\"c\",\"sizeBytes\":8,\"reason\":\"of a:1\"}]}",
                json("gc", "--explain").json());
    }

    @Test
    void fsck_json_listsFindings() throws Exception {
        assertEquals("{\"findings\":[]}", json("fsck").json());
        images.findings = List.of("bad");
        Cli run = Cli.run(images, "-o", "json", "fsck", "--rehash");
        assertEquals(ErrorKind.DATA_LOSS.exitCode(), run.exit());
        assertEquals("{\"findings\":[\"bad\"]}", run.json());
    }

    @Test
    void mount_json_saysWhere() throws Exception {
        assertEquals(
                "{\"reference\":\"a\",\"directory\":\"/m\",\"writable\":true}",
                json("mount", "a", "/x/../m", "--rw", "--platform", "linux/arm64").json());
        assertEquals(List.of("mount a Optional[linux/arm64] /m true"), images.calls);
    }

    @Test
    void unmount_json_saysWhere() throws Exception {
        assertEquals("{\"directory\":\"/m\"}", json("unmount", "/m").json());
    }

    @Test
    void bundle_json_namesItsParts() throws Exception {
        assertEquals(
                """
                {"reference":"a","directory":"/b","rootfs":"/b/rootfs","config":"/b/config.json"}""",
                json("bundle", "a", "/b").json());
    }

    @Test
    void import_json_listsImages() throws Exception {
        assertEquals("[" + summary("a:1") + "]", json("import", "/in", "--name", "a:1").json());
        assertEquals(List.of("import /in Optional[a:1] true"), images.calls);
    }

    @Test
    void export_json_saysWhatWasWritten() throws Exception {
        Path target = directory.resolve("out.tar");
        assertEquals(
                "{\"path\":\"%s\",\"format\":\"oci-archive\",\"references\":[\"a\",\"b\"]}"
                        .formatted(target),
                json("export", target.toString(), "a", "b").json());
    }

    @Test
    void version_json_hasItsParts() throws Exception {
        String version = Cli.run(images, "version", "-o", "json").json();
        assertTrue(
                version.startsWith("{\"version\":\"" + Version.NUMBER + "\",\"java\":"), version);
    }

    // ---- results for people

    @Test
    void ls_table_hasAlignedColumns() {
        assertEquals(
                """
                NAME  DIGEST               SIZE      PLATFORMS    UNPACKED
                a:1   sha256:%1$s  2.00 KiB  linux/amd64  yes
                b:2   sha256:%1$s  2.00 KiB  linux/amd64  yes
                """
                        .formatted(FakeImages.ONE.shortHex()),
                ok("ls").out());
        assertEquals("a:1\nb:2\n", ok("ls", "-q").out());
    }

    @Test
    void pull_text_printsResultsAndTheRestApart() {
        Cli run = ok("--progress", "plain", "pull", "n");
        assertEquals("n:1@" + ONE + "\n", run.out());
        assertTrue(run.err().contains("n: done 3 B / 3 B"), run.err());
        assertTrue(run.err().contains("1 layer, 3 B fetched, 4 B reused, in 1.50s"), run.err());
        assertEquals(ONE + "\n", ok("pull", "-q", "n").out());
    }

    @Test
    void unmount_text_isSilent() {
        Cli run = ok("umount", "/m");
        assertEquals("", run.out() + run.err());
    }

    @Test
    void rm_someFail_printsBothAndIsPartial() {
        FakeImages some = new FakeImages(Map.of("x", ImageException.notFound("no x")));
        Cli run = Cli.run(some, "rm", "a", "x");
        assertEquals(Imgctl.EXIT_PARTIAL, run.exit());
        assertEquals("a\n", run.out());
        assertEquals("imgctl: no x\n", run.err());
    }

    @Test
    void rm_theOnlyOneFails_isItsError() {
        FakeImages none = new FakeImages(Map.of("x", ImageException.notFound("no x")));
        Cli run = Cli.run(none, "rm", "x");
        assertEquals(ErrorKind.NOT_FOUND.exitCode(), run.exit());
        assertEquals("", run.out());
        assertEquals("imgctl: no x\n", run.err());
    }

    @ParameterizedTest
    @CsvSource({
        "out.tar,,OCI_ARCHIVE",
        "out,,OCI_DIRECTORY",
        "out.tar,docker-archive,DOCKER_ARCHIVE",
        "out.tar,OCI-DIR,OCI_DIRECTORY"
    })
    void export_format_followsNameAndOption(String name, String format, String expected) {
        Path target = directory.resolve(name);
        if (format == null) {
            ok("export", target.toString(), "a");
        } else {
            ok("export", target.toString(), "a", "--format", format);
        }
        assertEquals(List.of("export [a] " + target + " " + expected), images.calls);
    }

    @Test
    void export_toWhatExistsOrInNoFormat_isRefused() throws Exception {
        Path target = Files.createFile(directory.resolve("there"));
        Cli exists = Cli.run(images, "export", target.toString(), "a");
        assertEquals(ErrorKind.ALREADY_EXISTS.exitCode(), exists.exit());
        Cli format =
                Cli.run(
                        images,
                        "export",
                        directory.resolve("x").toString(),
                        "a",
                        "--format",
                        "zip");
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), format.exit());
        assertTrue(format.err().contains("wanted oci-archive, oci-dir or docker-archive"));
        assertEquals(List.of(), images.calls);
    }

    // ---- the command line itself

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "bundle a /b|Optional.empty /b []",
                "bundle a /b sh -c true|Optional.empty /b [sh, -c, true]",
                "bundle a /b -- sh -c true|Optional.empty /b [sh, -c, true]",
                "bundle a /b ls -o json --root /x -h|Optional.empty /b [ls, -o, json, --root, /x, -h]",
                "bundle a /b sh -- x|Optional.empty /b [sh, --, x]",
                "bundle --platform linux/arm64 a /b sh|Optional[linux/arm64] /b [sh]",
                "bundle a --platform linux/arm64 /b sh|Optional[linux/arm64] /b [sh]",
                "bundle a /b --platform linux/arm64 sh --platform x|Optional[linux/arm64] /b [sh, --platform, x]"
            })
    void bundle_wordsAfterTheDirectory_areTheCommand(String line, String expected) {
        ok(line.split(" "));
        assertEquals(List.of("bundle a " + expected), images.calls);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "pul a",
                "pull",
                "pull a b c",
                "ls --nonsense",
                "mount a",
                "rm",
                "-o xml ls",
                "completion fish",
                "bundle a /b -c"
            })
    void wrongCommandLine_isUsageWithAHint(String line) {
        Cli run = Cli.run(images, line.isEmpty() ? new String[0] : line.split(" "));
        assertEquals(Imgctl.EXIT_USAGE, run.exit());
        assertEquals("", run.out());
        assertTrue(run.err().startsWith("imgctl: "), run.err());
        assertTrue(run.err().contains("--help' for its usage."), run.err());
        assertEquals(List.of(), images.calls);
    }

    @Test
    void unknownCommand_isNamed() {
        String error = Cli.run(images, "--debug", "frobnicate", "x").err();
        assertTrue(error.startsWith("imgctl: \"frobnicate\": no such command\n"), error);
        String below = Cli.run(images, "registry", "frobnicate").err();
        assertTrue(below.startsWith("imgctl: \"frobnicate\": no such command\n"), below);
        assertTrue(below.contains("imgctl registry --help"), below);
    }

    @ParameterizedTest
    @CsvSource({
        "impotr x, imgctl import",
        "pul a, imgctl pull",
        "images, imgctl ls",
        "images ls, imgctl ls",
        "rmi a, imgctl rm",
        "digest a, imgctl manifest digest",
        "list-tags a, imgctl registry tags",
        "catalog a, imgctl registry catalog",
        "load -i a.tar, imgctl import",
        "save a, imgctl export",
        "system prune, ''",
        "frobnicate, ''",
        "registry tabs, imgctl registry tags",
        "registry ls a, imgctl registry tags",
        "manifest inspect a, imgctl manifest get",
        "blob fetch a, imgctl blob get"
    })
    void unknownCommand_ofAnotherProgramOrMisspelt_isSuggested(String line, String meant) {
        Cli run = Cli.run(images, line.split(" "));
        assertEquals(Imgctl.EXIT_USAGE, run.exit());
        String first = run.err().lines().findFirst().orElse("");
        assertTrue(
                first.endsWith(
                        ": no such command"
                                + (meant.isEmpty() ? "" : "; did you mean \"" + meant + "\"?")),
                run.err());
        assertEquals(2, run.err().lines().count(), run.err());
    }

    @ParameterizedTest
    @CsvSource({
        "pull a --plattform x, --plattform, --platform",
        "pull a --plain-htp, --plain-htp, --plain-http",
        "pull a -platform=x, -platform, --platform",
        "pull a --all, --all, --all-platforms",
        "push a --creds=me:canary, --creds, --user",
        "copy oci:a oci:b --multi-arch index-only, --multi-arch, --all-platforms",
        "ls --nonsense, --nonsense, ''",
        "ls -x, -x, ''",
        "ls -wcanary, -w, ''",
        "pull a --user me -p canary, -p, ''",
        "pull a --user me -pcanary, -p, ''",
        "--dbug ls, --dbug, --debug"
    })
    void unknownOption_isNamedWithoutItsValueAndTheNearestSuggested(
            String line, String option, String meant) {
        Cli run = Cli.run(images, line.split(" "));
        assertEquals(Imgctl.EXIT_USAGE, run.exit());
        assertEquals(
                "imgctl: \"%s\": no such option%s"
                        .formatted(
                                option, meant.isEmpty() ? "" : "; did you mean \"" + meant + "\"?"),
                run.err().lines().findFirst().orElse(""));
        assertFalse(run.err().contains("canary"), run.err());
        assertEquals(List.of(), images.calls);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "pull a --user me --password canary",
                "push a --password=canary",
                "registry tags a --password canary",
                "pull a --password"
            })
    void passwordOnTheCommandLine_isRefusedWithoutBeingShown(String line) {
        Cli run = Cli.run(images, line.split(" "));
        assertEquals(ErrorKind.INVALID_ARGUMENT.exitCode(), run.exit());
        assertTrue(run.err().contains("list of processes"), run.err());
        assertTrue(run.err().contains("--password-stdin < FILE"), run.err());
        assertFalse(run.err().contains("canary"), run.err());
        assertEquals(List.of(), images.calls);
        assertFalse(Cli.run(images, "pull", "--help").out().contains("--password,"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "pull",
                "ls",
                "inspect",
                "tag",
                "rm",
                "gc",
                "fsck",
                "mount",
                "unmount",
                "bundle",
                "import",
                "export",
                "registry",
                "quickstart",
                "config",
                "version",
                "completion"
            })
    void everyCommand_explainsItself(String command) {
        Cli run = Cli.run(images, command, "--help");
        assertEquals(0, run.exit(), run.toString());
        assertTrue(run.out().startsWith("Usage: imgctl " + command), run.out());
        assertEquals("", run.err());
        String all = Cli.run(images, "--help").out();
        assertTrue(all.contains("\n  " + command), all);
    }

    @Test
    void configContainerd_bothVersions_nameTheSocket() throws Exception {
        Path file =
                Files.writeString(
                        directory.resolve("config.toml"),
                        "root = '/r'\n[snapshotter]\naddress = '/s.sock'\n");
        String two = Cli.run(images, "--config", file.toString(), "config", "containerd").out();
        assertTrue(two.contains("address = \"/s.sock\""), two);
        assertTrue(two.contains("[plugins.\"io.containerd.grpc.v1.cri\".containerd]"), two);
        String three =
                Cli.run(
                                images,
                                "--config",
                                file.toString(),
                                "config",
                                "containerd",
                                "--config-version",
                                "3")
                        .out();
        assertTrue(three.contains("root = \"/r\""), three);
        assertTrue(three.contains("[plugins.'io.containerd.cri.v1.images']"), three);
        assertTrue(
                three.contains("[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]"),
                three);
        assertFalse(three.contains("%s"), three);
        for (String text : List.of(two, three)) {
            var tree = new tools.jackson.dataformat.toml.TomlMapper().readTree(text);
            assertEquals("snapshot", tree.at("/proxy_plugins/imgd/type").stringValue());
        }
        assertEquals(
                ErrorKind.INVALID_ARGUMENT.exitCode(),
                Cli.run(images, "config", "containerd", "--config-version", "1").exit());
    }
}
