using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Ergon.Devices;
using Ergon.Devices.Clocks;
using Ergon.Native.Nvidia;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev clock-watchdog</c> and <c>clock-hold</c>: the process that restores clocks, and one that turns them.</summary>
internal static class ClockCommands
{
    // It ends when its input does, and by no signal that reaches a whole group of processes: whoever turned the clocks
    // gets the same signal, and its end is the word to restore.
    public static Verb CreateWatchdog(Terminal terminal)
    {
        var (root, journal) = Options();
        return new Verb("clock-watchdog", "Restore the clocks that the process at stdin turns, when it ends", "ergon dev clock-watchdog --journal FILE") { root, journal }.Does(parsed =>
        {
            PosixSignalRegistration[] deaf = [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP }.Select(signal => PosixSignalRegistration.Create(signal, context => context.Cancel = true))];
            var files = new SystemFiles(parsed.GetValue(root)!);
            var restored = ClockWatchdog.Run(terminal.In, terminal.Out, terminal.Error, parsed.GetValue(journal)!, files, new ClockWriter(files, Gpus(parsed.GetValue(root)!)));
            Array.ForEach(deaf, signal => signal.Dispose());
            return restored ? Exit.Ok : Exit.Failure;
        });
    }

    public static Verb CreateHold(Terminal terminal)
    {
        var (root, journal) = Options();
        var allow = new Option<bool>("--allow-clocks") { Description = "Let clocks and power limits be turned" };
        var settings = new Argument<string[]>("KNOB=LEVEL") { Description = "A knob and the number of its level, from 0; without any, knobs and levels are listed" };
        return new Verb("clock-hold", "Hold knobs at levels until stdin ends, then restore them", "ergon dev clock-hold --allow-clocks --journal FILE \"cpu clock policy0=2\"") { root, journal, allow, settings }.Does(parsed =>
        {
            var path = parsed.GetValue(root)!;
            var knobs = ClockGuard.Knobs(new SystemFiles(path), Gpus(path));
            var wanted = parsed.GetValue(settings)!.Select(text => Setting(knobs, text)).ToList();
            if (wanted.Count == 0)
            {
                Columns.Write(terminal.Out, [.. knobs.Select(k => new[] { k.Name, string.Join(", ", k.Levels.Select(l => l.Label)) })]);
                return Exit.Ok;
            }
            using var guard = ClockGuard.Start(new ClockOptions { IsAllowed = parsed.GetValue(allow), Watchdog = Watchdog(), Journal = parsed.GetValue(journal)!, Root = path }, Gpus(path));
            foreach (var (knob, level) in wanted)
            {
                if (guard.Hold(knob, level) == false)
                    terminal.Error.WriteLine($"the {knob.Name} is set to {level.Label}, but the hardware does not follow");
            }
            terminal.Out.WriteLine("held");
            terminal.In.ReadToEnd();
            return Exit.Ok;
        });
    }

    /// <summary>This program's own command for a watchdog.</summary>
    internal static IReadOnlyList<string> Watchdog()
    {
        string[] verb = ["dev", "clock-watchdog"];
        // Under 'dotnet ergon.dll' the process is dotnet; published, it is ergon.
        return Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet" ? [Environment.ProcessPath!, Environment.GetCommandLineArgs()[0], .. verb] : [Environment.ProcessPath!, .. verb];
    }

    private static (Option<string> Root, Option<string> Journal) Options() =>
        (new Option<string>("--root") { Description = "The root of the file system", DefaultValueFactory = _ => "/" },
        new Option<string>("--journal") { Description = "Where to keep what must be restored", Required = true });

    private static Nvml? Gpus(string root) => root == "/" ? Nvml.OfMachine.Library : null;

    private static (ClockKnob Knob, ClockLevel Level) Setting(IReadOnlyList<ClockKnob> knobs, string text)
    {
        var at = text.LastIndexOf('=');
        if (at > 0 && knobs.FirstOrDefault(k => k.Name == text[..at]) is { } knob
            && int.TryParse(text.AsSpan(at + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var level) && level < knob.Levels.Count)
            return (knob, knob.Levels[level]);
        throw new ErgonException($"The setting is '{text}', but must be KNOB=LEVEL with one of: {string.Join("; ", knobs.Select(k => $"{k.Name}=0..{k.Levels.Count - 1}"))}.");
    }
}
