package dev.imgd.model;

import java.util.List;

/// An operating system and a processor that an image runs on.
///
/// @param os for example `linux`
/// @param architecture for example `amd64`
/// @param variant for example `v7`; empty when there is none
/// @param osVersion for example `10.0.17763.1234`; empty when there is none
/// @param osFeatures features the image needs, sorted
public record Platform(
        String os, String architecture, String variant, String osVersion, List<String> osFeatures) {

    public Platform {
        osFeatures = osFeatures.stream().sorted().toList();
    }

    public Platform(String os, String architecture, String variant) {
        this(os, architecture, variant, "", List.of());
    }
}
