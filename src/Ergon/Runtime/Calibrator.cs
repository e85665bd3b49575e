using System.Diagnostics;
using System.Globalization;
using Ergon.Devices;
using Ergon.Devices.Calibration;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Native;
using Ergon.Native.Nvidia;
using Ergon.Native.Tensors;

namespace Ergon.Runtime;

/// <summary>
/// Measures this machine's devices: arithmetic by weight type and rows, memory, launches, the ways between devices, and, with a
/// meter, idle power, the power of arithmetic and of memory, and heat. What cannot be measured stays as it was known before.
/// </summary>
/// <param name="files">The machine's file system.</param>
/// <param name="meters">Its meters; none leaves power as it was.</param>
/// <param name="nvml">NVIDIA's library, for temperatures.</param>
/// <param name="cores">Cores of the processor to use; <see langword="null"/>: all.</param>
/// <param name="limit">How long the calibration of all devices takes, about; <see langword="null"/>: 10 s.</param>
internal sealed class Calibrator(SystemFiles files, MeterSet meters, Nvml? nvml, int? cores = null, TimeSpan? limit = null)
{
    private readonly int _cores = cores ?? CpuTopology.PhysicalCores();

    private TimeSpan Budget { get; } = limit ?? TimeSpan.FromSeconds(10);

    private const int Rounds = 3;
    private const double Ambient = 25, LeastRise = 2;
    private const long ReadBytes = 128 << 20;
    private static readonly TimeSpan MeterStep = TimeSpan.FromMilliseconds(100);

    // What matters most comes first: a slow device's time may end before.
    private static readonly int[] RowCounts = [1, 512, 4, 7, 8, 32];

    // Around the 64 rows from which the CPU's attention works by tiles.
    private static readonly int[] QueryCounts = [1, 512, 8, 63, 64];

    // Kernels that have a cache full of weights are not as fast with those that come from memory, each in its own way.
    private static readonly GgmlType[] ReadTypes = [GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_K, GgmlType.Q6_K];
    private static readonly int[] ReadRows = [1, 2, 4, 8, 32]; // some kernels change from one row to two
    private static readonly GgmlType[] Types =
    [
        GgmlType.Q4_0, GgmlType.Q8_0, GgmlType.F16, GgmlType.Q4_K, GgmlType.Q6_K, GgmlType.F32, GgmlType.BF16, GgmlType.Q5_K, GgmlType.Q5_0, GgmlType.Q3_K, GgmlType.Q2_K, GgmlType.IQ4_NL, GgmlType.MXFP4,
    ];
    private static readonly (GgmlType Cache, int HeadLength)[] Attentions =
        [(GgmlType.F16, 32), (GgmlType.F16, 64), (GgmlType.F16, 128), (GgmlType.Q8_0, 64), (GgmlType.Q8_0, 128), (GgmlType.Q4_0, 64), (GgmlType.Q4_0, 128)];

    /// <summary>Calibrates devices one after another.</summary>
    /// <param name="devices">Each once.</param>
    /// <param name="progress">Told what is measured, and the share done.</param>
    /// <param name="cancellation">Stops between two measurements; nothing is kept then.</param>
    /// <exception cref="NativeException">A device cannot be opened or failed.</exception>
    public IReadOnlyList<Calibrated> Measure(IReadOnlyList<NativeDevice> devices, IProgress<(string What, double Share)>? progress = null, CancellationToken cancellation = default)
    {
        var idle = MeterWatts(() => Thread.Sleep(10), meters.Meters.Count > 0 ? Budget * 0.12 : TimeSpan.Zero, cancellation);
        // Now, before any of them has worked.
        var cold = devices.Select(d => Temperature(DeviceInfo.Of(d))).ToList();
        var own = devices.Select((device, i) =>
        {
            var info = DeviceInfo.Of(device);
            using var probe = new RooflineProbe(device, _cores);
            using var one = info.Kind == DeviceKind.Cpu && _cores > 1 ? new RooflineProbe(device, 1) : null;
            var run = new Run(this, probe, one, info, EstimatedProfile.Of(info, _cores, files), idle, cold[i], Budget / devices.Count * 0.8,
                (what, share) => progress?.Report(($"{info.Name}: {what}", (i + share) / devices.Count)), cancellation);
            return new Known(info, run.Measure(), probe.Copy(download: false, Budget * 0.01), probe.Copy(download: true, Budget * 0.01));
        }).ToList();
        // Two cards of a kind have one name, and each its own memory.
        own = [.. own.Select(d => own.Count(other => other.Profile.Name == d.Profile.Name) == 1 ? d
            : d with { Profile = d.Profile with { Name = $"{d.Profile.Name} {d.Info.Name}", Pool = d.Info.Kind == DeviceKind.Gpu ? d.Info.Name : d.Profile.Pool } })];
        return [.. own.Select(from => new Calibrated(CalibrationStore.KeyOf(from.Info, _cores, files),
            (from.Profile with
            {
                Links = [.. own.Where(to => to != from).Select(to => new LinkProfile(to.Profile.Name,
                    Measured(1 / ((1 / from.Down.Bandwidth) + (1 / to.Up.Bandwidth)), "copies of 16 MiB through host memory, as the engine makes them"),
                    Measured(from.Down.Latency + to.Up.Latency, "copies of 4 KiB"),
                    new Coefficient(40e-12 * 8, Origin.Estimate, "40 pJ a bit: out of one memory and into another")))],
            }).Validated(),
            idle.Where(meter => meter.Key.Domain.Shows(from.Info.Kind)).ToDictionary(m => m.Key.Device, m => m.Value)))];
    }

    // The mean power that each meter sees while something is done again and again.
    private Dictionary<IEnergyMeter, double> MeterWatts(Action work, TimeSpan time, CancellationToken cancellation)
    {
        var watts = new Dictionary<IEnergyMeter, double>();
        var window = meters.Begin();
        var (began, read) = (Stopwatch.GetTimestamp(), Stopwatch.GetTimestamp());
        while (Stopwatch.GetElapsedTime(began) < time)
        {
            cancellation.ThrowIfCancellationRequested();
            work();
            // A power sensor is a mean over what is read; a counter would do with its ends.
            if (Stopwatch.GetElapsedTime(read) < MeterStep)
                continue;
            meters.ReadAll();
            read = Stopwatch.GetTimestamp();
        }
        var end = meters.End(window);
        for (var i = 0; i < meters.Meters.Count; i++)
        {
            if (end.Domains[i].Energy is { } energy && end.Elapsed > TimeSpan.Zero)
                watts[meters.Meters[i]] = energy.Value / end.Elapsed.TotalSeconds;
        }
        return watts;
    }

    private double? Temperature(DeviceInfo device) => Temperatures.Of(device.Kind, Temperatures.Read(files, nvml))?.Value;

    private static Coefficient Measured(double value, string how) => new(value, Origin.Measured, how);

    private sealed record Known(DeviceInfo Info, DeviceProfile Profile, (double Latency, double Bandwidth) Up, (double Latency, double Bandwidth) Down);

    /// <summary>The calibration of one device.</summary>
    private sealed class Run(Calibrator calibrator, RooflineProbe probe, RooflineProbe? one, DeviceInfo device, DeviceProfile known, Dictionary<IEnergyMeter, double> idle, double? cold, TimeSpan budget, Action<string, double> progress, CancellationToken cancellation)
    {
        private readonly bool _metered = idle.Keys.Any(m => m.Domain.Shows(device.Kind));

        public DeviceProfile Measure()
        {
            progress("launches", 0);
            var (launch, dispatch) = probe.Launch(budget * 0.02);
            var profile = known with
            {
                Launch = Measured(launch, "a chain of 512 small kernels"),
                Dispatch = Measured(dispatch, "a graph of one small kernel, less the kernel"),
                Efficiency = new Coefficient(1, Origin.Derived, "bandwidth is what reading reached"),
            };
            // Of the rounds the middle one counts: a fast moment of a shared machine is no more typical than a slow one.
            var (found, reads, cores) = (new Dictionary<(GgmlType Type, int Head, int Rows), List<double>>(), new Dictionary<(GgmlType Type, int Head, int Rows), List<double>>(), new List<double>());
            var flops = new Dictionary<(GgmlType Type, int Head, int Rows), double>();
            var steps = Rounds * ((ReadTypes.Length * ReadRows.Length) + 1 + (Types.Length * RowCounts.Length) + (Attentions.Length * QueryCounts.Length));
            var (time, done) = (budget * (_metered ? 0.55 : 0.9), 0);
            var slice = time / (steps + (Rounds * 2 * ReadTypes.Length * ReadRows.Length)); // reading takes longer
            var loads = ReadTypes.Select(type => probe.Reading(type, Bytes, ReadRows)).ToList();
            var began = Stopwatch.GetTimestamp();
            for (var round = 0; round < Rounds; round++)
            {
                for (var i = 0; i < loads.Count; i++)
                {
                    for (var j = 0; j < ReadRows.Length; j++)
                    {
                        if (!Step($"reading {ReadTypes[i]} x {ReadRows[j]} rows", isNeeded: round == 0 && j == 0))
                            continue;
                        var seconds = RooflineProbe.Without(launch * loads[i][j].Kernels, loads[i][j].Seconds(slice * 3));
                        Keep(reads, (ReadTypes[i], 0, ReadRows[j]), loads[i][j].Bytes / seconds);
                        flops[(ReadTypes[i], 0, ReadRows[j])] = Math.Max(loads[i][j].Flops / seconds, flops.GetValueOrDefault((ReadTypes[i], 0, ReadRows[j])));
                    }
                }
                if (one is not null && Step("reading by one core"))
                {
                    using var load = one.Reading(GgmlType.F16, Bytes / 2, 1)[0];
                    cores.Add(load.Bytes / load.Seconds(slice * 3));
                }
                foreach (var rows in RowCounts)
                {
                    foreach (var type in Types)
                    {
                        if (Step($"{type} x {rows} rows", isNeeded: round == 0 && rows is (1 or 512) && ReadTypes.Contains(type)))
                            Keep(found, (type, 0, rows), probe.Flops(type, rows, slice, launch));
                    }
                }
                foreach (var rows in QueryCounts)
                {
                    foreach (var (cache, head) in Attentions)
                    {
                        if (Step($"attention, {cache} x {rows} rows"))
                            Keep(found, (cache, head, rows), probe.AttentionFlops(cache, head, rows, slice, launch));
                    }
                }
            }
            var (rates, streams, core) = (found.ToDictionary(f => f.Key, f => Middle(f.Value)), reads.ToDictionary(f => f.Key, f => Middle(f.Value)), cores.Count > 0 ? Middle(cores) : 0);
            // Arithmetic is at least as fast as with weights that had to be waited for.
            foreach (var (key, rate) in flops)
                rates[key] = Math.Max(rate, rates.GetValueOrDefault(key));
            profile = profile with
            {
                Peaks = [.. rates.Keys.Where(k => k.Head == 0).GroupBy(k => k.Type).OrderBy(g => g.Key).SelectMany(g => PeaksOf(g.Key, rates))],
                Attention = [.. rates.Where(r => r.Key.Head > 0).OrderBy(r => r.Key).Select(r => new AttentionRate(r.Key.Type, r.Key.Head, r.Key.Rows, Measured(r.Value, "512 cells, 1024 values of all heads")))],
            };
            var how = string.Create(CultureInfo.InvariantCulture, $"products with {Bytes >> 20} MiB of weights in matrices of 4 MiB");
            profile = profile with
            {
                Streams = [.. streams.OrderBy(r => r.Key).Select(r => new StreamRate(r.Key.Type, r.Key.Rows, Measured(r.Value, how)))],
                Bandwidth = Measured(streams.Values.Max(), $"the fastest of {how}"),
                CoreBandwidth = core > 0 ? Measured(core, "products of a row with F16 weights, by one core") : null,
            };
            foreach (var load in loads.SelectMany(l => l))
                load.Dispose();
            return _metered ? WithPower(profile) : profile;

            static void Keep(Dictionary<(GgmlType, int, int), List<double>> all, (GgmlType, int, int) key, double? rate)
            {
                if (rate is { } value && !all.TryAdd(key, [value]))
                    all[key].Add(value);
            }

            static double Middle(List<double> values) => values.Order().ElementAt(values.Count / 2);

            // Whether there is time left, or nothing could be said without this.
            bool Step(string what, bool isNeeded = false)
            {
                cancellation.ThrowIfCancellationRequested();
                progress(what, 0.9 * done++ / steps);
                return isNeeded || Stopwatch.GetElapsedTime(began) < time;
            }
        }

        // More than caches hold; of all types together at most an eighth of what is free.
        private long Bytes => Math.Min(ReadBytes, Math.Max(16 << 20, (device.FreeMemory ?? ReadBytes) / 8 / ReadTypes.Length));

        // Seven rows tell whether a kernel takes four at once and the others one by one: then they take as long as four and three ones.
        private static IEnumerable<PeakRate> PeaksOf(GgmlType type, Dictionary<(GgmlType Type, int Head, int Rows), double> rates)
        {
            double? Rate(int rows) => rates.TryGetValue((type, 0, rows), out var rate) ? rate : null;
            var isTiled = Rate(1) is { } one && Rate(4) is { } four && Rate(7) is { } seven && Math.Abs((7 / seven) - ((4 / four) + (3 / one))) < Math.Abs((7 / seven) - (7 / four));
            return RowCounts.Order().Where(rows => Rate(rows) is not null && !(isTiled && rows == 7))
                .Select(rows => new PeakRate(type, rows, Measured(Rate(rows)!.Value, "products of matrices that caches hold"), isTiled ? 4 : 1));
        }

        // P = P_idle + P_c (F/(t pi)) + P_m (Q/(t b)), by one work that saturates arithmetic and one that saturates memory.
        private DeviceProfile WithPower(DeviceProfile profile)
        {
            var period = budget * 0.15;
            double Sum(Dictionary<IEnergyMeter, double> watts) => watts.Where(w => w.Key.Domain.Shows(device.Kind)).Sum(w => w.Value);
            var rest = Sum(idle);
            progress("power of arithmetic", 0.92);
            double busy, reading;
            using (var load = probe.Arithmetic(GgmlType.F16))
                busy = Sum(calibrator.MeterWatts(load.Run, period, cancellation)) - rest;
            progress("power of memory", 0.96);
            using (var load = probe.Reading(GgmlType.F16, Bytes, 1)[0])
            {
                var share = load.Flops / load.Bytes * profile.Bandwidth.Value / profile.PeakAt(GgmlType.F16, 1);
                reading = Sum(calibrator.MeterWatts(load.Run, period, cancellation)) - rest - (busy * Math.Min(1, share));
            }
            // A meter that saw nothing of the work says nothing about it.
            if (!(rest > 0 && busy > 0.05 * rest))
                return profile;
            // Between two noisy figures the smaller one can vanish; memory never costs nothing.
            reading = Math.Max(reading, 0.1 * busy);
            var how = $"{string.Join(" + ", idle.Keys.Where(m => m.Domain.Shows(device.Kind)).Select(m => m.Source).Distinct())}, {period.TotalSeconds:0.#} s";
            profile = profile with
            {
                IdlePower = Measured(rest, how),
                ComputePower = Measured(busy, how),
                MemoryPower = Measured(reading, how),
                MaxPower = new Coefficient(rest + busy + reading, Origin.Derived, "idlePower + computePower + memoryPower"),
                LeakagePower = known.LeakagePower with { Value = Math.Min(known.LeakagePower.Value, rest / 10) },
            };
            if (cold is { } before && before - Ambient > LeastRise)
                profile = profile with { ThermalResistance = new Coefficient((before - Ambient) / rest, Origin.Derived, $"({before:0.#} °C - {Ambient} °C) / idlePower") };
            return profile;
        }
    }
}
