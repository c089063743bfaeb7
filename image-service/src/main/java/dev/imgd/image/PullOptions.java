package dev.imgd.image;

import java.time.Duration;

/// How much a process pulls at once, and how long.
///
/// @param downloads how many blobs are downloaded at once, over all pulls
/// @param unpacks how many layers are unpacked at once, over all pulls
/// @param deadline how long one pull may ask registries; zero for no limit
public record PullOptions(int downloads, int unpacks, Duration deadline) {
    public PullOptions {
        if (downloads < 1 || unpacks < 1 || deadline.isNegative()) {
            throw new IllegalArgumentException(
                    "downloads: %d, unpacks: %d, deadline: %s"
                            .formatted(downloads, unpacks, deadline));
        }
    }
}
