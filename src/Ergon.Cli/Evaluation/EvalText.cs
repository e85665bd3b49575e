using System.Globalization;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning.Tasks;

namespace Ergon.Cli.Evaluation;

/// <summary>An evaluation's figures for people.</summary>
internal static class EvalText
{
    public static void Write(TextWriter output, EvalResult r)
    {
        output.WriteLine(Text($"accuracy {r.Accuracy:P1} ({Interval(r.Intervals["accuracy"], "P1")}) of {Amount.Count(r.Items, "problem")} by {r.Policy}, {Amount.Count(r.Samples, "sample")} each at temperature {r.Temperature}{(r.Shots > 0 ? $", after {Amount.Count(r.Shots, "worked example")}" : "")}"));
        if (r.Skipped > 0)
            output.WriteLine(Text($"{Amount.Count(r.Skipped, "problem")} left out: the context has no room for an answer"));
        foreach (var (k, value) in r.PassAtK.Skip(r.Samples > 1 ? 0 : 1))
            output.WriteLine(Text($"pass@{k} {value:P1}{(r.Intervals.TryGetValue($"pass@{k}", out var i) ? $" ({Interval(i, "P1")})" : "")}"));
        foreach (var vote in r.Votes)
            output.WriteLine(Text($"vote of {vote.K}: accuracy {vote.Accuracy:P1}, {vote.Tokens:F0} tokens{(vote.Joules is { } j ? Text($" and {j:G3} J") : "")} a problem"));
        output.WriteLine(Text($"{Amount.Count(r.CompletionTokens, "token")} in {r.Seconds:F1} s ({r.CompletionTokens / r.Seconds:F0}/s)"));
        if (r is { Ipw: { } ipw, Ipj: { } ipj, Ece: { } ece })
            output.WriteLine(Text($"IPW {ipw:G3}/W, IPJ {ipj:G3}/J, ECE {ece:G3}/J{(r.Ppp is { } ppp ? Text($", PPP {ppp:G3}/(J $)") : "")}, {r.Joules / r.Items:G3} J and {r.Seconds * 1000 / r.Items:F0} ms a problem, {r.EnergySource}"));
        if (r.Policies.Count > 1)
            WriteTable(output, r.Policies);
        foreach (var c in r.Calibrations)
            output.WriteLine(Text($"confidence by {c.Confidence}: calibration error {100 * c.Error:F1} points (chance alone gives a perfect one {100 * c.Chance:F1})"));
        foreach (var law in r.Laws)
            output.WriteLine(Text($"{law.Law}: {law.Description}; fitted to half the draws it foretells the coverage of all with an error of {law.HeldOutError:+0.0;-0.0} points"));
    }

    /// <summary>A text's perplexity in the form of the other tasks.</summary>
    public static EvalResult Of(PerplexityResult measured, ErgonModel model, Receipt? receipt, double seconds) => new(
        DataSets.NameOf(TaskName.Perplexity), measured.Chunks, 1, "none", null, new Dictionary<string, double>(), measured.Tokens, 0, Receipts.Rounded(receipt?.Energy?.Value), receipt?.Source, Math.Round(seconds, 3),
        null, null, null, null, new Dictionary<string, double[]> { ["perplexity"] = [measured.Value - (1.96 * measured.StandardError), measured.Value + (1.96 * measured.StandardError)] },
        0, 0, 0, 0, 0, 0, model.Devices, EngineSettings.NameOf(model.Engine), receipt is null ? null : Receipts.Json(receipt), [], [], [], [],
        new PerplexityFigure(measured.Value, measured.StandardError, measured.Tokens, measured.Chunks));

    private static void WriteTable(TextWriter output, IReadOnlyList<PolicyFigures> policies)
    {
        List<string[]> rows = [["POLICY", "ACCURACY", "95 % INTERVAL", "DRAWS", "TOKENS", "JOULES", "IPJ"]];
        rows.AddRange(policies.Select(p => (string[])
            [p.Policy, Text($"{p.Accuracy:P1}"), Interval(p.AccuracyInterval, "P1"), Text($"{p.Draws:F2}"), Text($"{p.Tokens:F0}"), p.Joules is { } j ? Receipts.Figure(j) : "-", p.Ipj is { } ipj ? Receipts.Figure(ipj) : "-"]));
        Columns.Write(output, rows);
    }

    private static string Interval(double[] of, string format) => $"{of[0].ToString(format, CultureInfo.InvariantCulture)} to {of[1].ToString(format, CultureInfo.InvariantCulture)}";

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
