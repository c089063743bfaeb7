package dev.imgd.content;

import dev.imgd.content.Database.Table;
import dev.imgd.content.Database.View;
import dev.imgd.model.ImageException;
import org.jspecify.annotations.Nullable;

/// Scans with visitors that may fail.
final class Rows {
    private Rows() {}

    @FunctionalInterface
    interface Visitor {
        void visit(String key, byte[] row) throws ImageException;
    }

    /// Calls `visitor` with each row under the prefix; its error ends the scan and passes through.
    static void scan(View view, Table table, String prefix, Visitor visitor) throws ImageException {
        var failure =
                new Object() {
                    @Nullable ImageException cause;
                };
        view.scan(
                table,
                prefix,
                (key, row) -> {
                    try {
                        visitor.visit(key, row);
                        return true;
                    } catch (ImageException e) {
                        failure.cause = e;
                        return false;
                    }
                });
        if (failure.cause != null) {
            throw failure.cause;
        }
    }
}
