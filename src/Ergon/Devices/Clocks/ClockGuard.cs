using System.Diagnostics;
using System.Text.Json;
using Ergon.Native.Nvidia;

namespace Ergon.Devices.Clocks;

/// <summary>How clocks may be turned.</summary>
internal sealed record ClockOptions
{
    /// <summary>Whether the machine's owner allows it; otherwise nothing is changed.</summary>
    public required bool IsAllowed { get; init; }

    /// <summary>The watchdog's command without its options, such as <c>ergon dev clock-watchdog</c>.</summary>
    public required IReadOnlyList<string> Watchdog { get; init; }

    /// <summary>Where the watchdog keeps what it must restore.</summary>
    public required string Journal { get; init; }

    /// <summary>The root of the file system.</summary>
    public string Root { get; init; } = "/";

    /// <summary>How long a clock may take to follow. Default 1 s.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(1);
}

/// <summary>
/// Turns knobs, and turns them back: at <see cref="Dispose"/>, and through a watchdog process when this one ends in
/// any other way. One thread at a time.
/// </summary>
internal sealed class ClockGuard : IDisposable
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    private readonly ClockOptions _options;
    private readonly ClockWriter _writer;
    private readonly Process _watchdog;
    private readonly List<ClockState> _before = [];

    private ClockGuard(ClockOptions options, ClockWriter writer, Process watchdog) => (_options, _writer, _watchdog) = (options, writer, watchdog);

    internal int WatchdogId => _watchdog.Id;

    /// <summary>Every knob of a machine that has levels to choose from.</summary>
    public static IReadOnlyList<ClockKnob> Knobs(SystemFiles files, Nvml? nvml) =>
        [.. JetsonClock.Find(files).Concat(CpuClock.Find(files)).Concat(PowerLimit.Find(files)).Concat(AmdgpuClock.Find(files)).Concat(NvidiaClock.Find(nvml)).Concat(NvidiaPowerLimit.Find(nvml)).Where(k => k.Levels.Count > 1)];

    /// <summary>Starts the watchdog, which first restores what a killed one left.</summary>
    /// <exception cref="ErgonException">Not allowed, or there can be no watchdog: nothing was changed.</exception>
    public static ClockGuard Start(ClockOptions options, Nvml? nvml)
    {
        if (!options.IsAllowed)
            throw new ErgonException("Clocks and power limits are left alone unless the machine's owner allows it; allow it, or tune threads and batch alone.");
        var start = new ProcessStartInfo(options.Watchdog[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in options.Watchdog.Skip(1).Concat(["--root", options.Root, "--journal", options.Journal]))
            start.ArgumentList.Add(argument);
        Process watchdog;
        try
        {
            watchdog = Process.Start(start)!;
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or FileNotFoundException)
        {
            throw new ErgonException($"The clock watchdog '{options.Watchdog[0]}' cannot be started ({e.Message}), so no clock is changed.", e);
        }
        var guard = new ClockGuard(options, new ClockWriter(new SystemFiles(options.Root), nvml), watchdog);
        if (watchdog.StandardOutput.ReadLine() != ClockWatchdog.Ready)
        {
            watchdog.StandardInput.Close();
            watchdog.WaitForExit();
            var said = watchdog.StandardError.ReadToEnd().Trim();
            watchdog.Dispose();
            throw new ErgonException($"The clock watchdog did not begin, so no clock is changed: {said}");
        }
        return guard;
    }

    /// <summary>Holds a knob at a level. What it was before is with the watchdog first.</summary>
    /// <returns>Whether the hardware followed; <see langword="null"/> where it does not tell.</returns>
    /// <exception cref="ErgonException">It could not be set: everything is as it was before the guard, and the guard is at its end.</exception>
    public bool? Hold(ClockKnob knob, ClockLevel level)
    {
        var (before, fault) = knob.Read();
        foreach (var state in before)
            fault ??= Note(state);
        foreach (var state in fault is null ? knob.Hold(level) : [])
            fault ??= _writer.Apply(state);
        if (fault is not null)
        {
            RestoreHere();
            throw new ErgonException($"The {knob.Name} cannot be held at {level.Label}: {fault}. 'ergon doctor' says what grants it; everything is as it was.");
        }
        var began = Stopwatch.GetTimestamp();
        while (knob.Follows(level) == false)
        {
            if (Stopwatch.GetElapsedTime(began) > _options.Patience)
                return false;
            Thread.Sleep(Poll);
        }
        return knob.Follows(level);
    }

    // What it was before the first change is what counts.
    private string? Note(ClockState state)
    {
        if (_before.Any(noted => noted.IsOf(state)))
            return null;
        try
        {
            _watchdog.StandardInput.WriteLine(JsonSerializer.Serialize(state, ClockJson.Default.ClockState));
            _watchdog.StandardInput.Flush();
            if (_watchdog.StandardOutput.ReadLine() != ClockWatchdog.Noted)
                return "the clock watchdog is gone";
        }
        catch (IOException)
        {
            return "the clock watchdog is gone";
        }
        _before.Add(state);
        return null;
    }

    private void RestoreHere()
    {
        foreach (var state in Enumerable.Reverse(_before))
            _ = _writer.Apply(state);
    }

    /// <summary>Restores everything: the watchdog does, or this process where it is gone.</summary>
    public void Dispose()
    {
        try
        {
            _watchdog.StandardInput.Close();
        }
        catch (IOException)
        {
            // It was killed.
        }
        _watchdog.WaitForExit();
        if (_watchdog.ExitCode != 0)
            RestoreHere();
        _watchdog.Dispose();
    }
}
