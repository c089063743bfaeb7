package dev.imgd.content;

import dev.imgd.model.ImageException;
import java.util.List;
import java.util.Optional;

/// Image names of a namespace and what they point to. A name is durable before the call returns,
/// also when the database is lost later. Safe for use by many threads.
public interface ImageStore {
    /// Creates or replaces the record; `created` is kept from the old one. The record holds its
    /// target blob and its snapshots.
    ImageRecord put(ImageRecord image) throws ImageException;

    /// The record of a name.
    Optional<ImageRecord> find(String namespace, String name) throws ImageException;

    /// All records of a namespace, ordered by name.
    List<ImageRecord> list(String namespace) throws ImageException;

    /// Removes a name.
    ///
    /// @throws ImageException `NOT_FOUND`
    void delete(String namespace, String name) throws ImageException;
}
