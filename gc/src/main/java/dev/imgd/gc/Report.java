package dev.imgd.gc;

import java.util.List;

/// What a collection did.
///
/// @param removed with the reasons they were removed for
/// @param freedBytes what the removed items took, in bytes
public record Report(List<Plan.Item> removed, long freedBytes) {
    public Report {
        removed = List.copyOf(removed);
    }

    static Report of(List<Plan.Item> removed) {
        return new Report(removed, new Plan(removed, List.of()).removableBytes());
    }
}
