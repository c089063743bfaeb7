package dev.imgd.snapshot.overlay;

import dev.imgd.linux.Mounts;
import dev.imgd.model.ErrnoException;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.snapshot.Mount;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// Carries out the mounts that [MountShapes] describes, with any number of layers.
final class MountCalls {
    private MountCalls() {}

    static void mount(List<Mount> mounts, Path target) throws ImageException {
        if (!Files.isDirectory(target)) {
            throw ImageException.failedPrecondition(
                    "mount at %s: wanted an existing directory; create it first".formatted(target));
        }
        String at = target.toAbsolutePath().toString();
        int done = 0;
        try {
            for (Mount mount : mounts) {
                mount(mount, at);
                done++;
            }
        } catch (ImageException e) {
            for (; done > 0; done--) {
                try {
                    Mounts.umount2(at, Mounts.UMOUNT_NOFOLLOW);
                } catch (ErrnoException undo) {
                    e.addSuppressed(undo);
                }
            }
            throw e;
        }
    }

    static void unmount(Path target) throws ImageException {
        try {
            Mounts.umount2(target.toAbsolutePath().toString(), Mounts.UMOUNT_NOFOLLOW);
        } catch (ErrnoException e) {
            if (e.errno() == ErrnoException.EINVAL) {
                throw new ImageException(
                        ErrorKind.FAILED_PRECONDITION,
                        "unmount of %s: nothing is mounted there".formatted(target),
                        e);
            }
            throw e;
        }
    }

    private static void mount(Mount mount, String target) throws ImageException {
        switch (mount.type()) {
            case "bind" -> bind(mount, target);
            case "overlay" -> overlay(mount, target);
            default ->
                    throw new ImageException(
                            ErrorKind.NOT_IMPLEMENTED,
                            "mount at %s: wanted type bind or overlay, got %s"
                                    .formatted(target, mount.type()));
        }
    }

    private static void bind(Mount mount, String target) throws ImageException {
        boolean recursive = false;
        boolean readOnly = false;
        for (String option : mount.options()) {
            switch (option) {
                case "rbind" -> recursive = true;
                case "bind", "rw" -> {}
                case "ro" -> readOnly = true;
                default -> throw unsupported(option, target);
            }
        }
        Mounts.bind(mount.source(), target, recursive, readOnly);
    }

    private static void overlay(Mount mount, String target) throws ImageException {
        List<String> lowers = List.of();
        @Nullable String upper = null;
        @Nullable String work = null;
        boolean readOnly = false;
        List<String> others = new ArrayList<>();
        for (String option : mount.options()) {
            int equals = option.indexOf('=');
            String key = equals < 0 ? option : option.substring(0, equals);
            String value = option.substring(equals + 1);
            switch (key) {
                case "lowerdir" -> lowers = List.of(value.split(":", -1));
                case "upperdir" -> upper = value;
                case "workdir" -> work = value;
                case "ro" -> readOnly = true;
                case "rw" -> {}
                case "uidmap", "gidmap" -> throw unsupported(option, target);
                default -> others.add(option);
            }
        }
        Mounts.mountOverlay(lowers, upper, work, target, others, readOnly);
    }

    private static ImageException unsupported(String option, String target) {
        return new ImageException(
                ErrorKind.NOT_IMPLEMENTED,
                "mount at %s: option %s is for the container runtime's own mounts"
                        .formatted(target, option));
    }
}
