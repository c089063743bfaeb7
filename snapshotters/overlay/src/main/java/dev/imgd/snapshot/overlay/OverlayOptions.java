package dev.imgd.snapshot.overlay;

import java.time.Clock;
import java.time.Duration;
import java.util.List;

/// How the overlay back end behaves.
///
/// @param mountOptions further overlayfs options for every overlay mount, for example
///   `metacopy=on`; `index=off` is added unless `index` is given and where the kernel knows it
/// @param upperDirectoryLabel whether infos carry the label
///   `containerd.io/snapshot/overlay.upperdir`
/// @param remapIds whether the labels `containerd.io/snapshot/uidmapping` and `gidmapping` of a
///   container's snapshot are honoured
/// @param usageTtl how long the usage of an active snapshot is not measured again; much longer when
///   measuring it is expensive
/// @param syncDelay how long after a commit its files are written to the disk in the background
/// @param syncOnClose whether [OverlaySnapshotService#close] waits until they are
/// @param clock gives created and updated
public record OverlayOptions(
        List<String> mountOptions,
        boolean upperDirectoryLabel,
        boolean remapIds,
        Duration usageTtl,
        Duration syncDelay,
        boolean syncOnClose,
        Clock clock) {
    public OverlayOptions {
        mountOptions = List.copyOf(mountOptions);
        for (String option : mountOptions) {
            if (option.isEmpty() || option.indexOf(',') >= 0) {
                throw new IllegalArgumentException("not one mount option: " + option);
            }
        }
    }

    /// No further options, no label, remapping, 5 s, 5 s, waits, the system clock.
    public static OverlayOptions defaults() {
        return new OverlayOptions(
                List.of(),
                false,
                true,
                Duration.ofSeconds(5),
                Duration.ofSeconds(5),
                true,
                Clock.systemUTC());
    }

    public OverlayOptions withUsageTtl(Duration ttl) {
        return new OverlayOptions(
                mountOptions, upperDirectoryLabel, remapIds, ttl, syncDelay, syncOnClose, clock);
    }

    public OverlayOptions withSyncOnClose(boolean wait) {
        return new OverlayOptions(
                mountOptions, upperDirectoryLabel, remapIds, usageTtl, syncDelay, wait, clock);
    }

    public OverlayOptions withSyncDelay(Duration delay) {
        return new OverlayOptions(
                mountOptions, upperDirectoryLabel, remapIds, usageTtl, delay, syncOnClose, clock);
    }

    public OverlayOptions withUpperDirectoryLabel(boolean label) {
        return new OverlayOptions(
                mountOptions, label, remapIds, usageTtl, syncDelay, syncOnClose, clock);
    }

    public OverlayOptions withMountOptions(List<String> options) {
        return new OverlayOptions(
                options, upperDirectoryLabel, remapIds, usageTtl, syncDelay, syncOnClose, clock);
    }
}
