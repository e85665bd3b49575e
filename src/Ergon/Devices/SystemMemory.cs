using System.Globalization;

namespace Ergon.Devices;

/// <summary>How much of the computer's memory can be taken without pushing others out.</summary>
internal static class SystemMemory
{
    /// <summary>Bytes that the kernel can hand out now, caches that it would drop included; at most what the process is allowed.</summary>
    /// <param name="root">The root of the file system, for tests.</param>
    public static long Available(string root = "/")
    {
        var info = GC.GetGCMemoryInfo();
        var allowed = info.TotalAvailableMemoryBytes;
        try
        {
            // "MemAvailable:   24058340 kB"
            var words = File.ReadLines(Path.Combine(root, "proc/meminfo")).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).FirstOrDefault(w => w is ["MemAvailable:", ..]);
            if (words is [_, var number, "kB"] && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var kibibytes))
                return Math.Min(allowed, kibibytes * 1024);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
        return Math.Max(0, allowed - info.MemoryLoadBytes);
    }
}
