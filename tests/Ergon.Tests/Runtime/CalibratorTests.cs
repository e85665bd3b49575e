using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Native;
using Ergon.Native.Tensors;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Tests.Runtime;

/// <summary>A short calibration of this machine's processor; its figures are rough here, their relations are not.</summary>
public sealed class CalibratorTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void A_calibration_measures_arithmetic_memory_launches_and_power()
    {
        var shares = new List<double>();
        var found = Assert.Single(Calibrate(new PhaseMeter(), shares));
        var profile = found.Profile;

        Assert.All(profile.Peaks, p => Assert.Equal(Origin.Measured, p.Flops.Origin));
        Assert.Contains(profile.Peaks, p => p is { Type: GgmlType.Q4_0, Rows: 512 });
        // Many rows share the unpacking of a weight.
        Assert.True(profile.PeakAt(GgmlType.Q4_0, 512) > profile.PeakAt(GgmlType.Q4_0, 1));
        Assert.True(profile.AttentionAt(GgmlType.F16, 64, 512) > 0);
        Assert.Equal((Origin.Measured, Origin.Measured), (profile.Bandwidth.Origin, profile.Launch.Origin));
        Assert.InRange(profile.Bandwidth.Value, 1e8, 1e13);
        Assert.InRange(profile.Launch.Value, 0, 1e-2);
        // The meter drew 10 W idle, 30 W in arithmetic and 45 W in reading, a part of which is arithmetic.
        Assert.Equal(Origin.Measured, profile.IdlePower.Origin);
        Assert.Equal(10, profile.IdlePower.Value, 1.0);
        Assert.Equal(20, profile.ComputePower.Value, 3.0);
        Assert.InRange(profile.MemoryPower.Value, 12, 38);
        Assert.Equal(10, found.MeterIdle["package-0"], 1.0);
        Assert.Equal(shares.Order(), shares);

        var store = new CalibrationStore(_folder.Path);
        store.Save(found);
        var cpu = DeviceInfo.All().First(d => d.Kind == DeviceKind.Cpu);
        var again = store.Find(CalibrationStore.KeyOf(cpu, 1, new SystemFiles()))!.Profile;
        Assert.Equal(profile.Peaks, again.Peaks);
        Assert.Equal(profile.Attention, again.Attention);
        Assert.Equal(profile.Bandwidth, again.Bandwidth);
        Assert.Null(store.Find(found.Key + "another driver"));
    }

    [Fact]
    public void A_calibration_that_is_stopped_throws_and_keeps_nothing()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.Throws<OperationCanceledException>(() => new Calibrator(new SystemFiles(), new MeterSet([], TimeProvider.System), null, cores: 1, TimeSpan.FromSeconds(1)).Measure(Cpu, null, stop.Token));
    }

    [Theory]
    [InlineData("{", "cannot be used")]
    [InlineData("null", "cannot be used")]
    [InlineData("contradiction", "idlePower = 1000")]
    public void A_damaged_calibration_is_said_with_its_path_and_the_estimate_serves(string damage, string expected)
    {
        var (store, cpu, files) = (new CalibrationStore(_folder.Path), DeviceInfo.All().First(d => d.Kind == DeviceKind.Cpu), new SystemFiles());
        var cores = CpuTopology.PhysicalCores();
        var known = EstimatedProfile.Of(cpu, cores, files);
        var key = CalibrationStore.KeyOf(cpu, cores, files);
        store.Save(new Calibrated(key, known with { IdlePower = known.IdlePower with { Value = 1000 } }, new Dictionary<string, double>()));
        if (damage != "contradiction")
            File.WriteAllText(store.PathOf(key), damage);
        var said = new List<string>();
        var (profile, calibrated) = store.ProfileOf(cpu, files, said.Add);
        Assert.Null(calibrated);
        Assert.Equal(known.Name, profile.Name);
        Assert.Contains(expected, Assert.Single(said), StringComparison.Ordinal);
        Assert.Contains(store.PathOf(key), said[0], StringComparison.Ordinal);
        Assert.Contains("--calibrate", said[0], StringComparison.Ordinal);
    }

    private static NativeDevice[] Cpu => [NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu)];

    private static IReadOnlyList<Calibrated> Calibrate(PhaseMeter meter, List<double> shares) =>
        new Calibrator(new SystemFiles(), new MeterSet([meter], TimeProvider.System), null, cores: 1, TimeSpan.FromSeconds(1)).Measure(Cpu, new Progress(meter, shares));

    public void Dispose() => _folder.Dispose();

    private sealed class Progress(PhaseMeter meter, List<double> shares) : IProgress<(string What, double Share)>
    {
        public void Report((string What, double Share) value)
        {
            shares.Add(value.Share);
            meter.Power = new Watts(value.What.EndsWith("power of arithmetic", StringComparison.Ordinal) ? 30 : value.What.EndsWith("power of memory", StringComparison.Ordinal) ? 45 : 10);
        }
    }

    // Draws what the phase of the calibration is to find: other tests compute at the same time.
    private sealed class PhaseMeter : IEnergyMeter
    {
        private long _at = TimeProvider.System.GetTimestamp();
        private Joules _energy;

        public Watts Power { get; set; } = new(10);

        public string Device => "package-0";
        public EnergyDomain Domain => EnergyDomain.Package;
        public string Source => "measured:test";
        public TimeSpan Interval => TimeSpan.FromMilliseconds(100);

        public EnergyReading Read()
        {
            var now = TimeProvider.System.GetTimestamp();
            _energy += Power * (Seconds)TimeProvider.System.GetElapsedTime(_at, now);
            _at = now;
            return new EnergyReading(now, _energy, TimeSpan.Zero, EnergyQuality.Counter, null, IsFailing: false);
        }
    }
}
