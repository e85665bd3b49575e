using System.Globalization;

namespace Ergon.Cli.Bench;

/// <summary>The results of one model, in llama-bench's columns and joules.</summary>
internal sealed record BenchReport(string Model, long SizeBytes, long Parameters, IReadOnlyList<string> Devices, string Engine, int Threads, string? EnergySource, IReadOnlyList<BenchResult> Results)
{
    /// <summary>One result in a line, for people who wait.</summary>
    public static string Line(BenchResult r) =>
        $"{r.Test}: {Text(r.Value, "F2")} {r.Unit}{(r.Baseline is null ? "" : $", libllama {Text(r.Baseline, "F2")}, ratio {Text(r.Ratio, "F3")}{Interval(r, " (", ")")}")}, {Amount.Count(r.Pairs, r.Baseline is null ? "run" : "pair")}";

    public void WriteCsv(TextWriter output)
    {
        output.WriteLine("model,test,value,unit,baseline,ratio,ratio_low,ratio_high,pairs,joules_per_token,energy_source");
        foreach (var r in Results)
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"\"{Model.Replace("\"", "\"\"", StringComparison.Ordinal)}\",{r.Test},{r.Value},{r.Unit},{r.Baseline},{r.Ratio},{r.RatioLow},{r.RatioHigh},{r.Pairs},{r.JoulesPerToken},{EnergySource}"));
    }

    public void WriteTable(TextWriter output, bool markdown)
    {
        var compares = Results.Any(r => r.Baseline is not null);
        string[] titles = ["model", "size", "params", "backend", "threads", "test", "value", $"J/token ({EnergySource ?? "no meter"})", .. compares ? ["libllama", "ratio", "95 % interval", "pairs"] : Array.Empty<string>()];
        string[][] rows = [.. Results.Select(Row)];
        if (!markdown)
        {
            Columns.Write(output, [titles, .. rows]);
            return;
        }
        foreach (var row in (string[][])[titles, [.. titles.Select(_ => "---")], .. rows])
            output.WriteLine($"| {string.Join(" | ", row)} |");

        string[] Row(BenchResult r) =>
        [
            Model, Amount.Bytes(SizeBytes), Amount.Scaled(Parameters).TrimEnd(), string.Join(", ", Devices), Text(Threads, "0"), r.Test, $"{Text(r.Value, "F2")} {r.Unit}", Text(r.JoulesPerToken, "G3"),
            .. compares ? [Text(r.Baseline, "F2"), Text(r.Ratio, "F3"), Interval(r, "", ""), Text(r.Pairs, "0")] : Array.Empty<string>(),
        ];
    }

    private static string Interval(BenchResult r, string before, string after) =>
        r.RatioLow is null ? "" : $"{before}{Text(r.RatioLow, "F3")} to {Text(r.RatioHigh, "F3")}{after}";

    private static string Text(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
}
