using System.CommandLine;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon embed</c>: texts as vectors.</summary>
internal static class EmbedCommand
{
    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path or a pulled name: an embedding model, or with --pooling any other" };
        var texts = new Argument<string[]>("TEXT") { Description = "The texts; - reads them from stdin, one a line", Arity = ArgumentArity.ZeroOrMore };
        var file = Settings.Text("--file", "FILE", "Read the texts from a file, one a line");
        var pooling = Settings.Choice<Pooling>("--pooling", "How the vectors of a text's tokens become one [default: as the file says]");
        var noNormalize = new Option<bool>("--no-normalize") { Description = "Leave the vectors as the model gives them; otherwise their length is 1" };
        var truncate = new Option<bool>("--truncate") { Description = "Cut texts that are longer than the context; otherwise they are refused" };
        var json = Settings.Json();
        var engine = new EngineSettings();
        var receipts = new Receipts();
        var verb = new Verb("embed", "Turn texts into vectors, one a line",
            "ergon embed nomic-embed-text \"search_query: why is the sky blue?\"", "ergon embed bge-small.gguf --file sentences.txt --json", "ergon embed Llama-3.2-1B --pooling last \"The sky is blue.\"")
        { model, texts, file, pooling, noNormalize, truncate, json, engine.Context, engine.Threads, engine.Device };
        receipts.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var input = Texts(parsed.GetValue(texts)!, parsed.GetValue(file), terminal);
            var path = ModelStore.OfUser().Resolve(parsed.GetValue(model)!);
            var options = new EmbeddingOptions
            {
                Pooling = parsed.GetValue(pooling),
                Normalize = !parsed.GetValue(noNormalize),
                Truncate = parsed.GetValue(truncate),
                ContextLength = parsed.GetValue(engine.Context),
                Threads = parsed.GetValue(engine.Threads),
                Device = parsed.GetValue(engine.Device),
            };
            using var monitor = receipts.Monitor(parsed);
            using var status = Receipts.Status(monitor, terminal);
            using var loaded = monitor?.Load(() => EmbeddingModel.Load(path, options, cancellation)) ?? EmbeddingModel.Load(path, options, cancellation);
            terminal.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{Path.GetFileNameWithoutExtension(path)} on {string.Join(", ", loaded.Devices)}, {Amount.Count(loaded.Threads, "thread")}, context {loaded.ContextLength}, {loaded.Pooling.ToString().ToLowerInvariant()} pooling, loaded in {loaded.LoadTime.TotalMilliseconds:F0} ms"));
            int[][] tokens = [.. input.Select(loaded.Tokenize)];
            var (vectors, receipt) = monitor is null ? (await loaded.EmbedTokensAsync(tokens, cancellation), null) : await monitor.EmbedAsync(loaded, tokens, cancellation);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new EmbeddingList(vectors, loaded.Dimensions, tokens.Sum(t => t.Length), receipt is null ? null : Receipts.Json(receipt)));
            else
                Print(terminal.Out, vectors);
            if (receipt is not null)
                terminal.Error.WriteLine(Receipts.Line(receipt, tokens.Length, "text"));
            return Exit.Ok;
        });
    }

    private static void Print(TextWriter output, IReadOnlyList<float[]> vectors)
    {
        foreach (var vector in vectors)
            output.WriteLine(string.Join(' ', vector.Select(v => v.ToString(CultureInfo.InvariantCulture))));
    }

    private static string[] Texts(string[] given, string? file, Terminal terminal)
    {
        if (file is not null && given.Length > 0)
            throw new ErgonException("--file gives the texts, and so does the command line; leave one out.");
        var lines = file is not null ? TextInput.ReadFile(file, "--file") : given is ["-"] ? terminal.In.ReadToEnd() : null;
        string[] texts = lines is null ? given : lines.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return texts.Length > 0 ? texts : throw new ErgonException("there is no text; give texts in quotes, - to read them from stdin, or --file FILE.");
    }
}
