package dev.imgd.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Stack;
import picocli.CommandLine.IParameterConsumer;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;

/// A last parameter that takes the rest of the command line as it is: from its first word on,
/// nothing is an option of ours.
final class Remainder implements IParameterConsumer {
    @Override
    public void consumeParameters(Stack<String> args, ArgSpec parameter, CommandSpec command) {
        List<String> words = new ArrayList<>(args.size());
        while (!args.isEmpty()) {
            words.add(args.pop());
        }
        parameter.setValue(words);
    }
}
