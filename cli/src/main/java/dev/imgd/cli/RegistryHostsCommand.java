package dev.imgd.cli;

import dev.imgd.hosts.Capability;
import dev.imgd.hosts.HostListing;
import dev.imgd.hosts.RegistryHost;
import dev.imgd.hosts.Rewrite;
import dev.imgd.hosts.TlsSettings;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.registry.RegistryOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import picocli.CommandLine.Command;

/// `imgctl registry hosts`.
@Command(
        name = "hosts",
        description = {
            "Prints which hosts are asked for an image, in order, and where each was configured.",
            "Nothing is asked; docs/registries.md explains hosts.toml."
        })
final class RegistryHostsCommand extends HostsCommand {
    @Override
    int run(Reference wanted, RegistryOptions registries) throws ImageException {
        HostListing listing = registries.hosts().listing(wanted.registry());
        if (options().json()) {
            out().println(json(listing, wanted));
        } else {
            Table table = new Table("HOST", "FOR", "SETTINGS", "FROM");
            for (HostListing.Entry entry : listing.entries()) {
                RegistryHost host = entry.host();
                table.row(
                        host.url(),
                        String.join(",", capabilities(host)),
                        settings(host, wanted),
                        entry.from());
            }
            table.print(out());
        }
        return 0; // warnings were logged
    }

    private static List<String> capabilities(RegistryHost host) {
        List<String> names = new ArrayList<>();
        for (Capability capability : new TreeSet<>(host.capabilities())) {
            names.add(capability.name().toLowerCase(Locale.ROOT));
        }
        return names;
    }

    /// Of headers the names alone: values may be secrets.
    private static String settings(RegistryHost host, Reference wanted) throws ImageException {
        List<String> settings = new ArrayList<>();
        if (!host.tls().equals(TlsSettings.SYSTEM)) {
            settings.add("tls: " + host.tls());
        }
        if (!host.headers().isEmpty()) {
            settings.add("headers: " + String.join(" ", new TreeSet<>(host.headers().keySet())));
        }
        if (host.dialTimeout().isPresent()) {
            settings.add("dial timeout: " + host.dialTimeout().get().toMillis() + "ms");
        }
        if (host.namespace().isPresent()) {
            settings.add("ns=" + host.namespace().get());
        }
        String repository = host.repository(wanted.repository());
        if (!repository.equals(wanted.repository())) {
            settings.add("as " + repository);
        }
        return settings.isEmpty() ? "-" : String.join("; ", settings);
    }

    private static String json(HostListing listing, Reference wanted) throws ImageException {
        JsonWriter json =
                JsonWriter.indented()
                        .beginObject()
                        .member("registry", listing.registry())
                        .member("repository", wanted.repository());
        json.name("directory");
        if (listing.directory().isPresent()) {
            Path directory = listing.directory().get();
            json.value(directory.toString());
        } else {
            json.nullValue();
        }
        json.beginArray("hosts");
        for (HostListing.Entry entry : listing.entries()) {
            RegistryHost host = entry.host();
            Map<String, String> rewrites = new LinkedHashMap<>();
            for (Rewrite rewrite : host.rewrites()) {
                rewrites.put(rewrite.pattern(), rewrite.replacement());
            }
            json.beginObject()
                    .member("url", host.url())
                    .member("role", host.role().name().toLowerCase(Locale.ROOT))
                    .member("capabilities", capabilities(host))
                    .member("repository", host.repository(wanted.repository()))
                    .member("tls", host.tls().toString())
                    .member("verified", host.tls().verifies())
                    .member("headers", new TreeSet<>(host.headers().keySet()))
                    .member("rewrites", rewrites);
            if (host.namespace().isPresent()) {
                json.member("namespace", host.namespace().get());
            }
            if (host.dialTimeout().isPresent()) {
                json.member("dialTimeoutMillis", host.dialTimeout().get().toMillis());
            }
            json.member("from", entry.from()).endObject();
        }
        return json.endArray().member("warnings", listing.warnings()).endObject().toString();
    }
}
