using System.CommandLine;
using System.Globalization;
using Ergon.Inference;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon perplexity</c>: how well a model predicts a text.</summary>
internal static class PerplexityCommand
{
    private const int DefaultContext = 512;

    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path, a pulled or an embedded name" };
        var file = new Argument<string>("FILE") { Description = "The text" };
        var json = Settings.Json();
        var engine = new EngineSettings();
        var verb = new Verb("perplexity", "Measure how well a model predicts a text, in chunks of --ctx tokens (default 512) as llama-perplexity does",
            "ergon perplexity model.gguf wiki.test.raw", "ergon perplexity model.gguf book.txt --ctx 2048 --json")
        { model, file, json };
        engine.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var text = TextInput.ReadFile(parsed.GetValue(file)!, "FILE");
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), sessions: 1, DefaultContext, cancellation);
            var context = loaded.ContextLength;
            if (context > loaded.Description.TrainingContext)
                terminal.Error.WriteLine($"Warning: --ctx {context} is above the {loaded.Description.TrainingContext} positions that the model was trained on; perplexity rises there.");
            var result = await Perplexity.MeasureAsync(loaded, text, new Immediate<(PerplexityResult SoFar, int Chunks)>(p => Report(terminal, p, parsed.GetValue(json))), cancellation);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new PerplexityFigure(result.Value, result.StandardError, result.Tokens, result.Chunks));
            else
                terminal.Out.WriteLine(Line(result));
            return Exit.Ok;
        });
    }

    /// <summary>The result for people.</summary>
    public static string Line(PerplexityResult result) => string.Create(CultureInfo.InvariantCulture,
        $"perplexity {result.Value:F4} +/- {result.StandardError:F4} over {Amount.Count(result.Tokens, "token")} in {Amount.Count(result.Chunks, "chunk")}");

    /// <summary>How far it is; nothing where the result is JSON.</summary>
    public static void Report(Terminal terminal, (PerplexityResult SoFar, int Chunks) p, bool isSilent)
    {
        if (!isSilent)
            terminal.Status(string.Create(CultureInfo.InvariantCulture, $"{p.SoFar.Chunks} of {Amount.Count(p.Chunks, "chunk")}: {p.SoFar.Value:F4}"), p.SoFar.Chunks == p.Chunks);
    }
}
