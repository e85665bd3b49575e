using System.CommandLine;
using System.Globalization;
using Ergon.Cli.Bench;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Store;
using Ergon.Native.Llama;
using Ergon.Native.Nvidia;
using Ergon.Native.Tensors;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon bench</c>: tokens a second, and how they compare with libllama's on the same file in the same run.</summary>
internal static class BenchCommand
{
    // llama-bench repeats as often.
    private const int Repetitions = 5, BaselinePairs = 20;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var prompt = Settings.Whole("--prompt", "-p", "Tokens of the prompt test; 0: none [default: 512]", 0, 1 << 20);
        var tokens = Settings.Whole("--tokens", "-n", "Tokens of the generation tests; 0: none [default: 128]", 0, 1 << 20);
        var batch = Settings.Text("--batch", "N,N", "Sequences that generate at once, a test for each [default: 1,8]");
        var baseline = new Option<bool>("--baseline") { Description = "Measure libllama too, in turn, and the time to the first token and the memory of fresh processes" };
        var pairs = Settings.Whole("--pairs", null, $"Measurements of each test, or pairs of them [default: {Repetitions}, with --baseline {BaselinePairs}]", 1, 10_000);
        var budget = Settings.Whole("--budget", null, "Seconds after which a test begins no further measurement, once it has six [default: 120]", 1, 100_000);
        var predict = new Option<bool>("--predict") { Description = "Compare what the cost model predicts with the device's profile with what each kind of pass takes" };
        var overhead = new Option<bool>("--overhead") { Description = "Measure what metering costs: decoding with and without it, in turn" };
        var root = new Option<string>("--root") { Description = "Read the meters of a captured tree", DefaultValueFactory = _ => "/", Hidden = true };
        var json = Settings.Json();
        var markdown = new Option<bool>("--md") { Description = "Print the result as a Markdown table" };
        var csv = new Option<bool>("--csv") { Description = "Print the result as comma-separated values" };
        var settings = new EngineSettings();
        return new Verb("bench", "Measure tokens a second, as llama-bench does, and against libllama",
            "ergon bench model.gguf", "ergon bench model.gguf --baseline --md", "ergon bench model.gguf --predict", "ergon bench model.gguf --overhead", "ergon bench Llama-3.2-1B -p 128 -n 0 --threads 4 --json")
        { model, prompt, tokens, batch, baseline, predict, overhead, root, pairs, budget, json, markdown, csv, settings.Threads, settings.Device, settings.CacheType, settings.Engine }.Does(async (parsed, cancellation) =>
        {
            var workloads = Workloads(parsed.GetValue(prompt) ?? 512, parsed.GetValue(tokens) ?? 128, Batches(parsed.GetValue(batch) ?? "1,8"));
            var compares = parsed.GetValue(baseline);
            var effort = new Effort(parsed.GetValue(pairs) ?? (compares ? BaselinePairs : Repetitions), TimeSpan.FromSeconds(parsed.GetValue(budget) ?? 120));
            var path = ModelStore.OfUser().Resolve(parsed.GetValue(model) ?? ModelStore.DefaultModel);
            if (parsed.GetValue(overhead))
            {
                using var metered = settings.Load(parsed, terminal, path, sessions: 1, defaultContext: null, cancellation);
                var costs = await MeterOverhead.MeasureAsync(metered, parsed.GetValue(root)!, Math.Min(parsed.GetValue(tokens) ?? 128, metered.ContextLength - 8),
                    new Effort(parsed.GetValue(pairs) ?? BaselinePairs, effort.Budget),
                    (soFar, isLast) => terminal.Status($"{soFar.Pairs} pairs", isLast), cancellation);
                if (parsed.GetValue(json))
                    CliJson.Write(terminal.Out, costs);
                else
                    costs.Write(terminal.Out);
                return Exit.Ok;
            }
            if (parsed.GetValue(predict))
            {
                var prediction = await PredictAsync(parsed, terminal, settings, path, cancellation);
                if (parsed.GetValue(json))
                    CliJson.Write(terminal.Out, prediction);
                else
                    prediction.Write(terminal.Out);
                return Exit.Ok;
            }
            // Libllama allocates in steps of 256 cells and attends to as many: both get the same.
            var context = (workloads.Max(w => w.Tokens) + 255) / 256 * 256;
            var sequences = workloads.Max(w => Math.Max(1, w.Sequences));

            using var loaded = settings.Load(parsed, terminal, path, sequences, context, cancellation);
            if (compares && loaded.Devices is not ["CPU"])
                throw new ErgonException($"--baseline compares on the CPU, but the model is on {string.Join(", ", loaded.Devices)}; add --device CPU.");
            List<BenchResult> results = [];
            if (compares)
                results.AddRange(await FirstTokensAsync(path, loaded.Threads, loaded.Engine, effort, Progress, cancellation));
            var energy = new BenchEnergy(loaded);
            results.InsertRange(0, await loaded.InvokeAsync(engine => Rates(engine, loaded, energy, path, compares, workloads, effort, Progress, cancellation)));

            var report = new BenchReport(Path.GetFileNameWithoutExtension(path), loaded.Description.WeightBytes, loaded.Description.ParameterCount, loaded.Devices, EngineSettings.NameOf(loaded.Engine), loaded.Threads, energy.Source, results);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, report);
            else if (parsed.GetValue(csv))
                report.WriteCsv(terminal.Out);
            else
                report.WriteTable(terminal.Out, parsed.GetValue(markdown));
            return Exit.Ok;

            void Progress(BenchResult soFar, bool isLast)
            {
                var line = BenchReport.Line(soFar);
                terminal.Status(line, isLast);
                if (isLast && !terminal.CanRedraw)
                    terminal.Error.WriteLine(line);
            }
        });
    }

    private static async Task<PredictionReport> PredictAsync(ParseResult parsed, Terminal terminal, EngineSettings settings, string path, CancellationToken cancellation)
    {
        const int Sequences = 8;
        var (files, nvml) = (new SystemFiles(), Nvml.OfMachine.Library);
        using var loaded = settings.Load(parsed, terminal, path, Sequences, defaultContext: Engine.MaxRows, cancellation);
        var device = DeviceInfo.All().First(d => d.Name == loaded.Devices[0]);
        var (profile, calibrated) = CalibrationStore.OfUser().ProfileOf(device, files, problem => terminal.Error.WriteLine($"ergon: {problem}"));
        var cores = CpuTopology.PhysicalCores();
        if (device.Kind == DeviceKind.Cpu && loaded.Threads < cores)
            profile = profile.WithCores(loaded.Threads, cores);
        var all = MeterSet.OfMachine(files, Ergon.Devices.Command.Run, nvml, TimeProvider.System, new MeterDiagnostics());
        var meters = new MeterSet(all.Meters.Where(m => m.Domain.Shows(device.Kind)), TimeProvider.System);
        var passes = await loaded.InvokeAsync(engine => engine is Engine own
            ? new Prediction(own, (ModelDescription)loaded.Description, profile, meters).Measure(loaded.ContextLength, TimeSpan.FromSeconds(1), loaded.KvType.Storage(), what => terminal.Status($"{what,-40}", isLast: false), cancellation)
            : throw new ErgonException("--predict needs Ergon's own engine, whose stages the cost model describes; this model is run by libllama as a whole."));
        terminal.Status(new string(' ', 40), isLast: true);
        var energy = passes.Where(p => p.EnergyError is not null).Select(p => p.EnergyError!.Value).ToList();
        return new PredictionReport(Path.GetFileNameWithoutExtension(path), device.Name, profile.Name, calibrated is not null, loaded.Threads, energy.Count > 0 ? string.Join('+', meters.Meters.Select(m => m.Source).Distinct()) : null,
            passes, Prediction.MedianOf(passes.Select(p => p.Error)), energy.Count > 0 ? Prediction.MedianOf(energy) : null);
    }

    private static BenchTest[] Workloads(int prompt, int tokens, int[] batches)
    {
        BenchTest[] all = [.. prompt > 0 ? [new BenchTest(prompt, 0)] : Array.Empty<BenchTest>(), .. tokens > 0 ? batches.Select(b => new BenchTest(tokens, b)) : []];
        return all.Length > 0 ? all : throw new ErgonException("--prompt is 0 and --tokens is 0, so there is nothing to measure; leave one out.");
    }

    private static int[] Batches(string text)
    {
        int[] batches = [.. text.Split(',').Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n is > 0 and <= Engine.MaxRows ? n : 0)];
        return batches.Contains(0) ? throw new ErgonException($"--batch is '{text}', but must be numbers from 1 to {Engine.MaxRows} with commas between, such as 1,8.") : batches;
    }

    // On the engine's thread: libllama shares its pool, whose first worker is the calling thread.
    private static List<BenchResult> Rates(IEngine engine, ErgonModel loaded, BenchEnergy energy, string path, bool compares, BenchTest[] workloads, Effort effort, Action<BenchResult, bool> progress, CancellationToken cancellation)
    {
        using var llama = compares ? LlamaModel.Load(path, vocabularyOnly: false) : null;
        using var context = llama is null ? null : new LlamaContext(llama, engine.Cells.Capacity, loaded.Threads, PoolOf(engine), loaded.MaxSequences);
        var ours = new ErgonContender(engine);
        var theirs = context is null ? null : new LlamaContender(context);
        var results = new List<BenchResult>();
        foreach (var workload in workloads)
        {
            var input = workload.Input(loaded.Description.VocabularySize);
            var joules = new List<double>();
            var result = effort.MeasureAsync(workload.Name, "t/s", isBaseline => Task.FromResult(isBaseline ? workload.Rate(theirs!, input) : Ours(workload, input, joules)), compares, progress, cancellation).GetAwaiter().GetResult();
            results.Add(joules.Count > 0 ? result with { JoulesPerToken = Median.Of(joules).Value } : result);
        }
        return results;

        double Ours(BenchTest workload, int[] input, List<double> joules)
        {
            var rate = 0.0;
            var taken = energy.Of(seen =>
            {
                ours.Seen = seen;
                rate = workload.Rate(ours, input);
            });
            if (taken is { } j)
                joules.Add(j / input.Length);
            return rate;
        }
    }

    private static Backend? PoolOf(IEngine engine) => engine is LibllamaEngine whole ? whole.Pool : (engine as Engine)?.Backends.First();

    private static async Task<IEnumerable<BenchResult>> FirstTokensAsync(string path, int threads, EngineChoice engine, Effort effort, Action<BenchResult, bool> progress, CancellationToken cancellation)
    {
        List<double> ours = [], theirs = [];
        var time = await effort.MeasureAsync("ttft_ms", "ms", async isBaseline =>
        {
            var first = await FirstToken.OfChildAsync(path, threads, engine, isBaseline, cancellation);
            (isBaseline ? theirs : ours).Add(first.ResidentBytes / 1048576.0);
            return first.Elapsed.TotalMilliseconds;
        }, hasBaseline: true, progress, cancellation);
        // The first pair warmed the page cache and counts for neither.
        return [time, BenchResult.Of("rss_mib", "MiB", ours[1..], theirs[1..])];
    }
}
