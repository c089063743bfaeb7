package dev.imgd.cli;

import dev.imgd.model.ErrorKind;
import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.registry.CredentialSource;
import dev.imgd.registry.RegistryOptions;
import dev.imgd.registry.RegistryProbe;
import dev.imgd.registry.RegistryProbe.Check;
import dev.imgd.registry.RegistryProbe.Outcome;
import dev.imgd.registry.RegistryProbe.Report;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `imgctl registry test`.
@Command(
        name = "test",
        description = {
            "Tries each host of a registry: DNS, TCP, TLS, auth, resolve, range support.",
            "Says what is wrong and what to do. Exit code 0 if all hosts work, 10 if some do."
        })
final class RegistryTestCommand extends HostsCommand {
    @Mixin final CredentialOptions user = new CredentialOptions();

    @Override
    CredentialSource credentials() throws ImageException {
        return user.source(reference);
    }

    @Override
    int run(Reference wanted, RegistryOptions registries) throws ImageException {
        List<Report> reports = new RegistryProbe(registries).test(wanted);
        if (options().json()) {
            out().println(json(wanted, reports));
        } else {
            Table table = new Table("HOST", "STEP", "RESULT", "TIME", "DETAIL");
            for (Report report : reports) {
                String host = report.host().url();
                for (Check check : report.checks()) {
                    table.row(
                            host,
                            check.step().name().toLowerCase(Locale.ROOT),
                            check.outcome().name().toLowerCase(Locale.ROOT),
                            check.outcome() == Outcome.SKIPPED
                                    ? "-"
                                    : check.took().toMillis() + "ms",
                            check.detail());
                    host = "";
                }
            }
            table.print(out());
        }
        int failed = 0;
        int exit = ErrorKind.UNAVAILABLE.exitCode();
        for (Report report : reports) {
            if (report.failure().isPresent()) {
                failed++;
                exit = report.failure().get().kind().exitCode();
            }
        }
        return failed == 0 ? 0 : failed < reports.size() ? Imgctl.EXIT_PARTIAL : exit;
    }

    private static String json(Reference wanted, List<Report> reports) {
        JsonWriter json =
                JsonWriter.indented()
                        .beginObject()
                        .member("reference", wanted.toString())
                        .beginArray("hosts");
        for (Report report : reports) {
            json.beginObject()
                    .member("url", report.host().url())
                    .member("ok", report.failure().isEmpty());
            if (report.failure().isPresent()) {
                json.member("code", report.failure().get().kind().name());
            }
            json.beginArray("checks");
            for (Check check : report.checks()) {
                json.beginObject()
                        .member("step", check.step().name().toLowerCase(Locale.ROOT))
                        .member("result", check.outcome().name().toLowerCase(Locale.ROOT))
                        .member("millis", check.took().toMillis())
                        .member("detail", check.detail())
                        .endObject();
            }
            json.endArray().endObject();
        }
        return json.endArray().endObject().toString();
    }
}
