using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Runtime;
using Ergon.Tests.Energy;
using Ergon.Tests.Inference;
using Ergon.Units;

namespace Ergon.Tests.Runtime;

/// <summary>What a monitor tells of a process, by counters and a clock that move when told to.</summary>
public sealed class EnergyStatusTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly CapturedMachine _machine = CapturedMachine.Rapl();
    private readonly Ergon.Energy.MeterSet _meters;
    private readonly EnergyMonitor _monitor;
    private readonly ErgonModel _model;

    public EnergyStatusTests()
    {
        _meters = _machine.Meters();
        var profile = EstimatedProfile.Of(new DeviceInfo("CPU", DeviceKind.Cpu, "AMD EPYC", "CPU", null, 8L << 30), 2, new SystemFiles("/nowhere"));
        _monitor = new EnergyMonitor(_meters, _machine.Time, _ => (profile, null), temperatures: () => [new Temperature("k10temp/Tctl", new Celsius(61.5), null)]);
        var path = new RandomModel("llama", GgmlType.F32).Write(_folder.Path);
        _model = _monitor.Load(() => ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = 512 }));
    }

    [Fact]
    public async Task A_device_shows_the_power_of_its_meters_and_what_it_computed_a_second()
    {
        using var session = _model.CreateSession();
        Assert.Equal(0, _monitor.Status().OpenRequests);
        _monitor.Begin(session);
        // The prompt's pass gives the first token, so 21 tokens are 20 rows.
        await foreach (var _ in session.GenerateAsync([.. Enumerable.Range(3, 100)], new GenerationOptions { MaxTokens = 21, IgnoreEndOfGeneration = true }))
        {
        }
        Draw(package: 30, dram: 4, seconds: 2);

        var status = _monitor.Status();
        var device = Assert.Single(status.Devices);
        Assert.Equal((Environment.ProcessId, _model.Description.Name, 1, 20L), (status.Pid, status.Model, status.OpenRequests, status.Totals!.Tokens));
        Assert.Equal(("CPU", "measured:rapl", null), (device.Name, device.Source, device.Reason));
        Assert.Equal(17, device.Watts!.Value, 1e-9);
        Assert.Equal(10, device.TokensPerSecond, 1e-9);
        Assert.Equal(50, device.PromptRowsPerSecond, 1e-9);
        Assert.Equal(1.7, device.JoulesPerToken!.Value, 1e-9);
        Assert.Equal(61.5, device.Celsius!.Value, 1e-9);
    }

    [Fact]
    public void What_is_older_than_the_last_seconds_is_no_part_and_nothing_measured_is_not_zero()
    {
        Draw(package: 30, dram: 4, seconds: 2);
        _machine.Time.Pass(6);
        var device = Assert.Single(_monitor.Status().Devices);
        Assert.Null(device.Watts);
        Assert.Null(device.JoulesPerToken);
        Assert.Equal(0, device.TokensPerSecond);
        Assert.Contains("nothing was measured", device.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_drawn_while_nothing_runs_is_in_the_totals_all_the_same()
    {
        Draw(package: 30, dram: 4, seconds: 3);
        // What the second meter told may have come after the first was divided; it is divided with the next.
        Draw(package: 60, dram: 8, seconds: 3);
        for (var waited = 0; waited < 100 && _monitor.Status().Totals!.Joules < 34; waited++)
            await Task.Delay(50);
        var totals = _monitor.Status().Totals!;
        Assert.InRange(totals.Joules, 34, 68);
        Assert.Equal(totals.Joules, totals.UnattributedJoules + totals.LoadingJoules, 1e-9);
    }

    [Fact]
    public void Sums_over_the_last_five_seconds_forget_by_half_a_second()
    {
        var time = new ManualTime();
        var sums = new RecentSums(time);
        for (var i = 0; i < 40; i++)
        {
            sums.Add(time.GetTimestamp(), 2, 1);
            time.Pass(0.25);
        }
        // Ten seconds of 8 a second; the window reaches back 4.5 to 5 s, to the beginning of a slot.
        var (first, second, seconds) = sums.Read(time.GetTimestamp());
        Assert.InRange(seconds, 4.5, 5);
        Assert.Equal(8, first / seconds, 0.01);
        Assert.Equal(first / 2, second);
        time.Pass(5);
        Assert.Equal((0, 0), (sums.Read(time.GetTimestamp()).First, sums.Read(time.GetTimestamp()).Second));
    }

    // The time first: a counter that has not moved says nothing, so a reading in between does no harm.
    private void Draw(long package, long dram, double seconds)
    {
        _machine.Time.Pass(seconds);
        _machine.Write($"{CapturedMachine.Package}/energy_uj", 1_000_000 + (package * 1_000_000)).Write($"{CapturedMachine.Package}/intel-rapl:0:2/energy_uj", 50_000 + (dram * 1_000_000));
        _meters.ReadAll();
    }

    public void Dispose()
    {
        _model.Dispose();
        _monitor.Dispose();
        _machine.Dispose();
        _folder.Dispose();
    }
}
