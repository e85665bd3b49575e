using System.Text.Json;
using Ergon.Cli.Evaluation;
using Ergon.Inference;
using Ergon.Reasoning.Evaluation;
using Ergon.Tests.Reasoning;

namespace Ergon.Tests.Cli;

/// <summary>Figures of draws that were made up, against sums done by hand.</summary>
public sealed class EvalFiguresTests
{
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static EvalResult Of(EvaluatedProblem[] problems, string policies, bool isLive = false, double? price = null)
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { Threads = 1, ContextLength = 64 });
        var settings = EvaluationJournalTests.Settings() with { Items = problems.Length, Samples = problems[0].Budget };
        return new EvalFigures(problems, settings, NamedPolicy.Parse(policies, 0.05, null, hasVerifier: false), isLive, price).Result(model, 0, 0, 0);
    }

    // Problem 0: right, right, wrong, right; problem 1: wrong, wrong, right (clean), wrong. 2 J and 5 tokens a draw, 16 s in all.
    private static EvaluatedProblem[] Two(double? joules = 2)
    {
        EvaluatedDraw Made(int item, int i, bool right, double evidence) => EvaluationJournalTests.Draw(item, i, right ? "4" : "5", right, 5, joules, at: (4 * item * 2) + (2 * i) + 2, evidence: evidence);
        return
        [
            new("4", 4, [Made(0, 0, true, 1), Made(0, 1, true, 1), Made(0, 2, false, 0), Made(0, 3, true, 1)]),
            new("4", 4, [Made(1, 0, false, 0), Made(1, 1, false, 0.5), Made(1, 2, true, 1), Made(1, 3, false, 0)]),
        ];
    }

    [Fact]
    public void Figures_are_those_that_the_definitions_give()
    {
        var r = Of(Two(), "majority,first-clean", price: 100);
        // The vote is right on problem 0 alone; 16 J in 16 s are 1 W.
        Assert.Equal(("majority", 0.5, 16.0, 16.0, 40L, 6L), (r.Policy, r.Accuracy, r.Joules, r.Seconds, r.CompletionTokens, r.PromptTokens));
        Assert.Equal("measured:rapl", r.EnergySource);
        Assert.Equal(0.5, r.Ipw);
        Assert.Equal(0.5 / 8, r.Ipj);
        Assert.Equal(1.0 / 8, r.Ece);
        Assert.Equal(40 / 16.0 / (100 * 1), r.Ppp);
        // 4 right draws of 8; of two draws at least one is right: always for problem 0, which has one wrong draw, and for 1 with the odds 1 - C(3,2)/C(4,2).
        Assert.Equal(["1", "2", "4"], r.PassAtK.Keys);
        Assert.Equal(0.5, r.PassAtK["1"]);
        Assert.Equal((1 + 0.5) / 2, r.PassAtK["2"]);
        Assert.Equal(1, r.PassAtK["4"]);
        // Wilson's interval of 1 of 2, and of 2 of 2.
        Assert.Equal([0.0945312, 0.905469], r.Intervals["accuracy"].Select(x => Math.Round(x, 7)).Select(x => double.Parse(x.ToString("G6", System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture)));
        Assert.Equal(1, r.Intervals["pass@4"][1]);
        Assert.Equal(0.342380, r.Intervals["pass@4"][0], 6);
        // Votes of 1, 2 and 4 draws: the first is right on problem 0, and stays so.
        Assert.Equal([new VotePoint(1, 0.5, 5, 2), new VotePoint(2, 0.5, 10, 4), new VotePoint(4, 0.5, 20, 8)], r.Votes);
        // First-clean stops after 1 and 3 draws and is right on both: 4 draws, 8 J.
        var clean = r.Policies[1];
        Assert.Equal(("first-clean", 1.0, 2.0, 10.0, 4.0), (clean.Policy, clean.Accuracy, clean.Draws, clean.Tokens, clean.Joules));
        Assert.Equal((1.0, 1 / 4.0, 1 / 4.0), (clean.Ipw, clean.Ipj, clean.Ece));
        // The vote is 3/4 sure of both, and right on one.
        var bin = Assert.Single(Assert.Single(r.Calibrations).Bins);
        Assert.Equal((0.75, 0.5, 2), (bin.Confidence, bin.Right, bin.Count));
        Assert.Equal(0.25, r.Calibrations[0].Error);
    }

    [Fact]
    public void Unknown_joules_are_null_and_never_zero()
    {
        var r = Of(Two(joules: null), "majority");
        Assert.Equal((null, null, null, null, null), (r.Joules, r.EnergySource, r.Ipw, r.Ipj, r.Ece));
        Assert.Equal(0.5, r.Accuracy);
        Assert.DoesNotContain("ipj", r.Intervals.Keys);
        // One draw without a figure makes the sum unknown.
        var part = Two();
        part[1] = part[1] with { Draws = [.. part[1].Draws.Take(3), part[1].Draws[3] with { Energy = new DrawEnergy(null, null, null, null, null, "measured:rapl", null, "the meter was gone") }] };
        r = Of(part, "majority");
        Assert.Equal((null, null, "measured:rapl"), (r.Joules, r.Ipj, r.EnergySource));
        Assert.Equal("the meter was gone", r.Energy!.Reason);
    }

    [Fact]
    public void Where_a_policy_ended_problems_only_draws_that_all_have_say_something_of_coverage()
    {
        var two = Two();
        EvaluatedProblem[] ended = [two[0] with { Draws = [two[0].Draws[0]] }, two[1] with { Draws = [.. two[1].Draws.Take(3)] }];
        var r = Of(ended, "first-clean", isLive: true);
        Assert.Equal(["1"], r.PassAtK.Keys);
        Assert.Equal(0.5, r.PassAtK["1"]);
        Assert.Equal((1.0, 2.0, 4.0), (r.Accuracy, r.Policies[0].Draws, r.Policies[0].Joules));
        Assert.Empty(r.Laws);
        Assert.Empty(r.Votes);
    }

    [Fact]
    public void Laws_and_a_selector_are_fitted_where_there_is_enough_to_fit()
    {
        var random = new Random(3);
        // Draws that repeat only by chance: 40 problems, half of them often right.
        EvaluatedProblem[] problems = [.. Enumerable.Range(0, 40).Select(i => new EvaluatedProblem("4", 8, [.. Enumerable.Range(0, 8).Select(j =>
        {
            var right = random.NextDouble() < (i % 2 == 0 ? 0.7 : 0.1);
            return EvaluationJournalTests.Draw(i, j, right ? "4" : random.Next(5, 9).ToString(System.Globalization.CultureInfo.InvariantCulture), right, at: 1 + i + (j / 8.0), evidence: right ? 1 : 0.5);
        })]))];
        var r = Of(problems, "all");
        Assert.Equal(["Qeil", "Brown", "BetaBinomial", "Mixture"], r.Laws.Select(l => l.Law));
        Assert.All(r.Laws, law =>
        {
            Assert.Equal([1, 2, 4, 8, 16, 32], law.Curve.Select(p => p.K));
            Assert.All(law.Curve, p => Assert.InRange(p.Value, p.Low - 0.05, p.High + 0.05));
            Assert.Equal(r.PassAtK["8"], law.Curve[3].Value, 0.08);
        });
        Assert.Equal(["share of the votes", "ARDE across halves"], r.Calibrations.Select(c => c.Confidence));
        Assert.All(r.Calibrations, c => Assert.Equal(40, c.Bins.Sum(b => b.Count)));
    }

    [Fact]
    public void The_page_holds_all_it_needs_and_what_models_write_cannot_end_its_scripts()
    {
        var settings = EvaluationJournalTests.Settings();
        var page = EvalReport.Page(new ReportData(Of(Two(), "majority,first-clean"), "</script><b>m</b>", settings, false, "<x>.jsonl"));
        Assert.DoesNotContain("<b>m", page, StringComparison.Ordinal);
        Assert.Contains("default-src 'none'", page, StringComparison.Ordinal);
        Assert.DoesNotContain(" src=", page, StringComparison.Ordinal);
        Assert.DoesNotContain("sourceMappingURL", page, StringComparison.Ordinal);
        Assert.DoesNotContain("{{", page[..page.IndexOf("Chart.js", StringComparison.Ordinal)], StringComparison.Ordinal);
        var start = page.IndexOf("id=\"data\">", StringComparison.Ordinal) + 10;
        using var json = JsonDocument.Parse(page[start..page.IndexOf("</script>", start, StringComparison.Ordinal)]);
        Assert.Equal("</script><b>m</b>", json.RootElement.GetProperty("model").GetString());
        Assert.Equal(2, json.RootElement.GetProperty("result").GetProperty("policies").GetArrayLength());
    }
}
