package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.model.JsonWriter;
import dev.imgd.model.Reference;
import dev.imgd.model.RegistryException;
import dev.imgd.model.Text;
import dev.imgd.registry.Credentials;
import dev.imgd.registry.Logins;
import dev.imgd.registry.RegistryOptions;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/// The commands that keep credentials. They need no store and no daemon.
final class LoginCommands {
    private LoginCommands() {}

    /// What the commands share.
    abstract static class LoginCommand implements Callable<Integer> {
        @ParentCommand @Nullable Imgctl parent;

        @Option(
                names = {"--help", "-h"},
                usageHelp = true,
                description = "Shows this text.")
        boolean help;

        @Parameters(
                paramLabel = "REGISTRY",
                description = "For example ghcr.io, localhost:5000 or registry.example/team.")
        String name = "";

        GlobalOptions options() {
            return Objects.requireNonNull(parent).options;
        }

        Logins logins() throws ImageException {
            return options()
                    .configuration()
                    .get(Config.AUTH_FILE)
                    .map(Logins::in)
                    .orElseGet(() -> Logins.standard(System.getenv()));
        }

        RegistryOptions registryOptions() throws ImageException {
            return Assembly.registryOptions(options().configuration());
        }

        /// Refuses what is not a registry, perhaps with a part of a repository.
        void checkName() throws ImageException {
            int slash = name.indexOf('/');
            String registry = slash < 0 ? name : name.substring(0, slash);
            boolean fine;
            try {
                String whole = slash < 0 ? name + "/x" : name;
                Reference reference = Reference.parse(whole);
                fine = reference.registry().equals(registry) && !isTaggedOrPinned(whole);
            } catch (ImageException e) {
                fine = false;
            }
            if (!fine) {
                throw ImageException.invalidArgument(
                        "\"%s\" is not a registry: wanted HOST, HOST:PORT or HOST/REPOSITORY%s"
                                .formatted(
                                        Text.printable(Text.withoutUser(name), 120),
                                        host().map(host -> ", without a scheme: say " + host)
                                                .orElse("")));
            }
        }

        /// The registry of a URL; empty where it is not sure which part of it is that, and not
        /// something secret.
        private Optional<String> host() {
            int start = name.indexOf("://") + 3;
            if (start < 3) {
                return Optional.empty();
            }
            String authority = name.substring(start).split("[/?#]", 2)[0];
            if (name.lastIndexOf('@') >= start + authority.length()) {
                return Optional.empty();
            }
            String host = authority.substring(authority.lastIndexOf('@') + 1);
            try {
                return Optional.of(Reference.parse(host + "/x").registry())
                        .filter(
                                registry ->
                                        registry.equals(host) || host.equals("index.docker.io"));
            } catch (ImageException e) {
                return Optional.empty();
            }
        }

        private static boolean isTaggedOrPinned(String whole) {
            String last = whole.substring(whole.lastIndexOf('/') + 1);
            return last.indexOf(':') >= 0 || last.indexOf('@') >= 0;
        }

        void print(String line, JsonWriter json) {
            Console.current().out().println(options().json() ? json.toString() : line);
        }
    }

    @Command(
            name = "login",
            description = {
                "Checks a user name and a password with a registry and keeps them.",
                "The password is read from standard input and never taken from the command line."
            })
    static final class Login extends LoginCommand {
        @Option(
                names = {"-u", "--username"},
                paramLabel = "NAME",
                description = {
                    "User name (default: asked for at a terminal); \"<token>\" when the secret",
                    "is an identity token."
                })
        @Nullable String username;

        /// What others take, so that it can be refused without being shown.
        @Option(
                names = {"-p", "--password"},
                arity = "0..1",
                fallbackValue = "",
                hidden = true)
        @Nullable String password;

        @Option(
                names = "--password-stdin",
                description = "Changes nothing: the password always comes from standard input.")
        boolean passwordStdin;

        @Override
        public Integer call() throws ImageException {
            CredentialOptions.refuse(password);
            checkName();
            String user = user();
            CredentialOptions.checkUser("--username", user);
            String secret = SecretInput.read(CredentialOptions.prompt(user, name));
            Credentials credentials =
                    CredentialOptions.of(user, secret, "imgctl login " + name + " --username");
            boolean checked;
            try {
                checked = Logins.check(registryOptions(), name, credentials);
            } catch (RegistryException e) {
                throw new RegistryException(
                        e.kind(),
                        e.getMessage() + "; nothing was stored",
                        e.status(),
                        e.details(),
                        e);
            }
            if (!checked) {
                Console.current().warn(name + " lets everybody in: nothing could be checked");
            }
            String place = logins().store(name, credentials);
            print(
                    "Logged in to %s as %s; kept in %s".formatted(name, user, place),
                    JsonWriter.indented()
                            .beginObject()
                            .member("registry", name)
                            .member("username", user)
                            .member("checked", checked)
                            .member("place", place)
                            .endObject());
            return 0;
        }

        private String user() throws ImageException {
            if (username != null) {
                return username;
            }
            return SecretInput.ask("User name at %s: ".formatted(name))
                    .orElseThrow(
                            () ->
                                    ImageException.invalidArgument(
                                            "login: no user name; say --username NAME, with the password on standard input, for example imgctl login --username NAME %s < FILE"
                                                    .formatted(name)));
        }
    }

    @Command(name = "logout", description = "Forgets the credentials of a registry.")
    static final class Logout extends LoginCommand {
        @Override
        public Integer call() throws ImageException {
            checkName();
            List<String> places = logins().remove(name);
            if (places.isEmpty()) {
                throw ImageException.notFound("not logged in to " + name);
            }
            print(
                    "Logged out of %s; removed from %s".formatted(name, String.join(", ", places)),
                    JsonWriter.indented()
                            .beginObject()
                            .member("registry", name)
                            .member("places", places)
                            .endObject());
            return 0;
        }
    }

    @Command(
            name = "whoami",
            description = "Shows which credentials are used for a registry, without the secret.")
    static final class Whoami extends LoginCommand {
        @Option(names = "--check", description = "Ask the registry whether it still takes them.")
        boolean check;

        @Override
        public Integer call() throws ImageException {
            checkName();
            Optional<Logins.Found> found = logins().find(name);
            if (found.isEmpty()) {
                throw ImageException.notFound(
                        "not logged in to %s; use imgctl login".formatted(name));
            }
            if (check) {
                Logins.check(registryOptions(), name, found.get().credentials());
            }
            String user =
                    switch (found.get().credentials()) {
                        case Credentials.Login login -> login.username();
                        case Credentials.IdentityToken _ -> CredentialOptions.TOKEN_USER;
                        case Credentials.RegistryToken _ -> "<registry token>";
                        case Credentials.Anonymous _ -> "<nobody>";
                    };
            print(
                    "%s (from %s)".formatted(user, found.get().place()),
                    JsonWriter.indented()
                            .beginObject()
                            .member("registry", name)
                            .member("username", user)
                            .member("place", found.get().place())
                            .endObject());
            return 0;
        }
    }
}
