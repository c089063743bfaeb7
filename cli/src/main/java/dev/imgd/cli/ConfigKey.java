package dev.imgd.cli;

import dev.imgd.model.ImageException;
import dev.imgd.registry.Proxies;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/// One key of the configuration.
///
/// @param name with its sections, for example `store.ingest_ttl`
/// @param type how the file writes its values
/// @param absent the value of a file without the key
/// @param shown the default as `docs/config.md` shows it, which does not depend on the host
/// @param meaning one line for that page
record ConfigKey<T>(String name, Type<T> type, T absent, String shown, String meaning) {

    /// How the values of a key are written in the file.
    ///
    /// @param <T> what the program works with
    interface Type<T> {
        /// @throws ImageException `INVALID_ARGUMENT`, see [ConfigValue]
        T read(ConfigValue value) throws ImageException;

        /// What [#read] would read as this value, in TOML.
        String write(T value);
    }

    /// An absolute path.
    static final Type<Path> PATH =
            new Type<>() {
                @Override
                public Path read(ConfigValue value) throws ImageException {
                    return value.path();
                }

                @Override
                public String write(Path value) {
                    return quote(value.toString());
                }
            };

    /// An absolute path, or an empty string for none.
    static final Type<Optional<Path>> PATH_OR_NONE =
            new Type<>() {
                @Override
                public Optional<Path> read(ConfigValue value) throws ImageException {
                    return value.text().isEmpty() ? Optional.empty() : Optional.of(value.path());
                }

                @Override
                public String write(Optional<Path> value) {
                    return quote(value.map(Path::toString).orElse(""));
                }
            };

    /// `true` or `false`.
    static final Type<Boolean> BOOL =
            new Type<>() {
                @Override
                public Boolean read(ConfigValue value) throws ImageException {
                    return value.bool();
                }

                @Override
                public String write(Boolean value) {
                    return value.toString();
                }
            };

    /// A number of bytes with a unit.
    static final Type<Long> SIZE =
            new Type<>() {
                @Override
                public Long read(ConfigValue value) throws ImageException {
                    return value.bytes();
                }

                @Override
                public String write(Long value) {
                    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
                    long amount = value;
                    int unit = 0;
                    while (amount != 0 && amount % 1024 == 0 && unit < units.length - 1) {
                        amount /= 1024;
                        unit++;
                    }
                    return quote(amount + units[unit]);
                }
            };

    /// A duration with a unit.
    static final Type<Duration> DURATION =
            new Type<>() {
                @Override
                public Duration read(ConfigValue value) throws ImageException {
                    return value.duration();
                }

                @Override
                public String write(Duration value) {
                    if (value.toMillisPart() != 0) {
                        return quote(value.toMillis() + "ms");
                    }
                    long seconds = value.toSeconds();
                    if (seconds != 0 && seconds % 3600 == 0) {
                        return quote(seconds / 3600 + "h");
                    }
                    return quote(
                            seconds != 0 && seconds % 60 == 0 ? seconds / 60 + "m" : seconds + "s");
                }
            };

    /// How long to wait for something: a duration that is neither nothing nor for ever.
    static final Type<Duration> TIMEOUT =
            new Type<>() {
                @Override
                public Duration read(ConfigValue value) throws ImageException {
                    return value.timeout();
                }

                @Override
                public String write(Duration value) {
                    return DURATION.write(value);
                }
            };

    /// A list of strings, whose order means nothing.
    static final Type<Set<String>> TEXTS =
            new Type<>() {
                @Override
                public Set<String> read(ConfigValue value) throws ImageException {
                    return Set.copyOf(value.texts());
                }

                @Override
                public String write(Set<String> value) {
                    return quote(new TreeSet<>(value));
                }
            };

    /// What a proxy's key says to use none, whatever the environment says.
    static final String NO_PROXY = "none";

    /// The URL of a proxy, [#NO_PROXY], or an empty string. Its password is never written.
    static final Type<String> PROXY =
            new Type<>() {
                @Override
                public String read(ConfigValue value) throws ImageException {
                    String name = value.file() + ": " + value.key();
                    if (!value.node().isString()) {
                        // Whatever it is, it may hold a password.
                        throw ImageException.invalidArgument(name + ": wanted a string");
                    }
                    String text = value.text();
                    if (!text.isEmpty() && !text.equals(NO_PROXY)) {
                        Proxies.check(name, text);
                    }
                    return text;
                }

                @Override
                public String write(String value) {
                    return quote(Proxies.printable(value));
                }
            };

    /// A list of servers that are reached without a proxy.
    static final Type<Set<String>> PROXY_EXCEPTIONS =
            new Type<>() {
                @Override
                public Set<String> read(ConfigValue value) throws ImageException {
                    Set<String> entries = TEXTS.read(value);
                    Proxies.checkExcept(value.file() + ": " + value.key(), entries);
                    return entries;
                }

                @Override
                public String write(Set<String> value) {
                    return TEXTS.write(value);
                }
            };

    /// Several absolute paths, whose order counts.
    static final Type<List<Path>> PATHS =
            new Type<>() {
                @Override
                public List<Path> read(ConfigValue value) throws ImageException {
                    return value.paths();
                }

                @Override
                public String write(List<Path> value) {
                    List<String> texts = new ArrayList<>();
                    for (Path path : value) {
                        texts.add(path.toString());
                    }
                    return quote(texts);
                }
            };

    /// A number within bounds, both allowed.
    static Type<Integer> count(int min, int max) {
        return new Type<>() {
            @Override
            public Integer read(ConfigValue value) throws ImageException {
                return value.count(min, max);
            }

            @Override
            public String write(Integer value) {
                return value.toString();
            }
        };
    }

    /// One of several words.
    static Type<String> oneOf(String... choices) {
        return new Type<>() {
            @Override
            public String read(ConfigValue value) throws ImageException {
                return value.oneOf(List.of(choices));
            }

            @Override
            public String write(String value) {
                return quote(value);
            }
        };
    }

    /// A list of some of several words.
    static Type<Set<String>> someOf(String... choices) {
        return new Type<>() {
            @Override
            public Set<String> read(ConfigValue value) throws ImageException {
                return Set.copyOf(value.someOf(List.of(choices)));
            }

            @Override
            public String write(Set<String> value) {
                return quote(new TreeSet<>(value));
            }
        };
    }

    /// Everything before the last dot; empty for a key outside of any section.
    String section() {
        return name.substring(0, Math.max(0, name.lastIndexOf('.')));
    }

    /// The key within its section.
    String last() {
        return name.substring(name.lastIndexOf('.') + 1);
    }

    static String quote(Collection<String> texts) {
        StringBuilder out = new StringBuilder("[");
        for (String text : texts) {
            out.append(out.length() > 1 ? ", " : "").append(quote(text));
        }
        return out.append(']').toString();
    }

    /// A basic string; **Source:** TOML v1.0.0 § String.
    static String quote(String text) {
        StringBuilder out = new StringBuilder(text.length() + 2).append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20 || c == 0x7f) {
                out.append("\\u%04x".formatted((int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
