using Ergon.Cli;
using Ergon.Cli.Bench;
using Ergon.Cost;
using Ergon.Models;
using Ergon.Reasoning.Evaluation;
using Ergon.Tests.Reasoning;

namespace Ergon.Tests.Cli;

public sealed class LawsBenchTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static readonly string[] Shapes = ["gpt2", "granite-4.0-350m", "qwen2.5-0.5b", "llama-3.2-1b", "lfm2-2.6b"];

    // A machine that takes 2 ms for a pass, reads 10 GB/s, multiplies 40 GFLOP/s, and samples 100 M logits a second, idle at 5 W and at 20 W when busy.
    private static LawPoint Point(string shape, int draws, int tokens)
    {
        var outline = PublishedModel.Named(shape).Outline(QuantizationMix.All.First(m => m.Name == "q4_0"));
        var work = Work.Of(outline, Ergon.Native.GgmlType.F16, 32, draws, tokens);
        var seconds = (2e-3 * work.Passes) + (work.Bytes / 1e10) + ((work.Flops + work.LoneFlops) / 4e10) + (work.Logits / 1e8);
        return new LawPoint(shape, outline.WeightBytes * 2, draws, tokens, work, seconds, 20 * seconds, "modelled:test");
    }

    private static List<LawPoint> Points() => [.. from shape in Shapes from tokens in new[] { 8, 16, 32 } from draws in new[] { 1, 2, 4, 8, 16 } select Point(shape, draws, tokens)];

    [Fact]
    public async Task Kept_measurements_are_fitted_again_and_the_sum_of_work_holds_where_the_power_law_fails()
    {
        var path = _folder.File("points.jsonl");
        LawPoint.Write(path, Points());
        var (exit, text, _) = await RunAsync("dev", "laws", "--points", path);
        Assert.Equal(Exit.Ok, exit);
        Assert.Contains("sum of work: seconds = 0.002 (0.002 to 0.002) x passes + 1E-10 (1E-10 to 1E-10) x bytes", text, StringComparison.Ordinal);
        Assert.Contains("joules", text, StringComparison.Ordinal);
        Assert.Contains("modelled:test", text, StringComparison.Ordinal);
        string[] Rows(string law) => [.. text.Split('\n').Where(l => l.StartsWith("one of the", StringComparison.Ordinal) && l.Contains(law, StringComparison.Ordinal))];
        Assert.Equal(6, Rows("sum of work").Length);
        Assert.All(Rows("sum of work"), row => Assert.Contains(" 0.0 %", row, StringComparison.Ordinal));
        Assert.All(Rows("power law"), row => Assert.DoesNotContain(" 0.0 %", row, StringComparison.Ordinal));
    }

    [Fact]
    public void Measurements_are_read_as_they_were_written()
    {
        var path = _folder.File("points.jsonl");
        List<LawPoint> points = [Point("gpt2", 4, 8), Point("lfm2-2.6b", 1, 8) with { Joules = null, Source = null }];
        LawPoint.Write(path, points);
        Assert.Equal(points, LawPoint.Read(path));
        File.AppendAllText(path, "{\"model\":");
        Assert.Contains("Measure anew", Assert.Throws<ErgonException>(() => LawPoint.Read(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_to_measure_or_to_fit_is_refused_with_what_to_name()
    {
        Assert.Contains("name MODEL files", (await RunAsync("dev", "laws")).Error, StringComparison.Ordinal);
        var (exit, _, error) = await RunAsync("dev", "laws", "--points", _folder.File("none.jsonl"));
        Assert.Equal(2, exit);
        Assert.Contains("--points is '", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Laws_of_coverage_are_compared_on_the_draws_of_a_journal()
    {
        var path = _folder.File("half.jsonl");
        var random = new Random(1);
        // Half of the problems by a third of the draws, the others by none, of which one has a draw less: it is left out.
        using (var journal = EvaluationJournal.Open(path, EvaluationJournalTests.Settings() with { Items = 200, Samples = 16 }))
        {
            foreach (var (item, sample) in from item in Enumerable.Range(0, 200) from sample in Enumerable.Range(0, item == 7 ? 15 : 16) select (item, sample))
                journal.Add(EvaluationJournalTests.Draw(item, sample, right: item % 2 == 0 && random.Next(3) == 0));
        }
        var (exit, text, _) = await RunAsync("dev", "coverage", path);
        Assert.Equal(Exit.Ok, exit);
        var row = text.Split('\n').Single(l => l.Contains("curve to 8", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(("half", "16"), (row[0], row[4]));
        // 100 of 199, less those of a third to the sixteenth.
        Assert.InRange(double.Parse(row[5], System.Globalization.CultureInfo.InvariantCulture), 49.5, 50.5);
        Assert.InRange(double.Parse(row[^1], System.Globalization.CultureInfo.InvariantCulture), -2, 2);
        using (EvaluationJournal.Open(_folder.File("live.jsonl"), EvaluationJournalTests.Settings() with { Samples = 16, Policy = "cascade" }))
        {
        }
        Assert.Contains("the policy cascade left", (await RunAsync("dev", "coverage", _folder.File("live.jsonl"))).Error, StringComparison.Ordinal);
        File.WriteAllText(path, "{}\n{}\n");
        Assert.Contains("no journal of 'ergon eval'", (await RunAsync("dev", "coverage", path)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Draws_side_by_side_share_passes_and_weights_but_not_arithmetic_and_logits()
    {
        var (one, sixteen) = (Point("gpt2", 1, 8).Work, Point("gpt2", 16, 8).Work);
        Assert.Equal((9.0, 9.0), (one.Passes, sixteen.Passes));
        Assert.Equal(50257.0 * 9, one.Logits);
        Assert.Equal(50257.0 * 129, sixteen.Logits);
        // The prompt's pass has many rows in both; sixteen read a cache each beside the weights.
        Assert.Equal(sixteen.Flops - one.Flops, 16 * one.LoneFlops, 0.001 * sixteen.Flops);
        Assert.Equal(0, sixteen.LoneFlops);
        Assert.InRange(sixteen.Bytes / one.Bytes, 1, 1.5);
    }

    private static async Task<(int Exit, string Output, string Error)> RunAsync(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        using var terminal = new Terminal(TextReader.Null, output, error);
        return (await CommandLine.RunAsync(arguments, terminal), output.ToString(), error.ToString());
    }

    public void Dispose() => _folder.Dispose();
}
