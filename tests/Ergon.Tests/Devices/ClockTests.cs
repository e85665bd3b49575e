using System.Diagnostics;
using Ergon.Cli;
using Ergon.Devices;
using Ergon.Devices.Clocks;
using Ergon.Tests.Energy;

namespace Ergon.Tests.Devices;

/// <summary>Clocks on a file system of our own: nothing here touches the machine's.</summary>
public sealed class ClockTests : IDisposable
{
    private const string Gpu = "sys/class/devfreq/17000000.gpu";
    private const string Policy = "sys/devices/system/cpu/cpufreq/policy0";
    private const string Zone = CapturedMachine.Package;
    private const string Card = "sys/class/drm/card0/device/power_dpm_force_performance_level";

    private readonly CapturedMachine _machine = new CapturedMachine()
        .Write($"{Gpu}/device/of_node/name", "ga10b").Write($"{Gpu}/available_frequencies", "306000000 612000000 816000000 930750000")
        .Write($"{Gpu}/min_freq", 306_000_000).Write($"{Gpu}/max_freq", 930_750_000).Write($"{Gpu}/cur_freq", 612_000_000)
        .Write("sys/class/devfreq/15340000.vic/device/of_node/name", "vic").Write("sys/class/devfreq/15340000.vic/max_freq", 1)
        .Write($"{Policy}/scaling_min_freq", 400_000).Write($"{Policy}/scaling_max_freq", 2_400_000).Write($"{Policy}/cpuinfo_min_freq", 400_000).Write($"{Policy}/cpuinfo_max_freq", 2_400_000)
        .Write($"{Zone}/name", "package-0").Write($"{Zone}/constraint_0_name", "long_term").Write($"{Zone}/constraint_0_power_limit_uw", 28_000_000).Write($"{Zone}/constraint_0_max_power_uw", 28_000_000)
        .Write($"{Zone}/constraint_1_name", "short_term").Write($"{Zone}/constraint_1_power_limit_uw", 12_000_000)
        .Write($"{Zone}/constraint_2_name", "peak_power").Write($"{Zone}/constraint_2_power_limit_uw", 90_000_000)
        .Write(Card, "auto")
        .Write("proc/sys/kernel/random/boot_id", "first");

    private string Journal => Path.Combine(_machine.Root, "state/clocks.journal");

    private ClockOptions Options(bool allowed = true) => new()
    {
        IsAllowed = allowed, Watchdog = ["dotnet", typeof(CommandLine).Assembly.Location, "dev", "clock-watchdog"], Journal = Journal, Root = _machine.Root, Patience = TimeSpan.FromMilliseconds(30),
    };

    private ClockKnob Knob(string name) => ClockGuard.Knobs(_machine.Files, null).Single(k => k.Name == name);

    private string? Text(string path) => _machine.Files.Read(path).Text;

    private Dictionary<string, string?> All() => new[] { $"{Gpu}/min_freq", $"{Gpu}/max_freq", $"{Policy}/scaling_min_freq", $"{Policy}/scaling_max_freq", $"{Zone}/constraint_0_power_limit_uw", $"{Zone}/constraint_1_power_limit_uw", $"{Zone}/constraint_2_power_limit_uw", Card }.ToDictionary(p => p, Text);

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void The_knobs_of_a_machine_are_found_with_their_levels()
    {
        var knobs = ClockGuard.Knobs(_machine.Files, null);
        Assert.Equal(["jetson gpu clock", "cpu clock policy0", "power limit package-0", "amdgpu clock card0"], knobs.Select(k => k.Name));
        Assert.Equal(["306 MHz", "612 MHz", "816 MHz", "930.75 MHz"], knobs[0].Levels.Select(l => l.Label));
        Assert.Equal([400_000, 800_000, 1_200_000, 1_600_000, 2_000_000, 2_400_000L], knobs[1].Levels.Select(l => l.Value));
        Assert.Equal([11_200_000, 15_400_000, 19_600_000, 23_800_000, 28_000_000L], knobs[2].Levels.Select(l => l.Value));
    }

    [Fact]
    public void Without_leave_nothing_is_changed_and_no_watchdog_starts()
    {
        var before = All();
        Assert.Contains("owner", Assert.Throws<ErgonException>(() => ClockGuard.Start(Options(allowed: false), null)).Message, StringComparison.Ordinal);
        Assert.Contains("no clock is changed", Assert.Throws<ErgonException>(() => ClockGuard.Start(Options() with { Watchdog = ["/no/such/program"] }, null)).Message, StringComparison.Ordinal);
        Assert.Equal(before, All());
        Assert.False(File.Exists(Journal));
    }

    [Fact]
    public void What_is_held_is_as_before_afterwards()
    {
        var before = All();
        using (var guard = ClockGuard.Start(Options(), null))
        {
            Assert.True(guard.Hold(Knob("jetson gpu clock"), Knob("jetson gpu clock").Levels[1]));
            Assert.Equal(("612000000", "612000000"), (Text($"{Gpu}/min_freq"), Text($"{Gpu}/max_freq")));
            // The hardware stays where it was: said, not assumed.
            Assert.False(guard.Hold(Knob("jetson gpu clock"), Knob("jetson gpu clock").Levels[3]));
            guard.Hold(Knob("cpu clock policy0"), Knob("cpu clock policy0").Levels[0]);
            var power = Knob("power limit package-0");
            guard.Hold(power, power.Levels[2]);
            // The short constraint was lower already, and is not raised.
            Assert.Equal(("19600000", "12000000", "90000000"), (Text($"{Zone}/constraint_0_power_limit_uw"), Text($"{Zone}/constraint_1_power_limit_uw"), Text($"{Zone}/constraint_2_power_limit_uw")));
            guard.Hold(Knob("amdgpu clock card0"), Knob("amdgpu clock card0").Levels[0]);
            Assert.Equal("low", Text(Card));
        }
        Assert.Equal(before, All());
        Assert.Equal(0, new FileInfo(Journal).Length);
    }

    [Theory]
    [InlineData(306, 306, 930, 930, 930)] // up: the upper bound makes room
    [InlineData(930, 930, 306, 306, 930)] // down: the lower one does
    [InlineData(306, 930, 612, 612, 930)]
    [InlineData(306, 612, 816, 930, 930)]
    public void The_bound_that_makes_room_is_written_first(long min, long max, long newMin, long newMax, long upperAfterwards)
    {
        // The lower bound cannot be written, so the upper one has changed only if it came first.
        _machine.Write("min", min).Write("max", max).Deny("min");
        Assert.Contains("min: permission denied", new ClockWriter(_machine.Files, null).Apply(ClockState.Range("min", "max", newMin, newMax)), StringComparison.Ordinal);
        Assert.Equal($"{upperAfterwards}", Text("max"));

        Directory.Delete(_machine.Files.Full("min"));
        _machine.Write("min", min);
        Assert.Null(new ClockWriter(_machine.Files, null).Apply(ClockState.Range("min", "max", newMin, newMax)));
        Assert.Equal(($"{newMin}", $"{newMax}"), (Text("min"), Text("max")));
    }

    [Fact]
    public void A_level_that_cannot_be_written_leaves_everything_as_it_was()
    {
        var before = All();
        using var guard = ClockGuard.Start(Options(), null);
        guard.Hold(Knob("cpu clock policy0"), Knob("cpu clock policy0").Levels[0]);
        var card = Knob("amdgpu clock card0");
        _machine.Deny(Card);
        var error = Assert.Throws<ErgonException>(() => guard.Hold(card, card.Levels[0]));
        Assert.Contains("permission denied", error.Message, StringComparison.Ordinal);
        Directory.Delete(_machine.Files.Full(Card));
        _machine.Write(Card, "auto");
        Assert.Equal(before, All());
    }

    /// <summary>The tuner is a process of its own here, ended as the system's memory killer ends one.</summary>
    [Fact]
    public async Task A_tuner_that_is_killed_leaves_the_clocks_as_they_were()
    {
        if (OperatingSystem.IsWindows())
            return;
        var before = All();
        string[] words = [typeof(CommandLine).Assembly.Location, "dev", "clock-hold", "--allow-clocks", "--root", _machine.Root, "--journal", Journal, "cpu clock policy0=2", "jetson gpu clock=1", "power limit package-0=0", "amdgpu clock card0=2"];
        using var tuner = Process.Start(new ProcessStartInfo("dotnet", words) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        Assert.Equal("held", await tuner.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(("1200000", "612000000", "11200000", "high"), (Text($"{Policy}/scaling_min_freq"), Text($"{Gpu}/max_freq"), Text($"{Zone}/constraint_0_power_limit_uw"), Text(Card)));

        // Signals that reach the whole group do not end the watchdog.
        using var watchdog = Process.GetProcessById(ChildOf(tuner.Id, "clock-watchdog"));
        foreach (var signal in new[] { "-INT", "-TERM", "-HUP" })
            await KillAsync(signal, watchdog.Id);
        await Task.Delay(200);
        Assert.False(watchdog.HasExited);
        Assert.Equal("612000000", Text($"{Gpu}/max_freq"));

        await KillAsync("-KILL", tuner.Id);
        await tuner.WaitForExitAsync();
        for (var wait = 0; wait < 300 && new FileInfo(Journal).Length > 0; wait++)
            await Task.Delay(100);
        Assert.Equal(before, All());
    }

    [Fact]
    public async Task Clocks_are_held_only_with_leave()
    {
        var before = All();
        using var terminal = new Terminal(TextReader.Null, TextWriter.Null, TextWriter.Null);
        Assert.Equal(Exit.BadInput, await CommandLine.RunAsync(["dev", "clock-hold", "--root", _machine.Root, "--journal", Journal, "cpu clock policy0=2"], terminal));
        Assert.Equal(before, All());
    }

    [Fact]
    public async Task A_watchdog_that_is_killed_too_leaves_its_journal_to_the_next()
    {
        var before = All();
        using (var guard = ClockGuard.Start(Options(), null))
        {
            guard.Hold(Knob("jetson gpu clock"), Knob("jetson gpu clock").Levels[0]);
            guard.Hold(Knob("cpu clock policy0"), Knob("cpu clock policy0").Levels[5]);
            using var watchdog = Process.GetProcessById(guard.WatchdogId);
            watchdog.Kill();
            await watchdog.WaitForExitAsync();
            Assert.Contains("watchdog is gone", Assert.Throws<ErgonException>(() => guard.Hold(Knob("amdgpu clock card0"), Knob("amdgpu clock card0").Levels[0])).Message, StringComparison.Ordinal);
            Assert.Equal(before, All()); // by this process
            // As if this process had been killed as well.
            _machine.Write($"{Gpu}/max_freq", 306_000_000).Write($"{Policy}/scaling_min_freq", 2_400_000);
        }
        _machine.Write($"{Gpu}/max_freq", 306_000_000).Write($"{Policy}/scaling_min_freq", 2_400_000);
        using (ClockGuard.Start(Options(), null))
            Assert.Equal(before, All());
    }

    [Fact]
    public void A_journal_of_before_the_machine_s_restart_is_of_no_use()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Journal)!);
        var state = System.Text.Json.JsonSerializer.Serialize(ClockState.File(Card, "high"), ClockJson.Default.ClockState);
        File.WriteAllText(Journal, $"earlier\n{state}\n");
        using (ClockGuard.Start(Options(), null))
            Assert.Equal("auto", Text(Card));
        File.WriteAllText(Journal, $"first\n{state}\n{state[..20]}");
        using (ClockGuard.Start(Options(), null))
            Assert.Equal("high", Text(Card));
    }

    [Fact]
    public void Only_one_process_turns_a_machine_s_clocks()
    {
        using var guard = ClockGuard.Start(Options(), null);
        Assert.Contains("another Ergon", Assert.Throws<ErgonException>(() => ClockGuard.Start(Options(), null)).Message, StringComparison.Ordinal);
    }

    private static async Task KillAsync(string signal, int process)
    {
        using var kill = Process.Start("kill", [signal, process.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync();
    }

    private static int ChildOf(int parent, string word) => Directory.EnumerateDirectories("/proc").Select(Path.GetFileName).OfType<string>().Where(n => n.All(char.IsAsciiDigit)).Select(n => int.Parse(n, System.Globalization.CultureInfo.InvariantCulture))
        .First(id => new SystemFiles().Read($"proc/{id}/status").Text is { } status && status.Split('\n').Any(l => l.StartsWith("PPid:", StringComparison.Ordinal) && l.EndsWith($"\t{parent}", StringComparison.Ordinal))
            && (new SystemFiles().Read($"proc/{id}/cmdline").Text ?? "").Contains(word, StringComparison.Ordinal));
}
