using System.CommandLine;
using System.Globalization;
using Ergon.Models;
using Ergon.Models.Gguf;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev random-model</c>: a model of random weights in a real one's shape, for measurements of speed and memory.</summary>
internal static class RandomModelCommand
{
    public static Verb Create(Terminal terminal)
    {
        var output = new Argument<string>("OUT.gguf") { Description = "The file to write" };
        var like = Settings.Text("--like", "NAME", $"The shape: {string.Join(", ", ModelShape.All.Select(s => s.Name))}");
        var type = Settings.Text("--type", "TYPE", $"The types of the weights: {string.Join(", ", QuantizationMix.All.Select(m => m.Name))} [default: q4_0]");
        var layers = Settings.Whole("--layers", null, "Layers [default: the shape's]", 1, 1024);
        var vocabulary = Settings.Text("--vocab-from", "FILE", "Copy the vocabulary of a GGUF file [default: bytes and fillers]");
        var seed = Settings.Whole("--seed", "-s", "The same seed gives the same file [default: 1]", 0);
        like.Required = true;
        return new Verb("random-model", "Write a model of random weights in the shape of a real one",
            "ergon dev random-model 1b.gguf --like llama-3.2-1b --type q4_k_m", "ergon dev random-model small.gguf --like qwen2.5-0.5b --type q8_0 --layers 2 --vocab-from qwen.gguf")
        { output, like, type, layers, vocabulary, seed }.Does((parsed, cancellation) =>
        {
            var shape = Named(ModelShape.All, s => s.Name, "--like", parsed.GetValue(like)!);
            var model = new RandomModelFile(
                shape with { Layers = parsed.GetValue(layers) ?? shape.Layers }, Named(QuantizationMix.All, m => m.Name, "--type", parsed.GetValue(type) ?? "q4_0"), parsed.GetValue(seed) ?? 1)
            { VocabularyFrom = parsed.GetValue(vocabulary) is { } file ? GgufFile.OpenContainer(file) : null };
            var path = parsed.GetValue(output)!;
            try
            {
                model.Write(path, new Immediate<double>(done => terminal.Status(string.Create(CultureInfo.InvariantCulture, $"{done:P0}"), isLast: done == 1)), cancellation);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new ErgonException($"'{path}' cannot be written ({e.Message.TrimEnd('.')}); name another file.", e);
            }
            terminal.Out.WriteLine($"{path}: {Amount.Bytes(new FileInfo(path).Length)}");
            return Task.FromResult(Exit.Ok);
        });
    }

    private static T Named<T>(IReadOnlyList<T> all, Func<T, string> name, string option, string value) =>
        all.FirstOrDefault(x => name(x).Equals(value, StringComparison.OrdinalIgnoreCase))
        ?? throw new ErgonException($"{option} is '{value}', but must be one of {string.Join(", ", all.Select(name))}.");
}
