using System.CommandLine;
using System.Globalization;
using Ergon.Cost;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon eval</c>: accuracy and pass@k on generated problems.</summary>
internal static class EvalCommand
{
    // Enough to fill a pass without making any one answer slow.
    private const int Sessions = 8;
    private const int DefaultContext = 512;
    private const float SamplingTemperature = 0.8f;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var task = Settings.Choice<Problems>("--task", "The problems; words: held-out grade-school word problems");
        task.Required = true;
        var items = Settings.Whole("--items", null, "Problems [default: 500]", 1, 1_000_000);
        var samples = Settings.Whole("--samples", null, "Answers drawn for each problem [default: 1]", 1, 10_000);
        var temperature = Settings.Number("--temp", "Temperature [default: 0 for one sample, 0.8 for more]", "a number, 0 to 100", x => x is >= 0 and <= 100);
        var seed = Settings.Whole("--seed", "-s", "Seed of the problems and of the draws [default: 99, that of models/README.md]", 0);
        var json = Settings.Json();
        var engine = new EngineSettings();
        var receipts = new Receipts();
        var verb = new Verb("eval", "Measure accuracy and pass@k on generated problems",
            "ergon eval --task words --items 500", "ergon eval words-m --task words --samples 16 --temp 0.8 --json")
        { model, task, items, samples, temperature, seed, json };
        engine.AddTo(verb);
        receipts.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var draws = parsed.GetValue(samples) ?? 1;
            var options = new WordsEvaluationOptions
            {
                Items = parsed.GetValue(items) ?? 500,
                Samples = draws,
                Temperature = parsed.GetValue(temperature) ?? (draws == 1 ? 0 : SamplingTemperature),
                Seed = (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed,
            };
            options.Validate();
            using var monitor = receipts.Monitor(parsed);
            using var status = Receipts.Status(monitor, terminal);
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), Math.Min(Sessions, options.Items), DefaultContext, cancellation, monitor);
            var progress = new Immediate<int>(done => terminal.Status($"{done} of {Amount.Count(options.Items, "problem")}", done == options.Items));
            // One request for all: samples share passes, and their sum is what is asked for.
            var request = monitor?.Begin();
            var evaluated = await WordsEvaluation.RunAsync(loaded, options, progress, cancellation);
            var receipt = request is null ? null : await monitor!.EndAsync(request, checked((int)evaluated.CompletionTokens));
            var result = Named(evaluated, options, loaded, receipt);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, result);
            else
                Print(terminal.Out, result);
            if (receipt is not null)
                terminal.Error.WriteLine(Receipts.Line(receipt));
            return Exit.Ok;
        });
    }

    private enum Problems
    {
        Words,
    }

    private static EvalResult Named(EvaluationResult result, WordsEvaluationOptions options, ErgonModel model, Receipt? receipt) => new(
        nameof(Problems.Words).ToLowerInvariant(), result.Items, result.Samples, options.Temperature, (long)options.Seed, Math.Round(result.Accuracy, 6),
        result.PassAtK.ToDictionary(p => p.Key.ToString(CultureInfo.InvariantCulture), p => Math.Round(p.Value, 6)),
        result.PromptTokens, result.CompletionTokens, Math.Round(result.Time.TotalSeconds, 3), model.Devices, EngineSettings.NameOf(model.Engine),
        receipt is null ? null : Receipts.Json(receipt),
        Receipts.Rounded(receipt?.Power is { } power ? Metrics.Ipw(result.Accuracy, power) : null),
        // A query is one sample: accuracy is the mean over samples too.
        Receipts.Rounded(receipt?.Energy is { } energy ? Metrics.Ipj(result.Accuracy, energy / ((double)result.Items * result.Samples)) : null));

    private static void Print(TextWriter output, EvalResult result)
    {
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"accuracy {result.Accuracy:P1} on {Amount.Count(result.Items, "problem")}, {Amount.Count(result.Samples, "sample")} each at temperature {result.Temperature}"));
        foreach (var (k, value) in result.PassAtK.Skip(1))
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"pass@{k} {value:P1}"));
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Amount.Count(result.CompletionTokens, "token")} in {result.Seconds:F1} s ({result.CompletionTokens / result.Seconds:F0}/s)"));
        if (result is { Ipw: { } ipw, Ipj: { } ipj })
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"IPW {ipw:G3}/W, IPJ {ipj:G3}/J, {result.Seconds * 1000 / ((double)result.Items * result.Samples):F0} ms a sample"));
    }
}
