package dev.imgd.image;

import static dev.imgd.image.Host.assertFails;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.imgd.image.ImageService.GcReport;
import dev.imgd.image.ImageService.ImageDetails;
import dev.imgd.image.ImageService.ProgressListener;
import dev.imgd.image.ImageService.PullRequest;
import dev.imgd.linux.Fs;
import dev.imgd.linux.Mounts;
import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Platform;
import dev.imgd.testkit.ImageBuilder;
import dev.imgd.testkit.InMemoryRegistry;
import dev.imgd.testkit.TestImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class ManagementTest {
    private static final Platform AMD64 = new Platform("linux", "amd64", "");
    private static final Platform ARM64 = new Platform("linux", "arm64", "v8");

    @TempDir Path directory;
    private InMemoryRegistry registry;
    private Host host;

    @BeforeEach
    void start() throws IOException {
        registry = InMemoryRegistry.start();
        host = Host.open(directory);
    }

    @AfterEach
    void stop() throws ImageException {
        host.close();
        registry.close();
    }

    private static ImageBuilder builder() {
        return ImageBuilder.oci()
                .layer(
                        tar ->
                                tar.directory("etc", 0755)
                                        .file("etc/base", "base")
                                        .file(
                                                "etc/passwd",
                                                "root:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n")
                                        .file("etc/group", "root:x:0:\nextra:x:77:app,other\n"));
    }

    private static TestImage image(String text) {
        return builder().layer(tar -> tar.file("text", text)).command("/bin/run").build();
    }

    private String pulled(String name, TestImage image) throws ImageException {
        String reference = registry.push(name, "1", image);
        host.pull(reference);
        return reference;
    }

    // ---- names

    @Test
    void list_inspect_showWhatIsThere() throws IOException {
        TestImage image = image("x");
        String reference = pulled("a", image);
        var summary = host.images.list().getFirst();
        assertEquals(reference, summary.name());
        assertEquals(image.manifest().digest(), summary.digest());
        assertTrue(summary.unpacked());
        assertEquals(
                image.content().size()
                        + image.blobs().values().stream().mapToLong(blob -> blob.size()).sum(),
                summary.sizeBytes());
        ImageDetails details = host.images.inspect(reference, Optional.empty());
        assertEquals("linux/amd64", details.platform());
        assertEquals(
                image.diffIds(),
                details.layers().stream().map(layer -> layer.diffId().orElseThrow()).toList());
        assertTrue(details.layers().stream().allMatch(layer -> layer.snapshot().isPresent()));
        assertEquals(
                details.layers().getLast().chainId().map(Digest::toString), details.snapshot());
        assertEquals(image.content().size(), details.manifest().length());
    }

    /// The list of an image store is asked for more often than anything else.
    @Test
    void list_readsNoDocument() throws IOException {
        TestImage image = image("x");
        pulled("a", image);
        Path manifest = host.store.content().path(image.manifest().digest());
        var before = host.images.list();
        byte[] content = Files.readAllBytes(manifest);
        Files.delete(manifest);
        assertEquals(before, host.images.list());
        Files.write(manifest, content);
    }

    @Test
    void list_withAndWithoutTheLabelsOfManifests_isTheSame() throws IOException {
        Map<Platform, TestImage> platforms = new LinkedHashMap<>();
        platforms.put(ARM64, builder().platform(ARM64).layer(t -> t.file("arm", "1")).build());
        platforms.put(AMD64, builder().platform(AMD64).build());
        String reference = registry.push("a", "1", TestImage.index(platforms));
        for (boolean all : List.of(false, true)) {
            host.images.pull(
                    new PullRequest(reference, Optional.of("linux/amd64"), all, true, false),
                    ProgressListener.NONE);
            var labelled = host.images.list();
            assertEquals(
                    all ? List.of(AMD64.format(), ARM64.format()) : List.of(AMD64.format()),
                    labelled.getFirst().platforms());
            for (TestImage image : platforms.values()) {
                Digest manifest = image.manifest().digest();
                if (host.store.content().find(LocalImageService.NAMESPACE, manifest).isPresent()) {
                    var info =
                            host.store
                                    .content()
                                    .updateLabels(
                                            LocalImageService.NAMESPACE,
                                            manifest,
                                            Map.of(),
                                            List.of("imgd.dev/platform"));
                    assertEquals(Map.of(), info.labels());
                }
            }
            assertEquals(labelled, host.images.list());
        }
    }

    @Test
    void tag_thenRemoveTheSource_keepsTheImage() throws IOException {
        String reference = pulled("a", image("x"));
        assertEquals("docker.io/library/b:2", host.images.tag(reference, "b:2").name());
        assertFails(
                ErrorKind.INVALID_ARGUMENT,
                () -> host.images.tag(reference, "b@" + Digest.sha256(new byte[0])));
        assertFails(ErrorKind.NOT_FOUND, () -> host.images.tag("nothing", "c"));
        assertEquals(List.of(reference), host.images.remove(List.of(reference)));
        host.images.gc(false, false);
        host.assertSound();
        Path mount = directory.resolve("m");
        host.images.mount("b:2", mount, false);
        assertEquals("x", Files.readString(mount.resolve("text")));
        host.images.unmount(mount);
        host.images.remove(List.of("b:2"));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void tag_ofAMultiPlatformImage_keepsAllPlatforms() throws IOException {
        Map<Platform, TestImage> platforms = new LinkedHashMap<>();
        platforms.put(AMD64, builder().platform(AMD64).build());
        platforms.put(ARM64, builder().platform(ARM64).layer(t -> t.file("arm", "1")).build());
        String reference = registry.push("a", "1", TestImage.index(platforms));
        host.images.pull(
                new PullRequest(reference, Optional.of("linux/amd64"), true, true, false),
                ProgressListener.NONE);
        host.images.tag(reference, "b");
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        assertEquals(
                List.of("linux/amd64", "linux/arm64/v8"),
                host.images.list().getFirst().platforms().stream().sorted().toList());
        host.assertSound();
    }

    @Test
    void remove_severalWithOneUnknown_removesThoseBefore() throws IOException {
        String first = pulled("a", image("x"));
        String second = pulled("b", image("y"));
        assertFails(
                ErrorKind.NOT_FOUND, () -> host.images.remove(List.of(first, "nothing", second)));
        assertEquals(List.of(second), host.names());
    }

    @Test
    void imageThatIsNotThere_saysWhichIsMeant() throws IOException {
        assertTrue(notThere("nothing").endsWith("it has no images; pull it first"));
        pulled("team/debian", image("x"));
        host.images.tag(registry.authority() + "/team/debian:1", "alpine:3.20");
        assertEquals(
                "image docker.io/library/alpine:3.2: not in the store; did you mean"
                        + " \"alpine:3.20\"? imgctl ls lists what there is, and imgctl pull fetches"
                        + " more",
                notThere("alpine:3.2"));
        assertTrue(
                notThere("debian:12")
                        .contains(
                                "did you mean \"%s/team/debian:1\"?"
                                        .formatted(registry.authority())));
        assertTrue(notThere("nothing").contains("not in the store; imgctl ls lists what there is"));
        // To remove an image nobody has to pull it.
        ImageException e =
                assertFails(ErrorKind.NOT_FOUND, () -> host.images.remove(List.of("alpine:3.2")));
        assertTrue(
                e.getMessage()
                        .endsWith("did you mean \"alpine:3.20\"? imgctl ls lists what there is"),
                e.getMessage());
    }

    private String notThere(String name) {
        return String.valueOf(
                assertFails(ErrorKind.NOT_FOUND, () -> host.images.inspect(name, Optional.empty()))
                        .getMessage());
    }

    @Test
    void sweep_afterRemove_takesWhatOnlyThatImageNeeded() throws IOException {
        String first = pulled("a", image("x"));
        String second = pulled("b", image("y"));
        assertEquals(List.of(), host.images.sweep().deleted());
        host.images.remove(List.of(first));
        assertTrue(host.images.sweep().freedBytes() > 0);
        assertEquals(2, host.layers());
        assertEquals(2, host.directories().size());
        host.assertSound();
        host.images.remove(List.of(second));
        host.images.sweep();
        host.assertEmpty();
    }

    @Test
    void gc_sharedLayers_surviveWhileAnotherImageNeedsThem() throws IOException {
        String first = pulled("a", image("x"));
        String second = pulled("b", image("y"));
        assertEquals(3, host.layers());
        host.images.remove(List.of(first));
        GcReport dry = host.images.gc(true, true);
        assertEquals(3, host.layers());
        assertFalse(dry.kept().isEmpty());
        GcReport report = host.images.gc(false, false);
        assertEquals(dry.deleted().size(), report.deleted().size());
        assertTrue(report.freedBytes() > 0);
        assertEquals(2, host.layers());
        host.assertSound();
        host.images.remove(List.of(second));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    // ---- mounts

    @Test
    void mount_writable_hidesChangesFromOthersAndDropsThem() throws IOException {
        String reference = pulled("a", image("x"));
        Path one = directory.resolve("one");
        Path two = directory.resolve("two");
        host.images.mount(reference, one, true);
        host.images.mount(reference, two, false);
        try {
            Files.writeString(one.resolve("text"), "changed");
            assertEquals("x", Files.readString(two.resolve("text")));
            assertThrows(IOException.class, () -> Files.writeString(two.resolve("text"), "no"));
        } finally {
            host.images.unmount(one);
            host.images.unmount(two);
        }
        assertFalse(MountTable.isMounted(one));
        host.images.mount(reference, one, true);
        assertEquals("x", Files.readString(one.resolve("text")));
        host.images.unmount(one);
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void mount_twiceAtOneDirectory_isRefusedAndKeepsTheFirst() throws IOException {
        String reference = pulled("a", image("x"));
        Path mount = directory.resolve("with space");
        host.images.mount(reference, mount, false);
        try {
            assertFails(
                    ErrorKind.FAILED_PRECONDITION, () -> host.images.mount(reference, mount, true));
            assertEquals("x", Files.readString(mount.resolve("text")));
        } finally {
            host.images.unmount(mount);
        }
        assertFails(ErrorKind.FAILED_PRECONDITION, () -> host.images.unmount(mount));
    }

    @Test
    void unmount_ofWhatIsNotMounted_saysWhatIsThereAndWhatIsMounted() throws IOException {
        Path plain = Files.createDirectory(directory.resolve("plain"));
        Path absent = directory.resolve("absent");
        assertEquals(
                "unmount %s: wanted a mount or bundle of this store, got a directory where nothing is"
                                .formatted(plain)
                        + " mounted; the store's mounts: none",
                refusedUnmount(plain));
        String reference = pulled("a", image("x"));
        Path mount = directory.resolve("m");
        host.images.mount(reference, mount, false);
        try {
            assertEquals(
                    "unmount %s: wanted a mount or bundle of this store, got a path that does not exist;"
                                    .formatted(absent)
                            + " the store's mounts: "
                            + mount,
                    refusedUnmount(absent));
            assertTrue(
                    refusedUnmount(mount.resolve("text")).contains("got a file where nothing is"));
            assertTrue(MountTable.isMounted(mount));
        } finally {
            host.images.unmount(mount);
        }
    }

    @Test
    void unmount_whileThereAreManyMounts_namesSome() throws IOException {
        String reference = pulled("a", image("x"));
        int count = 12;
        try {
            for (int i = 0; i < count; i++) {
                host.images.mount(reference, directory.resolve("m-" + i), false);
            }
            String message = refusedUnmount(directory);
            assertTrue(message.endsWith(", …"), message);
            assertEquals(10, message.split("/m-", -1).length - 1, message);
        } finally {
            for (int i = 0; i < count; i++) {
                host.images.unmount(directory.resolve("m-" + i));
            }
        }
    }

    @Test
    void unmount_ofANameWithControlCharacters_saysSoOnOneLine() {
        String message = refusedUnmount(directory.resolve("a\n\u001b[1mb"));
        assertTrue(message.contains("/a\\u000a\\u001b[1mb: wanted"), message);
    }

    private String refusedUnmount(Path path) {
        return assertFails(ErrorKind.FAILED_PRECONDITION, () -> host.images.unmount(path))
                .getMessage();
    }

    @Test
    void unmount_ofAForeignMount_isRefused() throws IOException {
        Path foreign = Files.createDirectory(directory.resolve("foreign"));
        Mounts.mount("tmpfs", foreign.toString(), "tmpfs", 0, "size=4k");
        try {
            String message = refusedUnmount(foreign);
            assertTrue(message.contains("got a mount of type tmpfs by somebody else"), message);
            assertTrue(message.contains("undone with: umount " + foreign + ";"), message);
            assertTrue(MountTable.isMounted(foreign));
            String reference = pulled("a", image("x"));
            assertFails(
                    ErrorKind.FAILED_PRECONDITION,
                    () -> host.images.mount(reference, foreign, false));
        } finally {
            Mounts.umount2(foreign.toString(), 0);
        }
    }

    @Test
    void mount_removedImage_staysUntilUnmountedAlsoInANewProcess() throws IOException {
        String reference = pulled("a", image("x"));
        Path mount = directory.resolve("m");
        host.images.mount(reference, mount, false);
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        assertEquals("x", Files.readString(mount.resolve("text")));
        assertEquals(2, host.layers());
        host.close();
        host = Host.open(directory);
        host.images.gc(false, false);
        assertEquals("x", Files.readString(mount.resolve("text")));
        host.images.unmount(mount);
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void mount_imageStoredWithoutUnpacking_unpacksIt() throws IOException {
        String reference = registry.push("a", "1", image("x"));
        host.images.pull(
                new PullRequest(reference, Optional.empty(), false, false, false),
                ProgressListener.NONE);
        assertEquals(0, host.layers());
        assertFalse(host.images.list().getFirst().unpacked());
        registry.close();
        Path mount = directory.resolve("m");
        host.images.mount(reference, mount, false);
        assertEquals("x", Files.readString(mount.resolve("text")));
        host.images.unmount(mount);
        assertTrue(host.images.list().getFirst().unpacked());
        assertEquals(List.of(), host.leases());
        host.images.gc(false, false);
        assertEquals(2, host.layers());
        host.assertSound();
    }

    @Test
    void mount_afterAllReferencesAreGone_saysNotFound() throws IOException {
        assertFails(
                ErrorKind.NOT_FOUND,
                () -> host.images.mount("nothing", directory.resolve("m"), false));
        assertFalse(Files.exists(directory.resolve("m")));
    }

    // ---- bundles

    @Test
    void bundle_configuration_saysWhatTheImageSays() throws IOException {
        TestImage image = builder().env("A=b").command("/bin/run", "--fast").build();
        String reference = pulled("a", image);
        Path bundle = directory.resolve("bundle");
        host.images.bundle(reference, bundle, List.of());
        String json = Files.readString(bundle.resolve("config.json"));
        assertTrue(json.contains("\"/bin/run\""), json);
        assertTrue(json.contains("\"--fast\""), json);
        assertTrue(json.contains("\"A=b\""), json);
        assertTrue(json.contains("\"PATH="), json);
        assertEquals("base", Files.readString(bundle.resolve("rootfs/etc/base")));
        Files.writeString(bundle.resolve("rootfs/new"), "x");
        assertFails(
                ErrorKind.ALREADY_EXISTS, () -> host.images.bundle(reference, bundle, List.of()));
        host.images.unmount(bundle);
        assertFalse(MountTable.isMounted(bundle.resolve("rootfs")));
        assertFalse(Files.exists(bundle), "what bundle made is still there");

        Path other = directory.resolve("other");
        host.images.bundle(reference, other, List.of("/bin/sh", "-c", "true"));
        String overridden = Files.readString(other.resolve("config.json"));
        assertTrue(overridden.contains("\"/bin/sh\""), overridden);
        assertFalse(overridden.contains("--fast"), overridden);
        host.images.unmount(other.resolve("rootfs"));
        host.images.remove(List.of(reference));
        host.images.gc(false, false);
        host.assertEmpty();
    }

    @Test
    void unmount_ofABundle_keepsWhatIsSomebodyElses() throws IOException {
        String reference = pulled("a", builder().command("/bin/run").build());
        Path changed = directory.resolve("changed");
        host.images.bundle(reference, changed, List.of());
        Files.writeString(changed.resolve("config.json"), "{}");
        host.images.unmount(changed);
        assertEquals("{}", Files.readString(changed.resolve("config.json")));
        assertFalse(Files.exists(changed.resolve("rootfs")));

        Path given = Files.createDirectory(directory.resolve("given"));
        Path rootfs = Files.createDirectory(given.resolve("rootfs"));
        host.images.bundle(reference, given, List.of());
        host.images.unmount(rootfs);
        assertTrue(Files.isDirectory(rootfs));
        assertFalse(Files.exists(given.resolve("config.json")));
        host.images.bundle(reference, given, List.of());
        host.images.unmount(given);

        // A plain mount next to somebody's config.json says nothing about that file.
        Path own = Files.createDirectory(directory.resolve("own"));
        Files.writeString(own.resolve("config.json"), "mine");
        host.images.mount(reference, own.resolve("rootfs"), false);
        host.images.unmount(own);
        assertEquals("mine", Files.readString(own.resolve("config.json")));
    }

    @Test
    void mountAndBundle_ofAnotherPlatform_showIt() throws IOException {
        Map<Platform, TestImage> platforms = new LinkedHashMap<>();
        platforms.put(AMD64, ImageBuilder.oci().layer(t -> t.file("text", "amd")).build());
        platforms.put(
                ARM64,
                ImageBuilder.oci()
                        .platform(ARM64)
                        .command("/arm")
                        .layer(t -> t.file("text", "arm"))
                        .build());
        String reference = registry.push("multi", "1", TestImage.index(platforms));
        host.images.pull(
                new PullRequest(reference, Optional.of("linux/amd64"), true, true, false),
                ProgressListener.NONE);
        Path mount = directory.resolve("m");
        for (Map.Entry<String, String> wanted :
                Map.of("linux/amd64", "amd", "linux/arm64", "arm").entrySet()) {
            host.images.mount(reference, Optional.of(wanted.getKey()), mount, false);
            assertEquals(wanted.getValue(), Files.readString(mount.resolve("text")));
            host.images.unmount(mount);
        }
        Path bundle = directory.resolve("bundle");
        host.images.bundle(reference, Optional.of("linux/arm64"), bundle, List.of());
        assertEquals("arm", Files.readString(bundle.resolve("rootfs/text")));
        assertTrue(Files.readString(bundle.resolve("config.json")).contains("/arm"));
        host.images.unmount(bundle);
        assertFails(
                ErrorKind.NOT_FOUND,
                () -> host.images.mount(reference, Optional.of("linux/s390x"), mount, false));
    }

    @Test
    void bundle_withoutACommand_leavesNothing() throws IOException {
        String reference = pulled("a", builder().build());
        Path bundle = directory.resolve("bundle");
        ImageException e =
                assertFails(
                        ErrorKind.INVALID_ARGUMENT,
                        () -> host.images.bundle(reference, bundle, List.of()));
        assertTrue(e.getMessage().contains("imgctl bundle"), e.getMessage());
        assertFalse(MountTable.isMounted(bundle.resolve("rootfs")));
        assertFalse(Files.exists(bundle));
    }

    // ---- accounts

    private Accounts accounts(String passwd, String group) throws IOException {
        Path root = Files.createTempDirectory(directory, "root");
        Files.createDirectory(root.resolve("etc"));
        Files.writeString(root.resolve("etc/passwd"), passwd);
        Files.writeString(root.resolve("etc/group"), group);
        return Accounts.read(root);
    }

    @Test
    void resolve_everyFormOfUser_isUnderstood() throws IOException {
        Accounts accounts =
                accounts(
                        "# comment\nroot:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\n\nbroken\n",
                        "root:x:0:\nstaff:x:50:app\nextra:x:77:other,app\n");
        assertEquals(new Accounts.Identity(0, 0, List.of()), accounts.resolve(""));
        assertEquals(new Accounts.Identity(1001, 1002, List.of(50L, 77L)), accounts.resolve("app"));
        assertEquals(
                new Accounts.Identity(1001, 1002, List.of(50L, 77L)), accounts.resolve("1001"));
        assertEquals(new Accounts.Identity(1001, 50, List.of()), accounts.resolve("app:staff"));
        assertEquals(new Accounts.Identity(5, 6, List.of()), accounts.resolve("5:6"));
        assertEquals(new Accounts.Identity(5, 0, List.of()), accounts.resolve("5"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("nobody"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("app:nogroup"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("-1"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("4294967296"));
    }

    /// CVE-2024-40635 and CVE-2026-46680: numbers that became root.
    @Test
    void resolve_numberThatIsAlsoAName_isTheNumber() throws IOException {
        Accounts accounts =
                accounts(
                        "1000:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n",
                        "1000:x:0:\n4294967297:x:0:\n");
        assertEquals(new Accounts.Identity(1000, 0, List.of()), accounts.resolve("1000"));
        assertEquals(new Accounts.Identity(5, 1000, List.of()), accounts.resolve("5:1000"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("4294967296"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("5:4294967297"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> accounts.resolve("18446744073709551616"));
    }

    @Test
    void read_missingFiles_areEmpty() throws IOException {
        Path root = Files.createDirectory(directory.resolve("bare"));
        assertEquals(new Accounts.Identity(7, 0, List.of()), Accounts.read(root).resolve("7"));
    }

    @Test
    void read_linkToTheHost_staysInsideTheRoot() throws IOException {
        Path root = Files.createDirectory(directory.resolve("linked"));
        Files.createDirectory(root.resolve("etc"));
        Files.writeString(directory.resolve("secret"), "host:x:1:1::/:/\n");
        Files.createSymbolicLink(root.resolve("etc/passwd"), directory.resolve("secret"));
        assertFails(ErrorKind.INVALID_CONTENT, () -> Accounts.read(root).resolve("host"));
        // An absolute link means a place in the image.
        Files.delete(root.resolve("etc/passwd"));
        Files.createSymbolicLink(root.resolve("etc/passwd"), Path.of("/real"));
        Files.writeString(root.resolve("real"), "inner:x:3:4::/:/\n");
        assertEquals(new Accounts.Identity(3, 4, List.of()), Accounts.read(root).resolve("inner"));
    }

    @Test
    void read_fifoOrDirectory_doesNotHang() throws IOException, InterruptedException {
        Path root = Files.createDirectory(directory.resolve("odd"));
        Files.createDirectory(root.resolve("etc"));
        Fs.mknodat(Fs.AT_FDCWD, root.resolve("etc/passwd").toString(), 0010000 | 0644, 0, 0);
        assertTimeoutPreemptively(
                Duration.ofSeconds(10),
                () -> {
                    assertFails(ErrorKind.INVALID_CONTENT, () -> Accounts.read(root));
                });
    }
}
