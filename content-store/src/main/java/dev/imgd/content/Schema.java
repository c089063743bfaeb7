package dev.imgd.content;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/// Which column families the database has, and since which version.
///
/// A row of the default family says which version of the schema the database has and which program
/// wrote that. A database of an older version gets the families it lacks; a newer one is refused,
/// because its rows may mean something that this program does not know.
///
/// @param version from 1; goes up when a family is added or the meaning of rows changes in a way
///   that older programs would get wrong
record Schema(int version, List<Family> families) {
    /// @param since the version of the schema that brought it
    record Family(String name, int since) {}

    /// What the row says.
    ///
    /// @param program for people
    record Stamp(int version, String program) {
        // Every command line compares two, and the generated method is put together at its first
        // call.
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Stamp stamp
                    && version == stamp.version
                    && program.equals(stamp.program);
        }

        @Override
        public int hashCode() {
            return 31 * version + program.hashCode();
        }
    }

    static final byte[] KEY = "schema".getBytes(StandardCharsets.UTF_8);
    static final Schema CURRENT = current();

    private static final int VERSION = 1;
    private static final String DEFAULT_FAMILY = "default";

    Schema {
        families = List.copyOf(families);
    }

    private static Schema current() {
        List<Family> families = new ArrayList<>();
        for (Database.Table table : Database.Table.values()) {
            families.add(new Family(family(table), 1));
        }
        for (RocksDatabase.Graph part : RocksDatabase.Graph.values()) {
            families.add(new Family(family(part), 1));
        }
        return new Schema(VERSION, families);
    }

    static String family(Database.Table table) {
        // RocksDB insists on a family of this name.
        return table == Database.Table.META ? DEFAULT_FAMILY : lower(table.name());
    }

    static String family(RocksDatabase.Graph part) {
        return lower(part.name());
    }

    private static String lower(String name) {
        return name.toLowerCase(Locale.ROOT);
    }

    static byte[] encode(Stamp stamp) {
        return (stamp.version + " " + stamp.program).getBytes(StandardCharsets.UTF_8);
    }

    /// @return null when there is no row or it cannot be read, as in a database that was never
    ///   written to
    static @Nullable Stamp decode(byte @Nullable [] row) {
        if (row == null) {
            return null;
        }
        String text = new String(row, StandardCharsets.UTF_8);
        int space = text.indexOf(' ');
        try {
            return space < 0
                    ? null
                    : new Stamp(Integer.parseInt(text, 0, space, 10), text.substring(space + 1));
        } catch (NumberFormatException notOurs) {
            return null;
        }
    }
}
