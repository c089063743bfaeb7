package dev.imgd.image;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageConfig;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// OCI runtime bundles: what `runc run` takes. The confinement is that of containerd's default
/// specification: the same capabilities, namespaces, masked paths and devices. **Source:** OCI
/// runtime-spec v1.2, config.md.
final class RuntimeBundle {
    private static final Logger LOG = LoggerFactory.getLogger(RuntimeBundle.class);
    static final String ROOTFS = "rootfs";

    private static final String CONFIG = "config.json";

    /// The digest of `config.json` as it was written.
    private static final String CONFIG_LABEL = "imgd.dev/bundle.config";

    /// What had to be made: `rootfs`, or `directory` for both; empty for nothing.
    private static final String MADE_LABEL = "imgd.dev/bundle.made";

    /// No configuration written here comes near this.
    private static final int MAX_CONFIG_BYTES = 16 << 20;

    private static final String DEFAULT_PATH =
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private static final List<String> CAPABILITIES =
            List.of(
                    "CAP_CHOWN",
                    "CAP_DAC_OVERRIDE",
                    "CAP_FSETID",
                    "CAP_FOWNER",
                    "CAP_MKNOD",
                    "CAP_NET_RAW",
                    "CAP_SETGID",
                    "CAP_SETUID",
                    "CAP_SETFCAP",
                    "CAP_SETPCAP",
                    "CAP_NET_BIND_SERVICE",
                    "CAP_SYS_CHROOT",
                    "CAP_KILL",
                    "CAP_AUDIT_WRITE");
    private static final List<String> MASKED =
            List.of(
                    "/proc/acpi",
                    "/proc/asound",
                    "/proc/kcore",
                    "/proc/keys",
                    "/proc/latency_stats",
                    "/proc/timer_list",
                    "/proc/timer_stats",
                    "/proc/sched_debug",
                    "/sys/firmware",
                    "/sys/devices/virtual/powercap",
                    "/proc/scsi");
    private static final List<String> READ_ONLY =
            List.of("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger");

    private RuntimeBundle() {}

    /// Makes `directory` with a mounted root file system and its configuration.
    ///
    /// @param arguments replace the image's `Cmd`, or all of its command when it has no
    ///   `Entrypoint`
    static void create(
            Mounting mounting,
            String name,
            ImageConfig image,
            Digest top,
            Path directory,
            List<String> arguments)
            throws ImageException {
        Path config = directory.resolve(CONFIG);
        Path rootfs = directory.resolve(ROOTFS);
        if (Files.exists(config)) {
            throw ImageException.alreadyExists(
                    "%s: exists already; remove it or choose another directory".formatted(config));
        }
        List<String> command = command(name, image.config(), arguments);
        boolean newDirectory = !Files.exists(directory);
        boolean newRootfs = !Files.exists(rootfs);
        mounting.mount(top.toString(), rootfs, true);
        boolean created = false;
        boolean done = false;
        try {
            Accounts.Identity identity = Accounts.read(rootfs).resolve(image.config().user());
            byte[] json =
                    (specification(image.config(), identity, command) + "\n")
                            .getBytes(StandardCharsets.UTF_8);
            // Noted first: what a crash leaves of the file is then not taken for somebody's own.
            mounting.note(
                    rootfs,
                    Map.of(
                            CONFIG_LABEL,
                            Digest.sha256(json).toString(),
                            MADE_LABEL,
                            newDirectory ? "directory" : newRootfs ? "rootfs" : ""));
            Files.createFile(config);
            created = true;
            Files.write(config, json);
            done = true;
        } catch (ImageException e) {
            throw e;
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: cannot write: %s".formatted(config, e.getMessage()),
                    e);
        } finally {
            if (!done) {
                if (created) {
                    discard(config);
                }
                mounting.unmount(rootfs);
                if (newRootfs) {
                    discard(rootfs);
                }
                if (newDirectory) {
                    discard(directory);
                }
            }
        }
    }

    /// Removes a file, or a directory nobody put anything into.
    private static void discard(Path path) {
        if (!path.toFile().delete()) {
            LOG.debug("{}: left there, somebody else uses it", path);
        }
    }

    /// Removes what [#create] made around the root file system, which is unmounted already: the
    /// configuration unless somebody changed it, and directories that were not there before.
    ///
    /// @param labels of the snapshot; those of a plain mount name nothing
    static void remove(Path rootfs, Map<String, String> labels) throws ImageException {
        String written = labels.get(CONFIG_LABEL);
        Path directory = rootfs.getParent();
        if (written == null || directory == null) {
            return;
        }
        Path config = directory.resolve(CONFIG);
        try {
            if (Files.isRegularFile(config, LinkOption.NOFOLLOW_LINKS)
                    && Files.size(config) <= MAX_CONFIG_BYTES
                    && Digest.sha256(Files.readAllBytes(config)).toString().equals(written)) {
                Files.delete(config);
            } else if (Files.exists(config, LinkOption.NOFOLLOW_LINKS)) {
                LOG.warn("{}: was changed since it was written, so it is kept", config);
            }
        } catch (IOException e) {
            throw new ImageException(
                    ErrorKind.PERMISSION_DENIED,
                    "%s: cannot remove: %s".formatted(config, e.getMessage()),
                    e);
        }
        String made = labels.getOrDefault(MADE_LABEL, "");
        if (!made.isEmpty()) {
            discard(rootfs);
        }
        if (made.equals("directory")) {
            discard(directory);
        }
    }

    private static List<String> command(
            String name, ImageConfig.Execution config, List<String> arguments)
            throws ImageException {
        List<String> command = new ArrayList<>(config.entrypoint());
        command.addAll(arguments.isEmpty() ? config.cmd() : arguments);
        if (command.isEmpty()) {
            throw ImageException.invalidArgument(
                    ("%s: the image names no command; give one, for example:"
                                    + " imgctl bundle %s DIR /bin/sh")
                            .formatted(name, name));
        }
        return command;
    }

    private static String specification(
            ImageConfig.Execution config, Accounts.Identity identity, List<String> command) {
        List<String> environment = new ArrayList<>();
        if (config.env().stream().noneMatch(variable -> variable.startsWith("PATH="))) {
            environment.add(DEFAULT_PATH);
        }
        environment.addAll(config.env());
        JsonWriter json =
                JsonWriter.indented()
                        .beginObject()
                        .member("ociVersion", "1.0.2")
                        .beginObject("process")
                        .member("terminal", false)
                        .beginObject("user")
                        .member("uid", identity.uid())
                        .member("gid", identity.gid());
        if (!identity.additionalGids().isEmpty()) {
            json.beginArray("additionalGids");
            for (long gid : identity.additionalGids()) {
                json.value(gid);
            }
            json.endArray();
        }
        json.endObject()
                .member("args", command)
                .member("env", environment)
                .member("cwd", config.workingDir().isEmpty() ? "/" : config.workingDir())
                .beginObject("capabilities")
                .member("bounding", CAPABILITIES)
                .member("effective", CAPABILITIES)
                .member("permitted", CAPABILITIES)
                .endObject()
                .beginArray("rlimits")
                .beginObject()
                .member("type", "RLIMIT_NOFILE")
                .member("hard", 1024)
                .member("soft", 1024)
                .endObject()
                .endArray()
                .member("noNewPrivileges", true)
                .endObject()
                .beginObject("root")
                .member("path", ROOTFS)
                .member("readonly", false)
                .endObject()
                .beginArray("mounts");
        mount(json, "/proc", "proc", "proc", "nosuid", "noexec", "nodev");
        mount(json, "/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k");
        mount(
                json,
                "/dev/pts",
                "devpts",
                "devpts",
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5");
        mount(
                json,
                "/dev/shm",
                "tmpfs",
                "shm",
                "nosuid",
                "noexec",
                "nodev",
                "mode=1777",
                "size=65536k");
        mount(json, "/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");
        mount(json, "/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro");
        mount(json, "/run", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k");
        json.endArray().beginObject("linux").beginArray("namespaces");
        for (String namespace : List.of("pid", "ipc", "uts", "mount", "network")) {
            json.beginObject().member("type", namespace).endObject();
        }
        json.endArray()
                .beginObject("resources")
                .beginArray("devices")
                .beginObject()
                .member("allow", false)
                .member("access", "rwm")
                .endObject()
                .endArray()
                .endObject()
                .member("maskedPaths", MASKED)
                .member("readonlyPaths", READ_ONLY)
                .endObject();
        return json.endObject().toString();
    }

    private static void mount(
            JsonWriter json, String destination, String type, String source, String... options) {
        json.beginObject()
                .member("destination", destination)
                .member("type", type)
                .member("source", source)
                .member("options", List.of(options))
                .endObject();
    }
}
