package dev.imgd.linux;

/// One name in a directory.
///
/// @param type one of the `DT_` constants; `DT_UNKNOWN` where the file system does not say
public record DirectoryEntry(String name, int type, long ino) {
    public static final int DT_UNKNOWN = 0;
    public static final int DT_FIFO = 1;
    public static final int DT_CHR = 2;
    public static final int DT_DIR = 4;
    public static final int DT_BLK = 6;
    public static final int DT_REG = 8;
    public static final int DT_LNK = 10;
    public static final int DT_SOCK = 12;

    public boolean isDirectory() {
        return type == DT_DIR;
    }
}
