using Ergon.Native.Interop;

namespace Ergon.Native;

/// <summary>The processor time of the calling thread.</summary>
internal static unsafe class ThreadClock
{
    /// <returns><see langword="null"/> where the system has no such clock (Windows).</returns>
    public static TimeSpan? CpuTime()
    {
        if (OperatingSystem.IsWindows())
            return null;
        Posix.Timespec time;
        return Posix.clock_gettime(OperatingSystem.IsMacOS() ? 16 : Posix.CLOCK_THREAD_CPUTIME_ID, &time) == 0
            ? TimeSpan.FromSeconds((long)time.tv_sec) + TimeSpan.FromTicks((long)time.tv_nsec / 100) : null;
    }
}
