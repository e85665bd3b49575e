using System.Globalization;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Native.Tensors;

namespace Ergon.Runtime.Plans;

/// <summary>A device of this machine that a plan can name: a whole one, or a cluster of the processor's cores.</summary>
/// <param name="Name"><c>CPU</c>, <c>Vulkan0</c>, <c>CPU:0-3</c>, <c>CPU:0+2</c>.</param>
/// <param name="Native">The device.</param>
/// <param name="Threads">CPU threads.</param>
/// <param name="Cpus">The cluster's logical processors; <see langword="null"/> for a whole device.</param>
/// <param name="Profile">What is known of it, under this <paramref name="Name"/>, with links to the others that were named with it.</param>
/// <param name="IsCalibrated">Whether it was measured here.</param>
internal sealed record LocalDevice(string Name, NativeDevice Native, int Threads, int[]? Cpus, DeviceProfile Profile, bool IsCalibrated)
{
    /// <summary>What stands for every device here that can run stages of a model.</summary>
    public const string Every = "real";

    // From a thread of one cluster to one of another: the wait for a semaphore and the wake of a thread that sleeps.
    private const double HandOver = 20e-6;

    private const int MaxCpus = 512;

    /// <summary>The devices that a list names.</summary>
    /// <param name="text"><see cref="Every"/>, or names and clusters separated by commas; clusters are lists of processors such as <c>CPU:0-3+8</c>.</param>
    /// <param name="threads">CPU threads where the whole processor is meant; <see langword="null"/>: one for each core.</param>
    /// <param name="store">Knows their calibrations.</param>
    /// <param name="files">The machine's file system.</param>
    /// <param name="problem">Told of calibrations that cannot be used.</param>
    /// <exception cref="ErgonException">There is no such device, or two share processors.</exception>
    public static IReadOnlyList<LocalDevice> Named(string text, int? threads, CalibrationStore store, SystemFiles files, Action<string>? problem = null)
    {
        // What software computes on the processor's cores is no further device, unless it is asked for.
        var names = text.Equals(Every, StringComparison.OrdinalIgnoreCase)
            ? [.. NativeDevice.All().Where(d => d.Kind is not (NativeDeviceKind.Accelerator or NativeDeviceKind.Meta) && !DeviceInfo.IsSoftware(d.Description)).Select(d => d.Name)]
            : text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (names.Length == 0)
            throw new ErgonException($"--devices is '{text}', but must be {Every}, or names such as CPU,Vulkan0 or CPU:0-3,CPU:4-7; 'ergon devices' lists them.");
        var cores = CpuTopology.PhysicalCores();
        var found = names.Select(name => One(name, threads ?? cores, cores, store, files, problem)).ToList();
        for (var i = 0; i < found.Count; i++)
        {
            foreach (var other in found.Take(i).Where(o => o.Device.Native.Name == found[i].Device.Native.Name))
            {
                if (found[i].Device.Cpus is not { } cpus || other.Device.Cpus is not { } others || cpus.Intersect(others).Any())
                    throw new ErgonException($"--devices names {other.Device.Name} and {found[i].Device.Name}, which share processors; give clusters that have none in common.");
            }
        }
        return [.. found.Select(from => from.Device with
        {
            Profile = from.Device.Profile with { Links = [.. found.Where(to => to != from).Select(to => Link(from.Device, from.Name, to.Device, to.Name)).OfType<LinkProfile>()] },
        })];
    }

    /// <summary>A run of stages on it.</summary>
    public Placement Place(StageRange stages, int? tier) => new(Native, stages, Threads, Cpus, tier);

    private static (LocalDevice Device, string Name) One(string name, int threads, int cores, CalibrationStore store, SystemFiles files, Action<string>? problem)
    {
        var colon = name.IndexOf(':', StringComparison.Ordinal);
        var native = DeviceChoice.Choose(colon < 0 ? name : name[..colon], bytes: 0);
        var (profile, calibrated) = store.ProfileOf(DeviceInfo.Of(native), files, problem);
        var cpus = colon < 0 ? null : Parse(name, name[(colon + 1)..]);
        if (cpus is not null && native.Kind != NativeDeviceKind.Cpu)
            throw new ErgonException($"--devices names '{name}', but only the CPU divides into processors; name {native.Name}.");
        var used = cpus?.Length ?? (native.Kind == NativeDeviceKind.Cpu ? threads : 1);
        var own = cpus is null ? native.Name : $"{native.Name}:{name[(colon + 1)..]}";
        var part = native.Kind != NativeDeviceKind.Cpu || used >= cores ? profile : profile.WithCores(used, cores);
        if (cpus is not null)
            part = part.AsCluster((double)Math.Min(used, cores) / cores);
        return (new(own, native, used, cpus, part with { Name = own }, calibrated is not null), profile.Name);
    }

    private static int[] Parse(string name, string list)
    {
        try
        {
            int[] cpus = [.. list.Split('+').SelectMany(part =>
            {
                int[] ends = [.. part.Split('-').Select(n => int.Parse(n, NumberStyles.None, CultureInfo.InvariantCulture))];
                return ends.Length <= 2 && ends[0] <= ends[^1] && ends[^1] < MaxCpus ? Enumerable.Range(ends[0], ends[^1] - ends[0] + 1) : throw new FormatException();
            })];
            if (cpus.Distinct().Count() == cpus.Length && cpus.All(IsAllowed))
                return cpus;
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
        }
        throw new ErgonException($"--devices names the cluster '{name}', but must name processors that this process may use ({Allowed}), each once, such as CPU:0-3+8.");
    }

    // The kernel's list, such as 0-3,8; a container may have others than the first.
    private static string Allowed => new SystemFiles().Read("proc/self/status").Text?.Split('\n').FirstOrDefault(l => l.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? $"0-{Environment.ProcessorCount - 1}";

    private static bool IsAllowed(int cpu) => Allowed.Split(',').Select(part => part.Split('-')).Any(ends =>
        cpu >= int.Parse(ends[0], CultureInfo.InvariantCulture) && cpu <= int.Parse(ends[^1], CultureInfo.InvariantCulture));

    // Profiles name each other by what they are called in the calibration; clusters of one processor share its memory.
    private static LinkProfile? Link(LocalDevice from, string fromName, LocalDevice to, string toName)
    {
        if (from.Native.Name != to.Native.Name)
            return from.Profile.Links.FirstOrDefault(l => l.To == toName) is { } known ? known with { To = to.Name } : null;
        var bandwidth = Math.Min(from.Profile.EffectiveBandwidth, to.Profile.EffectiveBandwidth) / 2;
        return new LinkProfile(to.Name, new(bandwidth, Origin.Derived, $"a copy in the memory of {fromName}: half of the slower one's bandwidth"),
            new(HandOver, Origin.Estimate, "the wake of a thread that sleeps"), new(2 * from.Profile.MemoryPower.Value / from.Profile.EffectiveBandwidth, Origin.Derived, "each byte is read and written"));
    }
}
