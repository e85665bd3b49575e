using System.Text.Json;
using System.Text.Json.Serialization;
using Ergon.Reasoning.Stopping;

namespace Ergon.Reasoning.Selection;

/// <summary>
/// ARDE, adaptive ranking of the draws' evidence: each answer's probability to be right from how many draws agree on it, how likely the model
/// found it, and what checks of its draws say; the likeliest wins, the one seen first of equals. Ergon's own definition.
/// </summary>
/// <param name="model">Fitted on logged outcomes, with <see cref="Features"/>.</param>
internal sealed class Arde(LogisticModel model)
{
    /// <summary>
    /// Of an answer: its share of the draws; the highest mean log-probability a token among its draws; whether there is one; the mean share of
    /// steps that hold less 1/2, 0 without steps; +1, 0 or -1 as a draw was verified, none was judged, or all judged ones failed.
    /// </summary>
    public static IReadOnlyList<string> Features { get; } = ["agreement", "log-probability", "has log-probability", "evidence", "verdict"];

    /// <summary>The features of each answer of a tally, in its order.</summary>
    public static double[][] Rows(Tally tally) =>
    [
        .. tally.Answers.Select((answer, i) =>
        {
            Draw[] draws = [.. tally.Draws.Where(d => d.Answer == answer)];
            var likeliest = draws.Max(d => d.LogProbability);
            return (double[])
            [
                tally.Votes[i] / (double)tally.Draws.Count, likeliest ?? 0, likeliest is null ? 0 : 1, draws.Average(d => d.Evidence) is { } e ? e - 0.5 : 0,
                draws.Any(d => d.Verified == true) ? 1 : draws.Any(d => d.Verified == false) ? -1 : 0,
            ];
        }),
    ];

    /// <summary>Fits a selector on tallies whose right answers are known.</summary>
    /// <param name="logged">Each with its right answer in canonical form.</param>
    /// <param name="ridge">As for <see cref="LogisticModel.Fit"/>.</param>
    /// <returns>The selector, and its calibration error on these tallies; report that of others.</returns>
    /// <exception cref="ErgonException">No tally has an answer.</exception>
    public static (Arde Selector, double CalibrationError) Fit(IEnumerable<(Tally Tally, string Gold)> logged, double ridge = 1)
    {
        List<double[]> rows = [];
        List<bool> right = [];
        foreach (var (tally, gold) in logged)
        {
            rows.AddRange(Rows(tally));
            right.AddRange(tally.Answers.Select(a => a == gold));
        }
        var fitted = LogisticModel.Fit(Features, rows, right, ridge);
        return (new Arde(fitted), LogisticModel.CalibrationError([.. rows.Select(r => fitted.Probability(r))], right));
    }

    /// <summary>The answer most likely to be right, with that probability; <see langword="null"/> where there is none.</summary>
    public (string Answer, double Probability)? Choose(Tally tally)
    {
        var rows = Rows(tally);
        return rows.Length == 0 ? null : Enumerable.Range(0, rows.Length).Select(i => (tally.Answers[i], model.Probability(rows[i]))).MaxBy(x => x.Item2);
    }

    /// <summary>The model as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(model, ArdeJson.Default.LogisticModel);

    /// <summary>Reads what <see cref="ToJson"/> wrote.</summary>
    /// <exception cref="ErgonException">Another version's features, or no such JSON.</exception>
    public static Arde FromJson(string json)
    {
        try
        {
            if (JsonSerializer.Deserialize(json, ArdeJson.Default.LogisticModel) is { Features: { } names, Coefficients: { } coefficients } model
                && names.SequenceEqual(Features) && coefficients.Count == names.Count && double.IsFinite(model.Intercept) && coefficients.All(double.IsFinite))
                return new Arde(model);
        }
        catch (JsonException e)
        {
            throw new ErgonException($"The selector is not JSON of Ergon's: {e.Message.TrimEnd('.')}; fit it again.", e);
        }
        throw new ErgonException($"The selector's features are not {string.Join(", ", Features)}; fit it again.");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(LogisticModel))]
internal sealed partial class ArdeJson : JsonSerializerContext;
