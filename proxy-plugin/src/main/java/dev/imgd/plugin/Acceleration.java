package dev.imgd.plugin;

import dev.imgd.model.Digest;
import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.Text;
import dev.imgd.plugin.SnapshotLabels.ImageLabels;
import dev.imgd.snapshot.Kind;
import dev.imgd.snapshot.SnapshotInfo;
import dev.imgd.snapshot.SnapshotService;
import io.grpc.Context;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Answers a Prepare that names its target by having the target there already.
///
/// containerd asks `Prepare(key, parent, {containerd.io/snapshot.ref: T})`. When the answer is
/// `ALREADY_EXISTS`, it walks the view for a committed snapshot whose label
/// `containerd.io/snapshot.ref` is T and whose parent is the parent it asked with, adopts that
/// under whatever name it has, and skips fetching and applying the layer. **Source:** containerd
/// `core/metadata/snapshot.go`, `createSnapshot`.
///
/// The snapshot is named T, without a namespace, so all namespaces of a containerd share it.
/// containerd's own names always hold slashes and never collide with it. When the parent is not
/// such a shared snapshot (containerd made it itself), the name gets a suffix that depends on the
/// parent: T may then exist several times, once per parent.
final class Acceleration {
    private static final Logger LOG = LoggerFactory.getLogger(Acceleration.class);

    private static final int MAX_REMEMBERED_FAILURES = 256;

    private final SnapshotService snapshots;
    private final Accelerator accelerator;
    private final AccelerateOptions options;
    private final InstantSource clock;

    /// Image to the moment until which it is left to containerd; the eldest goes first.
    private final LinkedHashMap<String, Instant> failures =
            new LinkedHashMap<>() {
                @Override
                protected boolean removeEldestEntry(Map.Entry<String, Instant> eldest) {
                    return size() > MAX_REMEMBERED_FAILURES;
                }
            };

    Acceleration(
            SnapshotService snapshots,
            Accelerator accelerator,
            AccelerateOptions options,
            InstantSource clock) {
        this.snapshots = snapshots;
        this.accelerator = accelerator;
        this.options = options;
        this.clock = clock;
    }

    /// A Prepare that names its target.
    record Target(
            String view,
            String namespace,
            String parent,
            Digest chainId,
            Map<String, String> labels) {

        /// The name of the target in the view.
        String name() {
            if (parent.isEmpty() || isDigest(parent)) {
                return chainId.toString();
            }
            Digest suffix = Digest.sha256(parent.getBytes(StandardCharsets.UTF_8));
            return chainId + "@" + suffix.hex().substring(0, 16);
        }

        private static boolean isDigest(String name) {
            try {
                Digest.parse(name);
                return true;
            } catch (ImageException e) {
                return false;
            }
        }
    }

    /// The target of a Prepare; empty when it names none that could be provided.
    Optional<Target> target(
            String view, String namespace, String parent, Map<String, String> labels) {
        String chainId = labels.get(SnapshotLabels.TARGET);
        if (chainId == null) {
            return Optional.empty();
        }
        try {
            return Optional.of(
                    new Target(
                            view,
                            namespace,
                            parent,
                            Digest.parse(chainId),
                            SnapshotLabels.inherited(labels)));
        } catch (ImageException e) {
            LOG.debug("target is no chainID: {}", e.getMessage());
            return Optional.empty();
        }
    }

    /// Whether containerd would find the target in the view.
    boolean present(Target target) throws ImageException {
        try {
            SnapshotInfo info = snapshots.view(target.view).stat(target.name());
            return info.kind() == Kind.COMMITTED
                    && info.parent().equals(target.parent)
                    && target.chainId.toString().equals(info.labels().get(SnapshotLabels.TARGET));
        } catch (ImageException e) {
            if (e.kind() == ErrorKind.NOT_FOUND) {
                return false;
            }
            throw e;
        }
    }

    /// Refuses a target whose labels name an image that may not be used. One whose labels name none
    /// cannot be judged; containerd's own verifiers decide on those.
    ///
    /// @throws ImageException when the image is refused, or when it cannot be decided
    void admit(Target target) throws ImageException {
        Optional<ImageLabels> image;
        try {
            image = SnapshotLabels.image(target.labels, options.labelSources());
        } catch (ImageException e) {
            LOG.debug("labels name no image: {}", e.getMessage());
            return;
        }
        if (image.isPresent()) {
            accelerator.admit(request(target, image.get()));
        }
    }

    /// Has the target provided and shows it in the view. Blocks up to [AccelerateOptions#maxWait].
    ///
    /// @return false when containerd has to fetch the layer; the reason has been logged
    /// @throws ImageException `CANCELLED` when the call of the current context was
    boolean provide(Target target) throws ImageException {
        ImageLabels image;
        try {
            Optional<ImageLabels> named =
                    SnapshotLabels.image(target.labels, options.labelSources());
            if (named.isEmpty()) {
                LOG.debug("no label names the image chain_id={}", target.chainId);
                return false;
            }
            image = named.get();
        } catch (ImageException e) {
            decline("labels of " + target.chainId, e.getMessage());
            return false;
        }
        String key = image.image() + image.manifestDigest().map(digest -> " " + digest).orElse("");
        if (recentlyFailed(key)) {
            LOG.debug("image is left to containerd image={} chain_id={}", key, target.chainId);
            return false;
        }
        try {
            show(target, await(request(target, image)));
            return true;
        } catch (ImageException e) {
            if (Context.current().isCancelled()) {
                throw new ImageException(ErrorKind.CANCELLED, "the call was cancelled", e);
            }
            decline(key, e.getMessage());
            return false;
        }
    }

    private static AccelerateRequest request(Target target, ImageLabels image) {
        return new AccelerateRequest(
                target.view,
                target.namespace,
                image.image(),
                image.manifestDigest(),
                image.layerDigest(),
                image.layersFromHere(),
                target.chainId,
                target.parent,
                target.labels);
    }

    /// Runs the accelerator on a thread of its own, so that only code that expects it is
    /// interrupted.
    private ProvidedLayer await(AccelerateRequest request) throws ImageException {
        FutureTask<ProvidedLayer> task = new FutureTask<>(() -> accelerator.provide(request));
        Thread.ofVirtual().name("imgd-provide").start(task);
        Context.CancellationListener cancel = _ -> task.cancel(true);
        Context context = Context.current();
        context.addListener(cancel, Runnable::run);
        Duration maxWait = options.maxWait();
        try {
            return task.get(maxWait.toNanos(), TimeUnit.NANOSECONDS);
        } catch (TimeoutException e) {
            throw new ImageException(
                    ErrorKind.DEADLINE_EXCEEDED,
                    "layer %s: not there after %d s"
                            .formatted(request.layerDigest(), maxWait.toSeconds()),
                    e);
        } catch (InterruptedException | CancellationException e) {
            throw new ImageException(ErrorKind.CANCELLED, "the call was cancelled", e);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof ImageException known) {
                throw known;
            }
            LOG.error("providing a layer failed because of a bug", e.getCause());
            throw new ImageException(ErrorKind.INTERNAL, "internal error: " + e.getCause(), e);
        } finally {
            context.removeListener(cancel);
            task.cancel(true);
        }
    }

    private void show(Target target, ProvidedLayer layer) throws ImageException {
        if (!layer.chainId().equals(target.chainId)) {
            throw ImageException.failedPrecondition(
                    "wanted the chainID %s, the image's configuration gives %s"
                            .formatted(target.chainId, layer.chainId()));
        }
        String below = chainOf(target.view, target.parent);
        String wanted = layer.parentChain().map(Digest::toString).orElse("");
        if (!below.equals(wanted)) {
            throw ImageException.failedPrecondition(
                    "parent \"%s\": wanted the chainID \"%s\", it has \"%s\""
                            .formatted(Text.printable(target.parent, 160), wanted, below));
        }
        snapshots.link(
                target.view,
                target.name(),
                target.parent,
                layer.tree(),
                layer.parentTree(),
                target.labels);
        if (!present(target)) {
            throw ImageException.alreadyExists(
                    "snapshot \"%s\": another one of that name is in the way"
                            .formatted(target.name()));
        }
    }

    /// The chainID a parent was made for: containerd sends the label with Prepare and with Commit.
    private String chainOf(String view, String parent) throws ImageException {
        if (parent.isEmpty()) {
            return "";
        }
        Map<String, String> labels = snapshots.view(view).stat(parent).labels();
        return labels.getOrDefault(SnapshotLabels.TARGET, "");
    }

    private boolean recentlyFailed(String image) {
        synchronized (failures) {
            Instant until = failures.get(image);
            return until != null && clock.instant().isBefore(until);
        }
    }

    /// Remembers and logs; of the layers of one image that fail together only the first is a
    /// warning.
    private void decline(String image, @Nullable String reason) {
        boolean again;
        synchronized (failures) {
            again = recentlyFailed(image);
            if (!again) {
                failures.remove(image);
                failures.put(image, clock.instant().plus(options.retryAfter()));
            }
        }
        String why = Text.quoted(String.valueOf(reason), 1024);
        if (again) {
            LOG.debug("containerd fetches the layer image={} reason={}", image, why);
        } else {
            LOG.warn(
                    "containerd fetches the image itself image={} reason={} retry_after_s={}",
                    image,
                    why,
                    options.retryAfter().toSeconds());
        }
    }
}
