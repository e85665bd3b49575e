using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The functions of the C library that .NET does not offer, with Linux's constants.
internal static unsafe partial class Posix
{
    internal const int MADV_DONTNEED = 4;
    internal const int CLOCK_THREAD_CPUTIME_ID = 3;
    internal const int AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100;
    internal const uint STATX_UID = 0x8;

    [StructLayout(LayoutKind.Sequential)]
    internal struct Timespec
    {
        public nint tv_sec;
        public nint tv_nsec;
    }

    // 256 bytes, of the same layout on every Linux; what is not named is not asked for.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    internal struct Statx
    {
        [FieldOffset(0)] public uint stx_mask;
        [FieldOffset(20)] public uint stx_uid;
    }

    [LibraryImport("libc")] internal static partial uint geteuid();
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)] internal static partial int statx(int dirfd, string pathname, int flags, uint mask, Statx* statxbuf);
    [LibraryImport("libc")] internal static partial int madvise(void* address, nuint length, int advice);
    [LibraryImport("libc")] internal static partial int clock_gettime(int clock, Timespec* time);
}
