using System.Text.Json;
using System.Text.Json.Serialization;
using Ergon.Cost;
using Ergon.Models;

namespace Ergon.Cli.Bench;

/// <summary>What draws on a shared prompt ask of a machine, by kinds that each take their time; Ergon's own choice of kinds.</summary>
/// <param name="Passes">Of the model: each starts its kernels anew.</param>
/// <param name="Bytes">Of weights, keys and values that the passes read.</param>
/// <param name="Flops">Of passes of several rows.</param>
/// <param name="LoneFlops">Of passes of one row, whose kernels multiply a matrix by a vector.</param>
/// <param name="Logits">That tokens are sampled from, vocabulary times tokens.</param>
internal sealed record Work(double Passes, double Bytes, double Flops, double LoneFlops, double Logits)
{
    public static IReadOnlyList<string> Names { get; } = ["passes", "bytes", "FLOPs", "FLOPs of lone rows", "logits"];

    /// <summary>In the order of <see cref="Names"/>.</summary>
    [JsonIgnore]
    public double[] Kinds => [Passes, Bytes, Flops, LoneFlops, Logits];

    /// <summary>A prompt in one pass and its first token, then draws side by side that compute the prompt's last token anew.</summary>
    public static Work Of(ModelOutline model, Native.GgmlType cacheType, int prompt, int draws, int tokens)
    {
        var vocabulary = model.Weights.First(w => w.Role == WeightRole.Output).Rows;
        var work = new Work(0, 0, 0, 0, (1.0 + (draws * tokens)) * vocabulary);
        work = work.With(PassCost.Of(model, [SequencePass.Prefill(prompt)], cacheType), rows: prompt);
        for (var t = 0; t < tokens; t++)
            work = work.With(PassCost.Of(model, [.. Enumerable.Repeat(SequencePass.Decode(prompt - 1 + t), draws)], cacheType), rows: draws);
        return work;
    }

    private Work With(StageCost[] pass, int rows)
    {
        var flops = pass.Sum(s => s.Flops);
        return this with
        {
            Passes = Passes + 1, Bytes = Bytes + pass.Sum(s => s.WeightBytes + s.CacheRead),
            Flops = Flops + (rows > 1 ? flops : 0), LoneFlops = LoneFlops + (rows > 1 ? 0 : flops),
        };
    }
}

/// <summary>One measurement of <c>ergon dev laws</c>.</summary>
/// <param name="Model">Its file, without folder and ending.</param>
/// <param name="Parameters">Of it.</param>
/// <param name="Draws">Side by side.</param>
/// <param name="Tokens">Of each.</param>
/// <param name="Work">What that asks of the machine.</param>
/// <param name="Seconds">From the prompt to the last token.</param>
/// <param name="Joules"><see langword="null"/> where no meter worked.</param>
/// <param name="Source">Of the joules.</param>
internal sealed record LawPoint(string Model, double Parameters, int Draws, int Tokens, Work Work, double Seconds, double? Joules, string? Source)
{
    /// <summary>What a power law is in.</summary>
    public static IReadOnlyList<string> Names { get; } = ["parameters", "draws", "tokens"];

    /// <summary>The measurements of a file, a JSON object on each line.</summary>
    /// <exception cref="ErgonException">A line is none.</exception>
    public static List<LawPoint> Read(string path)
    {
        try
        {
            return [.. File.ReadLines(path).Where(l => l.Length > 0).Select(l => CliJson.Read<LawPoint>(l))];
        }
        catch (JsonException e)
        {
            throw new ErgonException($"'{path}' is no file of measurements: {e.Message} Measure anew into another file.", e);
        }
    }

    /// <summary>Replaces a file by the measurements.</summary>
    public static void Write(string path, IEnumerable<LawPoint> points) => File.WriteAllLines(path, points.Select(p => CliJson.Text(p)));
}
