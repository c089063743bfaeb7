package dev.imgd.content;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.rocksdb.RocksDB;
import org.rocksdb.util.Environment;

/// Loads RocksDB's native code.
///
/// Its own loader unpacks 17 MB to the temporary directory at each start unless the library is on
/// `java.library.path`. A launcher that has unpacked it once names the directory in the system
/// property `imgd.native.dir`. It also sets `ROCKSDB_MUSL_LIBC=false` in the environment of a glibc
/// host; otherwise the loader starts a shell and `ldd` to find out.
final class NativeLibraries {
    private static final String DIRECTORY_PROPERTY = "imgd.native.dir";
    private static final String LIBRARY = "rocksdbjni";

    private NativeLibraries() {}

    static synchronized void load() {
        String directory = System.getProperty(DIRECTORY_PROPERTY);
        if (directory != null && loadFrom(Path.of(directory))) {
            return;
        }
        RocksDB.loadLibrary();
    }

    private static boolean loadFrom(Path directory) {
        // The loader that takes directories asks for another file name than the jar holds.
        Path asked = directory.resolve(Environment.getJniLibraryFileName(LIBRARY));
        Path packaged = directory.resolve(Environment.getJniLibraryFileName("rocksdb"));
        try {
            if (!Files.exists(asked)) {
                if (!Files.exists(packaged)) {
                    return false;
                }
                Files.createSymbolicLink(asked, packaged.getFileName());
            }
            RocksDB.loadLibrary(List.of(directory.toString()));
            return true;
        } catch (IOException | UnsatisfiedLinkError e) {
            return false; // The library inside the jar works in every case, only slower.
        }
    }
}
