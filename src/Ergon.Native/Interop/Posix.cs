using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The one function of the C library that .NET does not offer, with Linux's constant.
internal static unsafe partial class Posix
{
    internal const int MADV_DONTNEED = 4;

    [LibraryImport("libc")] internal static partial int madvise(void* address, nuint length, int advice);
}
