using Ergon.Devices;

namespace Ergon.Tests.Devices;

public sealed class SystemTests
{
    [Fact]
    public void Available_memory_is_the_kernels_figure()
    {
        using var root = new TemporaryFolder();
        Directory.CreateDirectory(Path.Combine(root.Path, "proc"));
        root.File("proc/meminfo", "MemTotal:       24689024 kB\nMemFree:         1000 kB\nMemAvailable:      20480 kB\n"u8.ToArray());
        Assert.Equal(20480 * 1024, SystemMemory.Available(root.Path));
    }

    [Theory]
    [InlineData("")]
    [InlineData("MemAvailable: lots\n")]
    [InlineData("MemAvailable:\n")]
    public void A_kernel_that_says_nothing_leaves_the_runtimes_figure(string meminfo)
    {
        using var root = new TemporaryFolder();
        Directory.CreateDirectory(Path.Combine(root.Path, "proc"));
        root.File("proc/meminfo", System.Text.Encoding.ASCII.GetBytes(meminfo));
        Assert.InRange(SystemMemory.Available(root.Path), 1, long.MaxValue);
    }

    [Fact]
    public void Threads_that_share_a_core_count_once()
    {
        using var root = new TemporaryFolder();
        foreach (var (cpu, siblings) in new[] { (0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3") })
        {
            var topology = Directory.CreateDirectory(Path.Combine(root.Path, $"sys/devices/system/cpu/cpu{cpu}/topology"));
            File.WriteAllText(Path.Combine(topology.FullName, "thread_siblings_list"), siblings + "\n");
        }
        Assert.Equal(Math.Min(2, Environment.ProcessorCount), CpuTopology.PhysicalCores(root.Path));
    }

    [Fact]
    public void Without_a_topology_every_logical_processor_counts()
    {
        using var root = new TemporaryFolder();
        Assert.Equal(Environment.ProcessorCount, CpuTopology.PhysicalCores(root.Path));
    }
}
