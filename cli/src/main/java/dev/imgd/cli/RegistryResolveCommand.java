package dev.imgd.cli;

import dev.imgd.model.Digest;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.RegistryClient.FetchedManifest;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryProbe;
import dev.imgd.registry.RegistryProbe.Resolution;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `imgctl registry resolve`.
@Command(
        name = "resolve",
        description = {
            "Asks every host of a registry what a reference is, and prints what each answered.",
            "The first that answers is the one a pull would use. Exit code 0 if one answered."
        })
final class RegistryResolveCommand extends HostsCommand {
    @Mixin final CredentialOptions user = new CredentialOptions();

    @Override
    CredentialSource credentials() throws ImageException {
        return user.source(reference);
    }

    @Override
    int run(Reference wanted, RegistryOptions registries) throws ImageException {
        List<Resolution> resolutions = new RegistryProbe(registries).resolve(wanted);
        Set<Digest> digests = new LinkedHashSet<>();
        @Nullable ImageException failure = null;
        for (Resolution resolution : resolutions) {
            resolution.manifest().ifPresent(found -> digests.add(found.descriptor().digest()));
            failure = resolution.failure().orElse(failure);
        }
        if (options().json()) {
            out().println(json(wanted, resolutions));
        } else {
            Table table = new Table("HOST", "TIME", "ANSWER");
            for (Resolution resolution : resolutions) {
                table.row(resolution.host().url(), millis(resolution), answer(resolution));
            }
            table.print(out());
        }
        if (digests.size() > 1) {
            Console.current()
                    .warn(
                            "the hosts disagree about %s; a mirror may be out of date"
                                    .formatted(wanted));
        }
        if (!digests.isEmpty()) {
            return 0;
        }
        if (failure == null) {
            throw ImageException.failedPrecondition(
                    "%s: no host of %s may be asked what it is; check capabilities in its hosts.toml"
                            .formatted(wanted, wanted.registry()));
        }
        return failure.kind().exitCode();
    }

    private static String millis(Resolution resolution) {
        return wasAsked(resolution) ? resolution.took().toMillis() + "ms" : "-";
    }

    private static boolean wasAsked(Resolution resolution) {
        return resolution.manifest().isPresent() || resolution.failure().isPresent();
    }

    private static String answer(Resolution resolution) {
        if (resolution.manifest().isPresent()) {
            FetchedManifest found = resolution.manifest().get();
            return found.descriptor().digest() + " " + found.descriptor().mediaType();
        }
        return resolution.failure().isPresent()
                ? resolution.failure().get().getMessage()
                : "not asked: it may not resolve, as configured";
    }

    private static String json(Reference wanted, List<Resolution> resolutions) {
        JsonWriter json =
                JsonWriter.indented()
                        .beginObject()
                        .member("reference", wanted.toString())
                        .beginArray("hosts");
        for (Resolution resolution : resolutions) {
            json.beginObject()
                    .member("url", resolution.host().url())
                    .member("asked", wasAsked(resolution))
                    .member("millis", resolution.took().toMillis());
            if (resolution.manifest().isPresent()) {
                FetchedManifest found = resolution.manifest().get();
                json.member("digest", found.descriptor().digest().toString())
                        .member("mediaType", found.descriptor().mediaType())
                        .member("sizeBytes", found.descriptor().sizeBytes());
            }
            if (resolution.failure().isPresent()) {
                ImageException failure = resolution.failure().get();
                json.member("code", failure.kind().name()).member("error", failure.getMessage());
            }
            json.endObject();
        }
        return json.endArray().endObject().toString();
    }
}
