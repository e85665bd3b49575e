using System.CommandLine;
using Ergon.Inference;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev libllama-trial</c>: the other side of <see cref="LibllamaTrial"/>.</summary>
internal static class TrialCommand
{
    private const string Name = "libllama-trial";

    /// <summary>What <see cref="ModelOptions.TrialCommand"/> is here.</summary>
    public static string[] Line() => [.. Self.Command(), "dev", Name];

    public static Verb Create()
    {
        var model = new Argument<string>("MODEL") { Description = "A path" };
        var context = new Argument<int>("POSITIONS") { Description = "Positions of all sequences together" };
        var sequences = new Argument<int>("SEQUENCES") { Description = "Sequences at once" };
        var type = new Argument<KvCacheType>("KV-TYPE") { Description = "How keys and values are stored" };
        var threads = new Argument<int>("THREADS") { Description = "CPU threads" };
        return new Verb(Name, "Load a model with libllama, run two passes and end", "ergon dev libllama-trial model.gguf 512 1 F16 2")
        { model, context, sequences, type, threads }.Does(parsed =>
        {
            new LibllamaTrial(parsed.GetValue(model)!, parsed.GetValue(context), parsed.GetValue(sequences), parsed.GetValue(type), parsed.GetValue(threads)).Do();
            return Exit.Ok;
        });
    }
}
