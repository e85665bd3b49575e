using System.Diagnostics;
using System.Globalization;
using Ergon.Inference;
using Ergon.Planning;
using Ergon.Runtime;
using Ergon.Runtime.Plans;

namespace Ergon.Cli.Bench;

/// <summary>What a plan gave when it ran.</summary>
/// <param name="JoulesPerToken">Of answers, prompts and idling included; <see langword="null"/> where energy is unknown.</param>
/// <param name="SecondsPerToken">The machine's time over all tokens of answers.</param>
/// <param name="LatencyPerToken">A request's time over its tokens, the mean of requests.</param>
/// <param name="Watts">Mean power.</param>
/// <param name="EnergySource">The meters, or what modelled them.</param>
/// <param name="Devices">Each device's share of the time, and what it took beyond its profile.</param>
internal sealed record PlanActual(double? JoulesPerToken, double SecondsPerToken, double LatencyPerToken, double? Watts, string? EnergySource, IReadOnlyList<ActualDevice> Devices);

/// <summary>What a device did.</summary>
/// <param name="Device">Its name.</param>
/// <param name="Busy">The share of the time in which it computed.</param>
/// <param name="ResidualFew">Times as long as predicted, in passes of a few rows; 1 where none was seen.</param>
/// <param name="ResidualMany">Likewise of 32 rows or more.</param>
/// <param name="Dispatch">Seconds for each graph beside its kernels, where that shows; else <see langword="null"/>.</param>
internal sealed record ActualDevice(string Device, double Busy, double ResidualFew, double ResidualMany, double? Dispatch);

/// <summary>A model run by plans on the devices of this machine, one after another.</summary>
internal sealed class PlanTrial(PlannedModel planned, EnergyMonitor? monitor)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<int, double> _busy = []; // by placement

    /// <summary>Runs the workload: all its sequences at once, each with a prompt of its own.</summary>
    /// <param name="workload">Its sequences, passes in flight and prompts.</param>
    /// <param name="tokens">Of each answer.</param>
    /// <param name="cancellation">Stops it.</param>
    public async Task<PlanActual> RunAsync(Workload workload, int tokens, CancellationToken cancellation)
    {
        var model = planned.Model;
        var count = workload.Batch * workload.InFlight;
        await model.KeepInFlightAsync(workload.InFlight);
        lock (_gate)
            _busy.Clear();
        model.PassCompleted += Note;
        var request = monitor?.Begin();
        var began = Stopwatch.GetTimestamp();
        TimeSpan[] times;
        try
        {
            times = await Task.WhenAll(Enumerable.Range(0, count).Select(i => OneAsync(model, workload.Prompt, i, tokens, cancellation)));
        }
        finally
        {
            model.PassCompleted -= Note;
        }
        var elapsed = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var receipt = request is null ? null : await monitor!.EndAsync(request, count * tokens);
        var devices = planned.Current.Devices.Select(name =>
        {
            var (few, many, dispatch) = planned.ResidualOf(name);
            double busy;
            lock (_gate)
                busy = _busy.Where(b => planned.DeviceAt(b.Key) == name).Sum(b => b.Value);
            return new ActualDevice(name, Receipts.Rounded(busy / elapsed)!.Value, Receipts.Rounded(few)!.Value, Receipts.Rounded(many)!.Value, Receipts.Rounded(dispatch));
        });
        return new(Receipts.Rounded(receipt?.PerToken?.Value), Receipts.Rounded(elapsed / (count * tokens))!.Value, Receipts.Rounded(times.Average(t => t.TotalSeconds) / tokens)!.Value,
            Receipts.Rounded(receipt?.Power?.Value), receipt?.Source, [.. devices]);
    }

    private static async Task<TimeSpan> OneAsync(ErgonModel model, int rows, int index, int tokens, CancellationToken cancellation)
    {
        var began = Stopwatch.GetTimestamp();
        using var session = model.CreateSession();
        var random = new Random(index);
        int[] prompt = [.. Enumerable.Range(0, Math.Max(1, rows)).Select(_ => random.Next(model.Description.VocabularySize))];
        await foreach (var _ in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = tokens, IgnoreEndOfGeneration = true }, cancellation))
        {
        }
        return Stopwatch.GetElapsedTime(began);
    }

    private void Note(PassReport pass)
    {
        lock (_gate)
        {
            foreach (var segment in pass.Segments)
                _busy[segment.Placement] = _busy.GetValueOrDefault(segment.Placement) + segment.Elapsed.TotalSeconds;
        }
    }

    /// <summary>Predicted and actual, side by side.</summary>
    public static void Write(TextWriter output, PlanEvaluation predicted, PlanActual actual)
    {
        Columns.Write(output, [["", "PREDICTED", "ACTUAL", "ERROR"], Row("J a token", 1, predicted.Score.Joules, actual.JoulesPerToken), Row("ms a token", 1e3, predicted.Score.Seconds, actual.SecondsPerToken),
            Row("ms of a request a token", 1e3, predicted.Latency.Value, actual.LatencyPerToken), .. actual.Devices.Select(d => Row($"{d.Device} busy, %", 100, predicted.Loads.First(l => l.Device == d.Device).Busy, d.Busy))]);
        foreach (var d in actual.Devices)
            output.WriteLine(Text($"{d.Device} takes {d.ResidualFew:F2} times as long as its profile says with few rows, {d.ResidualMany:F2} with many{(d.Dispatch is { } once ? $", and {1e3 * once:F3} ms a graph" : "")}"));
        if (actual.EnergySource is { } source)
            output.WriteLine($"energy: {source}");

        static string[] Row(string name, double scale, double predicted, double? actual) =>
            [name, Text($"{scale * predicted:G4}"), actual is { } a ? Text($"{scale * a:G4}") : "unknown", actual is { } b && b > 0 ? Text($"{100 * ((predicted / b) - 1):+0.0;-0.0} %") : ""];
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
