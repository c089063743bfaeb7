package dev.imgd.cli;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/// A command that does nothing but hold others: alone it is a usage error.
abstract class CommandGroup implements Runnable {
    @Spec @Nullable CommandSpec spec;

    @Option(
            names = {"--help", "-h"},
            usageHelp = true,
            description = "Shows this text.")
    boolean help;

    @Override
    public final void run() {
        throw new ParameterException(
                Objects.requireNonNull(spec).commandLine(), "a command is missing");
    }
}
