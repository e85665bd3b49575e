namespace Ergon.Devices;

/// <summary>How many cores the processor has that do not share their arithmetic units.</summary>
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
}
