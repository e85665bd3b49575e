using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The functions of the C library that .NET does not offer, with Linux's constants.
internal static unsafe partial class Posix
{
    internal const int MADV_DONTNEED = 4;
    internal const int CLOCK_THREAD_CPUTIME_ID = 3;

    [StructLayout(LayoutKind.Sequential)]
    internal struct Timespec
    {
        public nint tv_sec;
        public nint tv_nsec;
    }

    [LibraryImport("libc")] internal static partial int madvise(void* address, nuint length, int advice);
    [LibraryImport("libc")] internal static partial int clock_gettime(int clock, Timespec* time);
}
