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

    private const int Rounds = 2;
    private const double Ambient = 25, LeastRise = 2;
    private const long ReadBytes = 256 << 20;
    private static readonly TimeSpan MeterStep = TimeSpan.FromMilliseconds(100);

    // What matters most comes first: a slow device's time may end before.
    private static readonly int[] RowCounts = [1, 512, 4, 128, 16];
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
        var own = devices.Select((device, i) =>
        {
            var info = DeviceInfo.Of(device);
            using var probe = new RooflineProbe(device, _cores);
            using var one = info.Kind == DeviceKind.Cpu && _cores > 1 ? new RooflineProbe(device, 1) : null;
            var run = new Run(this, probe, one, info, EstimatedProfile.Of(info, _cores, files), idle, Budget / devices.Count * 0.8,
                (what, share) => progress?.Report(($"{info.Name}: {what}", (i + share) / devices.Count)), cancellation);
            return (info, Profile: run.Measure(), Up: probe.Copy(download: false, Budget * 0.01), Down: probe.Copy(download: true, Budget * 0.01));
        }).ToList();
        return [.. own.Select(from => new Calibrated(CalibrationStore.KeyOf(from.info, _cores, files),
            (from.Profile with
            {
                Links = [.. own.Where(to => to != from).Select(to => new LinkProfile(to.Profile.Name,
                    Measured(1 / ((1 / from.Down.Bandwidth) + (1 / to.Up.Bandwidth)), "copies of 16 MiB through host memory, as the engine makes them"),
                    Measured(from.Down.Latency + to.Up.Latency, "copies of 4 KiB"),
                    new Coefficient(40e-12 * 8, Origin.Estimate, "40 pJ a bit: out of one memory and into another")))],
            }).Validated(),
            idle.Where(meter => meter.Key.Domain.Shows(from.info.Kind)).ToDictionary(m => m.Key.Device, m => m.Value)))];
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

    /// <summary>The calibration of one device.</summary>
    private sealed class Run(Calibrator calibrator, RooflineProbe probe, RooflineProbe? one, DeviceInfo device, DeviceProfile known, Dictionary<IEnergyMeter, double> idle, TimeSpan budget, Action<string, double> progress, CancellationToken cancellation)
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
            // What disturbs a measurement makes it slower, so of the rounds the faster one counts.
            var peaks = new Dictionary<(GgmlType Type, int Head, int Rows), double>();
            var (bandwidth, core) = (0.0, 0.0);
            var steps = Rounds * (((Types.Length + Attentions.Length) * RowCounts.Length) + 1);
            var (time, done, began) = (budget * (_metered ? 0.5 : 0.85), 0, Stopwatch.GetTimestamp());
            var slice = time / steps;
            for (var round = 0; round < Rounds && Step("memory"); round++)
            {
                bandwidth = Math.Max(bandwidth, probe.Bandwidth(Bytes, budget * 0.04));
                if (one is not null)
                    core = Math.Max(core, one.Bandwidth(Bytes / 2, budget * 0.02));
                foreach (var rows in RowCounts)
                {
                    foreach (var type in Types)
                    {
                        if (Step($"{type} x {rows} rows"))
                            Keep((type, 0, rows), probe.Flops(type, rows, slice, launch));
                    }
                    foreach (var (cache, head) in Attentions)
                    {
                        if (Step($"attention, {cache} x {rows} rows"))
                            Keep((cache, head, rows), probe.AttentionFlops(cache, head, rows, slice, launch));
                    }
                }
            }
            var rates = peaks.OrderBy(r => r.Key).ToList();
            profile = profile with
            {
                Peaks = [.. rates.Where(r => r.Key.Head == 0).Select(r => new PeakRate(r.Key.Type, r.Key.Rows, Measured(r.Value, "products of matrices that caches hold")))],
                Attention = [.. rates.Where(r => r.Key.Head > 0).Select(r => new AttentionRate(r.Key.Type, r.Key.Head, r.Key.Rows, Measured(r.Value, "512 cells, 1024 values of all heads")))],
                Bandwidth = Measured(bandwidth, string.Create(CultureInfo.InvariantCulture, $"products of a row with {Bytes >> 20} MiB of F16 weights")),
                CoreBandwidth = core > 0 ? Measured(core, "the same by one core") : null,
            };
            return _metered ? WithPower(profile) : profile;

            void Keep((GgmlType, int, int) key, double? rate)
            {
                if (rate is { } value)
                    peaks[key] = Math.Max(value, peaks.GetValueOrDefault(key));
            }

            // Whether there is time left.
            bool Step(string what)
            {
                cancellation.ThrowIfCancellationRequested();
                progress(what, 0.9 * done++ / steps);
                return Stopwatch.GetElapsedTime(began) < time;
            }
        }

        // Not more than an eighth of what is free.
        private long Bytes => Math.Min(ReadBytes, Math.Max(16 << 20, (device.FreeMemory ?? ReadBytes) / 8));

        // P = P_idle + P_c (F/(t pi)) + P_m (Q/(t b)), by one work that saturates arithmetic and one that saturates memory.
        private DeviceProfile WithPower(DeviceProfile profile)
        {
            var time = budget * 0.15;
            double Sum(Dictionary<IEnergyMeter, double> watts) => watts.Where(w => w.Key.Domain.Shows(device.Kind)).Sum(w => w.Value);
            var rest = Sum(idle);
            progress("power of arithmetic", 0.92);
            var cold = calibrator.Temperature(device);
            double busy, reading;
            using (var load = probe.Arithmetic(GgmlType.F16))
                busy = Sum(calibrator.MeterWatts(load.Run, time, cancellation)) - rest;
            var warm = calibrator.Temperature(device);
            progress("power of memory", 0.96);
            using (var load = probe.Reading(Bytes))
            {
                var share = load.Flops / load.Bytes * profile.Bandwidth.Value / profile.PeakAt(GgmlType.F16, 1);
                reading = Sum(calibrator.MeterWatts(load.Run, time, cancellation)) - rest - (busy * Math.Min(1, share));
            }
            // A meter that saw nothing of the work says nothing about it.
            if (!(rest > 0 && busy > 0.05 * rest && reading > 0))
                return profile;
            var how = $"{string.Join(" + ", idle.Keys.Where(m => m.Domain.Shows(device.Kind)).Select(m => m.Source).Distinct())}, {time.TotalSeconds:0.#} s";
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
            // At first all of the heat stays: C = P t / dT.
            if (cold is { } low && warm is { } high && high - low > LeastRise)
                profile = profile with { ThermalCapacitance = Measured(busy * time.TotalSeconds / (high - low), $"from {low:0.#} to {high:0.#} °C in {time.TotalSeconds:0.#} s of arithmetic") };
            return profile;
        }
    }
}
