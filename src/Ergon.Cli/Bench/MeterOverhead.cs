using System.Diagnostics;
using System.Globalization;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Native.Nvidia;
using Ergon.Runtime;

namespace Ergon.Cli.Bench;

/// <summary>What metering costs: decoding with meters and ledger against decoding without, in turn, on the same model.</summary>
/// <param name="Model">The model.</param>
/// <param name="Sources">The meters.</param>
/// <param name="Tokens">A second, median of the metered runs.</param>
/// <param name="Ratio">Tokens a second with / without, median of the pairs.</param>
/// <param name="RatioLow">Lower end of its 95 % interval.</param>
/// <param name="RatioHigh">Upper end.</param>
/// <param name="Pairs">How many.</param>
/// <param name="CpuShare">Processor time of the meters' thread, from the monitor's beginning on, in the time of the metered decoding; <see langword="null"/> where the system does not tell.</param>
internal sealed record MeterOverhead(string Model, IReadOnlyList<string> Sources, double Tokens, double? Ratio, double? RatioLow, double? RatioHigh, int Pairs, double? CpuShare)
{
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(100);

    public void Write(TextWriter output) => output.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{Model}: decoding with {string.Join(" + ", Sources)} runs at {Ratio:F4} of decoding without ({RatioLow:F4} to {RatioHigh:F4}, {Amount.Count(Pairs, "pair")}; {Tokens:F1} tokens/s); the meters' thread took {100 * CpuShare:F3} % of a core"));

    /// <param name="model">Loaded for one session.</param>
    /// <param name="root">The root of the meters' file system: the machine's, or a captured tree.</param>
    /// <param name="tokens">Of a run.</param>
    /// <param name="effort">How many pairs.</param>
    /// <param name="progress">Told after each pair.</param>
    /// <param name="cancellation">Stops between two runs.</param>
    public static async Task<MeterOverhead> MeasureAsync(ErgonModel model, string root, int tokens, Effort effort, Action<BenchResult, bool> progress, CancellationToken cancellation)
    {
        var (cpu, metered, sources) = (TimeSpan.Zero, TimeSpan.Zero, (IReadOnlyList<string>)[]);
        var result = await effort.MeasureAsync("metered", "t/s", async isBaseline =>
        {
            var (files, store, nvml) = (new SystemFiles(root), CalibrationStore.OfUser(), Nvml.OfMachine.Library);
            using var monitor = new EnergyMonitor(MeterSet.OfMachine(files, Command.Run, nvml, TimeProvider.System, new MeterDiagnostics()), TimeProvider.System, device => store.ProfileOf(device, files));
            monitor.Load(() => model);
            if (isBaseline)
                monitor.Dispose();
            // What goes before a run, work or rest, shows in it: both sides have the same.
            await Task.Delay(Rest, cancellation);
            if (isBaseline)
                return tokens / (await DecodeAsync(null)).TotalSeconds;
            var elapsed = await DecodeAsync(monitor);
            (cpu, metered, sources) = (cpu + (monitor.CpuTime ?? TimeSpan.Zero), metered + elapsed, monitor.Sources);
            return tokens / elapsed.TotalSeconds;
        }, hasBaseline: true, progress, cancellation);
        return new MeterOverhead(model.Description.Name, sources, result.Value, result.Ratio, result.RatioLow, result.RatioHigh, result.Pairs, metered > TimeSpan.Zero ? cpu / metered : null);

        // From the first token on: the prompt is no decoding.
        async Task<TimeSpan> DecodeAsync(EnergyMonitor? monitor)
        {
            using var session = model.CreateSession();
            var request = monitor?.Begin(session);
            var (began, count) = (0L, 0);
            await foreach (var _ in session.GenerateAsync([1, 2, 3], new GenerationOptions { MaxTokens = tokens + 1, IgnoreEndOfGeneration = true }, cancellation))
                began = count++ == 0 ? Stopwatch.GetTimestamp() : began;
            var elapsed = Stopwatch.GetElapsedTime(began);
            if (request is not null)
                await monitor!.EndAsync(request, count);
            return elapsed;
        }
    }
}
