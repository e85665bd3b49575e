using System.CommandLine;
using System.Globalization;
using Ergon.Devices;
using Ergon.Energy;
using Ergon.Native.Nvidia;
using Ergon.Runtime;
using Spectre.Console;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon top</c>: what this user's running processes do and draw, or what the machine does where none runs.</summary>
internal static class TopCommand
{
    private static readonly string[] Header = ["PID", "DEVICE", "POWER", "TEMP", "TOKENS/S", "J/TOKEN", "PROMPT/S", "OPEN", "TOTAL", "SOURCE", "MODEL"];
    private static readonly TimeSpan Refresh = TimeSpan.FromSeconds(1), KeyInterval = TimeSpan.FromMilliseconds(100);

    public static Verb Create(Terminal terminal)
    {
        var once = new Option<bool>("--once") { Description = "Print one plain table and end, as where the output is no terminal" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object a line each second; with --once one" };
        return new Verb("top", "Watch power, temperature and tokens a second of what runs; q or Ctrl-C ends", "ergon top", "ergon top --once", "ergon top --json | jq .processes[].devices[].watts")
        { once, json }.Does(async (parsed, cancellation) =>
        {
            var source = new Source(terminal);
            if (parsed.GetValue(json))
            {
                do
                    CliJson.Write(terminal.Out, await source.ReadAsync(cancellation));
                while (!parsed.GetValue(once) && await WaitAsync(terminal, cancellation));
            }
            else if (parsed.GetValue(once) || !terminal.CanShow)
            {
                var report = await source.ReadAsync(cancellation);
                Columns.Write(terminal.Out, [Header, .. Rows(report)]);
                foreach (var reason in report.Machine?.Select(d => d.Reason).OfType<string>() ?? [])
                    terminal.Error.WriteLine($"No meter: {reason}; 'ergon doctor' says what is missing.");
            }
            else
            {
                await ShowAsync(terminal, source, cancellation);
            }
            return Exit.Ok;
        });
    }

    private static async Task ShowAsync(Terminal terminal, Source source, CancellationToken cancellation)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal.Out), Ansi = AnsiSupport.Yes, Interactive = InteractionSupport.Yes });
        await console.Live(new Text("")).StartAsync(async context =>
        {
            do
                context.UpdateTarget(Draw(await source.ReadAsync(cancellation), console.Profile.Width));
            while (await WaitAsync(terminal, cancellation));
        });
    }

    /// <summary>Waits for the next refresh.</summary>
    /// <returns>False where q was pressed instead.</returns>
    private static async Task<bool> WaitAsync(Terminal terminal, CancellationToken cancellation)
    {
        if (!terminal.IsInteractive)
        {
            await Task.Delay(Refresh, cancellation);
            return true;
        }
        for (var waited = TimeSpan.Zero; waited < Refresh; waited += KeyInterval)
        {
            while (Console.KeyAvailable)
            {
                if (Console.ReadKey(intercept: true).KeyChar is 'q' or 'Q')
                    return false;
            }
            await Task.Delay(KeyInterval, cancellation);
        }
        return true;
    }

    // What a narrow terminal has no room for is cut off: a table that wraps cannot be read.
    private static Rows Draw(TopReport report, int width) =>
        new(Columns.Lines([Header, .. Rows(report)]).Select((line, i) => new Text(line[..Math.Min(line.Length, width)], i == 0 ? new Style(decoration: Decoration.Bold) : Style.Plain)));

    internal static IEnumerable<string[]> Rows(TopReport report)
    {
        foreach (var process in report.Processes)
        {
            var pid = process.Pid.ToString(CultureInfo.InvariantCulture);
            if (process.Totals is not { } totals)
                yield return [pid, .. Enumerable.Repeat("", Header.Length - 2), "does not answer"];
            else
            {
                foreach (var device in process.Devices)
                    yield return Row(pid, device, process.OpenRequests.ToString(CultureInfo.InvariantCulture), $"{Receipts.Figure(totals.Joules)} J", process.Model ?? "is being loaded");
            }
        }
        foreach (var device in report.Machine ?? [])
            yield return Row("-", device, "", "", "nothing runs");
    }

    private static string[] Row(string pid, DeviceStatus device, string open, string total, string model) =>
    [
        pid, device.Name, device.Watts is { } watts ? $"{Receipts.Figure(watts)} W" : "?", device.Celsius is { } celsius ? string.Create(CultureInfo.InvariantCulture, $"{celsius:F0} °C") : "?",
        Receipts.Figure(device.TokensPerSecond), device.JoulesPerToken is { } each ? Receipts.Figure(each) : "", Receipts.Figure(device.PromptRowsPerSecond), open, total, device.Source ?? "none", model,
    ];

    /// <summary>What there is to see: of the processes, and of the machine while there is none.</summary>
    private sealed class Source(Terminal terminal)
    {
        // Long enough for each meter to tell something new.
        private static readonly TimeSpan FirstWindow = TimeSpan.FromMilliseconds(250);

        private readonly SystemFiles _files = new();
        private MeterSet? _meters;
        private OpenWindow? _window;
        private bool _warned;

        public async Task<TopReport> ReadAsync(CancellationToken cancellation)
        {
            var folder = StatusFolder.OfUser();
            // Somebody else's folder may say anything.
            var problem = Directory.Exists(folder) ? StatusFolder.Problem(folder) : null;
            if (problem is not null && !_warned)
                terminal.Error.WriteLine($"ergon: {problem} Until then no process is shown.");
            _warned |= problem is not null;
            var processes = problem is null ? await StatusSocket.ReadAllAsync(folder, cancellation) : [];
            if (processes.Count > 0)
            {
                _window = null;
                return new TopReport(processes, null);
            }
            return new TopReport([], await ReadMachineAsync(cancellation));
        }

        private async Task<List<DeviceStatus>> ReadMachineAsync(CancellationToken cancellation)
        {
            var nvml = Nvml.OfMachine.Library;
            _meters ??= MeterSet.OfMachine(_files, Ergon.Devices.Command.Run, nvml, TimeProvider.System, new MeterDiagnostics());
            if (_window is null && _meters.Meters.Count > 0)
            {
                _window = _meters.Begin();
                await Task.Delay(FirstWindow, cancellation);
            }
            var drawn = _window is null ? null : _meters.End(_window);
            _window = _meters.Meters.Count > 0 ? _meters.Begin() : null;
            var temperatures = Temperatures.Read(_files, nvml);
            List<DeviceStatus> devices = _meters.WhyNone is { } none ? [new DeviceStatus("CPU", null, Celsius(DeviceKind.Cpu), 0, 0, null, null, none)] : [];
            devices.AddRange(drawn?.Domains.Select(d => new DeviceStatus(
                d.Device, d.Energy?.Value / drawn.Elapsed.TotalSeconds, Celsius(d.Domain == EnergyDomain.Gpu ? DeviceKind.Gpu : DeviceKind.Cpu), 0, 0, null, d.Source, d.Reason)) ?? []);
            return devices;

            double? Celsius(DeviceKind kind) => Temperatures.Of(kind, temperatures)?.Value;
        }
    }
}
