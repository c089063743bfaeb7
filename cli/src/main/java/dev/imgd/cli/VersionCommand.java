package dev.imgd.cli;

import dev.imgd.model.JsonWriter;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/// `imgctl version`.
@Command(name = "version", description = "Prints the version.")
final class VersionCommand implements Runnable {
    @ParentCommand @Nullable Imgctl parent;

    @Option(
            names = {"-h", "--help"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Override
    public void run() {
        if (java.util.Objects.requireNonNull(parent).options.json()) {
            Console.current()
                    .out()
                    .println(
                            JsonWriter.indented()
                                    .beginObject()
                                    .member("version", Version.NUMBER)
                                    .member("java", Runtime.version().toString())
                                    .member("arch", System.getProperty("os.arch", ""))
                                    .endObject()
                                    .toString());
        } else {
            Console.current().out().println(Version.line());
        }
    }
}
