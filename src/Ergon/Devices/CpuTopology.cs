using System.Globalization;

namespace Ergon.Devices;

/// <summary>The processor's cores and caches, as far as the system tells.</summary>
internal static class CpuTopology
{
    /// <summary>Physical cores that this process may use; logical ones where the system does not tell them apart.</summary>
    /// <param name="root">The root of the file system, for tests.</param>
    public static int PhysicalCores(string root = "/")
    {
        var logical = Environment.ProcessorCount;
        try
        {
            var cores = Directory.EnumerateDirectories(Path.Combine(root, "sys/devices/system/cpu"), "cpu*")
                .Select(cpu => Path.Combine(cpu, "topology/thread_siblings_list"))
                .Where(File.Exists)
                .Select(file => File.ReadAllText(file).Trim())
                .Distinct()
                .Count();
            // A container may be given fewer processors than the machine has.
            return cores == 0 ? logical : Math.Min(cores, logical);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return logical;
        }
    }

    /// <summary>Bytes of the largest cache that the first processor reaches; 0 where the system does not tell.</summary>
    public static long LastCache(SystemFiles files) => files.Glob("sys/devices/system/cpu/cpu0/cache/index*/size").Select(path => files.Read(path).Text?.Trim())
        .Select(size => size is [.. var number, var unit and ('K' or 'M')] && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count << (unit == 'K' ? 10 : 20) : 0)
        .DefaultIfEmpty(0).Max();
}
