package dev.imgd.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("root")
class TreeTest {
    @TempDir Path directory;

    private static final String MAKE =
            """
            mkdir -p "$1/sub" && cd "$1" || exit 1
            echo text > a && ln a sub/b && ln -s a link && mkfifo fifo && mknod null c 1 3
            echo alone > single
            setfattr -n user.key -v value a
            touch -d @1000 a && touch -h -d @1000 link fifo null single sub
            """;

    private void sh(String script, Path argument) {
        Program.of("sh", "-euc", script, "sh", argument).ok();
    }

    @Test
    void differences_equalTrees_none() {
        sh(MAKE, directory.resolve("one"));
        sh(MAKE, directory.resolve("two"));
        Tree one = Tree.of(directory.resolve("one"));
        assertEquals(List.of(), one.differencesTo(Tree.of(directory.resolve("two"))));
        assertEquals(8, one.size());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "chmod 0600 a",
                "chown 3 a",
                "chgrp 3 link -h",
                "touch -d @1000.5 single",
                "touch -h -d @7 link",
                "touch -d @7 sub",
                "printf TEXT > single; printf '\\n' >> single; touch -d @1000 single",
                "rm sub/b; cp -p a sub/b; touch -d @1000 sub",
                "ln -snf b link; touch -h -d @1000 link",
                "rm null; mknod null c 1 5; touch -d @1000 null",
                "rm null; mknod null b 1 3; touch -d @1000 null",
                "rm fifo; touch -d @1000 fifo",
                "setfattr -n user.key -v other a",
                "setfattr -x user.key a",
                "setfattr -n user.more -v x sub",
                "setcap cap_chown+ep single",
                "setfattr -n trusted.x -v y single",
                "chmod 0700 .",
                "rm single",
                "echo > more",
            })
    void differences_oneChange_seen(String change) {
        sh(MAKE, directory.resolve("one"));
        sh(MAKE, directory.resolve("two"));
        sh("cd \"$1\"; " + change, directory.resolve("two"));
        List<String> differences =
                Tree.of(directory.resolve("one")).differencesTo(Tree.of(directory.resolve("two")));
        assertTrue(!differences.isEmpty(), change);
    }

    @Test
    void read_namesOfAnyBytes_matchAttributes() {
        String script =
                """
                mkdir "$1" && cd "$1"
                for name in "$(printf 'a\\377b')" "$(printf 'new\\nline')" 'back\\slash' 'sp ace'; do
                    echo x > "$name"; setfattr -n user.k -v v "$name"; done
                """;
        sh(script, directory.resolve("odd"));
        assertEquals(5, Tree.of(directory.resolve("odd")).size());
    }
}
