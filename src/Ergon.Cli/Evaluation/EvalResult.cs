using System.Globalization;
using Ergon.Cost;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Evaluation;
using Ergon.Reasoning.Scaling;
using Ergon.Reasoning.Selection;
using Ergon.Units;

namespace Ergon.Cli.Evaluation;

/// <summary>What <c>ergon eval</c> prints: docs/cli.md says what each figure is. Null is unknown, never 0.</summary>
internal sealed record EvalResult(
    string Task, int Items, int Samples, string Policy, double? Accuracy, IReadOnlyDictionary<string, double> PassAtK, long PromptTokens, long CompletionTokens,
    double? Joules, string? EnergySource, double Seconds, double? Ipw, double? Ipj, double? Ece, double? Ppp, IReadOnlyDictionary<string, double[]> Intervals,
    float Temperature, long Seed, int Shots, int Skipped, int BadLines, int VerifierFailures, IReadOnlyList<string> Devices, string Engine, EnergyFigures? Energy,
    IReadOnlyList<PolicyFigures> Policies, IReadOnlyList<VotePoint> Votes, IReadOnlyList<Calibration> Calibrations, IReadOnlyList<FittedLaw> Laws, PerplexityFigure? Perplexity);

/// <summary>What one policy makes of the draws. Of several, each is asked afterwards: draws, tokens and joules are those up to where it would have stopped.</summary>
internal sealed record PolicyFigures(
    string Policy, double Accuracy, double[] AccuracyInterval, double Draws, double Tokens, double? Joules, double[]? JoulesInterval, double? Ipw, double? Ipj, double[]? IpjInterval, double? Ece);

/// <summary>The majority vote of the first K draws of each problem.</summary>
/// <param name="K">How many.</param>
/// <param name="Accuracy">The share of problems that it gets right.</param>
/// <param name="Tokens">Of those draws, a problem.</param>
/// <param name="Joules">The same; <see langword="null"/> where that is unknown.</param>
internal sealed record VotePoint(int K, double Accuracy, double Tokens, double? Joules);

/// <summary>How often answers of a confidence are right.</summary>
/// <param name="Confidence">Which.</param>
/// <param name="Error">Mean distance of confidence and share of right answers over ten bins, weighted by their size.</param>
/// <param name="Chance">What that distance would be on average if every confidence were true.</param>
/// <param name="Bins">Those that are not empty.</param>
internal sealed record Calibration(string Confidence, double Error, double Chance, IReadOnlyList<CalibrationBin> Bins);

internal sealed record CalibrationBin(double Confidence, double Right, double[] RightInterval, int Count);

/// <summary>A law of coverage, fitted to all draws.</summary>
/// <param name="Law">Which.</param>
/// <param name="Parameters">As the law names them.</param>
/// <param name="Description">The same for people.</param>
/// <param name="Curve">Coverage that it gives, with 95 % intervals by bootstrap over problems.</param>
/// <param name="HeldOutError">Fitted to the first half of the draws: foretold less measured coverage of all, in points.</param>
internal sealed record FittedLaw(string Law, IReadOnlyList<double> Parameters, string Description, IReadOnlyList<CurvePoint> Curve, double HeldOutError);

internal sealed record CurvePoint(int K, double Value, double Low, double High);

/// <summary>Figures of an evaluation from its draws: pure, and the same for an evaluation that was interrupted.</summary>
internal sealed class EvalFigures(IReadOnlyList<EvaluatedProblem> problems, EvaluationSettings settings, IReadOnlyList<NamedPolicy> policies, bool isLive, double? price)
{
    private const int Seed = 1;
    private readonly double _seconds = Seconds(problems);

    /// <summary>What all draws took; <see langword="null"/> where nothing was metered.</summary>
    public Receipt? Receipt { get; } = Sum([.. problems.SelectMany(p => p.Draws)], Seconds(problems));

    private Watts? Power => Receipt?.Power;

    private bool IsComplete => problems.All(p => p.Draws.Count == p.Budget);

    /// <summary>All figures.</summary>
    public EvalResult Result(ErgonModel model, int skipped, int badLines, int verifierFailures)
    {
        PolicyOutcome[][] outcomes = [.. policies.Select(Outcomes)];
        PolicyFigures[] each = [.. policies.Zip(outcomes, Figures)];
        Dictionary<string, double[]> intervals = new() { ["accuracy"] = each[0].AccuracyInterval };
        int[] ks = [.. Ks()];
        if (ks.Length > 1)
        {
            // Problems that are drawn anew from none that is right, or none that is wrong, say nothing of the others.
            foreach (var (k, interval) in ks[..^1].Zip(Bootstrap.Intervals(problems.Count, drawn => [.. ks[..^1].Select(k => PassAt(drawn.Select(i => problems[i]), k))], seed: Seed)))
                intervals[$"pass@{k}"] = Rounded(PassAt(problems, k) switch { 0 => Proportion.Interval(0, problems.Count), 1 => Proportion.Interval(problems.Count, problems.Count), _ => interval });
        }
        // Of all draws it is a share of problems.
        intervals[$"pass@{ks[^1]}"] = Rounded(Proportion.Interval(problems.Count(p => p.Draws.Take(ks[^1]).Any(d => d.Right)), problems.Count));
        if (Power is { Value: > 0 } power)
            intervals["ipw"] = [.. each[0].AccuracyInterval.Select(a => Rounded(a / power.Value))];
        if (each[0].IpjInterval is { } ipj)
            intervals["ipj"] = ipj;
        if (each[0].JoulesInterval is { } joules)
            intervals["joules_per_problem"] = joules;
        var tokens = problems.Sum(p => p.Draws.Sum(d => (long)d.Tokens));
        return new EvalResult(
            settings.Task, problems.Count, settings.Samples, each[0].Policy, each[0].Accuracy, ks.ToDictionary(k => k.ToString(CultureInfo.InvariantCulture), k => Math.Round(PassAt(problems, k), 6)),
            problems.Sum(p => (long)p.Draws[0].PromptTokens), tokens, Receipts.Rounded(Receipt?.Energy?.Value), Receipt?.Source, Math.Round(_seconds, 3), each[0].Ipw, each[0].Ipj, each[0].Ece,
            Power is { } watts && price is { } dollars && _seconds > 0 ? Receipts.Rounded(Metrics.Ppp(tokens / _seconds, dollars, watts)) : null, intervals,
            settings.Temperature, (long)settings.Seed, settings.Shots ?? 0, skipped, badLines, verifierFailures, model.Devices, EngineSettings.NameOf(model.Engine), Receipt is null ? null : Receipts.Json(Receipt),
            each, [.. Votes()], [.. Calibrations(outcomes[0])], Laws(model), null);
    }

    // Accuracy at so many draws, and so at so many joules.
    private IEnumerable<VotePoint> Votes()
    {
        if (!IsComplete || settings.Samples < 2)
            yield break;
        foreach (var k in Ks())
        {
            PolicyOutcome[] votes = [.. problems.Select(p => p.First(k))];
            yield return new VotePoint(k, Math.Round(votes.Count(v => v.Right) / (double)votes.Length, 6), Rounded(votes.Average(v => v.Tokens)), votes.All(v => v.Joules is not null) ? Rounded(votes.Average(v => v.Joules!.Value)) : null);
        }
    }

    private PolicyOutcome[] Outcomes(NamedPolicy named) => [.. problems.Select(p => isLive ? p.Ended(named.Policy) : p.Replayed(named.Policy, named.AbandonsFalse))];

    private PolicyFigures Figures(NamedPolicy named, PolicyOutcome[] outcomes)
    {
        var right = outcomes.Count(o => o.Right);
        var accuracy = right / (double)outcomes.Length;
        var (low, high) = Proportion.Interval(right, outcomes.Length);
        double? joules = outcomes.All(o => o.Joules is not null) ? outcomes.Average(o => o.Joules!.Value) : null;
        var intervals = joules is not > 0 ? null : Bootstrap.Intervals(outcomes.Length, drawn => [drawn.Average(i => outcomes[i].Joules!.Value), drawn.Count(i => outcomes[i].Right) / drawn.Sum(i => outcomes[i].Joules!.Value)], seed: Seed);
        // As for pass@k.
        if (intervals is not null && (right == 0 || right == outcomes.Length))
            intervals[1] = (low / joules!.Value, high / joules.Value);
        // Coverage of the draws that the policy saw, over what they took.
        var covered = problems.Zip(outcomes, (p, o) => p.Draws.Take(o.Draws).Any(d => d.Right && !(named.AbandonsFalse && d.FalseAt is not null))).Count(c => c) / (double)outcomes.Length;
        return new PolicyFigures(named.Name, Math.Round(accuracy, 6), [Rounded(low), Rounded(high)], Rounded(outcomes.Average(o => o.Draws)), Rounded(outcomes.Average(o => o.Tokens)),
            Receipts.Rounded(joules), intervals is null ? null : Rounded(intervals[0]),
            Receipts.Rounded(Power is { } power ? Metrics.Ipw(accuracy, power) : null), Receipts.Rounded(joules is { } j ? Metrics.Ipj(accuracy, new Joules(j)) : null),
            intervals is null ? null : Rounded(intervals[1]), Receipts.Rounded(joules is { } e ? Metrics.Ece(covered, new Joules(e)) : null));
    }

    // Where a policy ended problems early, only the draws that all of them have say something about k draws.
    private IEnumerable<int> Ks()
    {
        var most = problems.Min(p => p.Draws.Count);
        for (var k = 1; k < most; k *= 2)
            yield return k;
        yield return most;
    }

    private double PassAt(IEnumerable<EvaluatedProblem> of, int k)
    {
        var draws = problems.Min(p => p.Draws.Count);
        return of.Average(p => PassAtK.Estimate(draws, p.Draws.Take(draws).Count(d => d.Right), k));
    }

    // Confidence in the first policy's answers, and in those of a selector that never saw the half that it judges.
    private IEnumerable<Calibration> Calibrations(PolicyOutcome[] outcomes)
    {
        if (settings.Scores)
            yield return Calibrated("share of the likelihood", [.. problems.Select(p => (p.Draws[0].Share!.Value, p.Draws[0].Right))]);
        if (settings.Samples < 2)
            yield break;
        (double Confidence, bool Right)[] votes = [.. outcomes.Where(o => o.Answer is not null).Select(o => (o.Confidence, o.Right))];
        if (votes.Length > 0)
            yield return Calibrated("share of the votes", votes);
        if (IsComplete && problems.Count >= 20 && problems.All(p => p.Gold is not null) && Crossed() is { Length: > 0 } selected)
            yield return Calibrated("ARDE across halves", selected);
    }

    private (double Confidence, bool Right)[] Crossed()
    {
        List<(double, bool)> all = [];
        for (var half = 0; half < 2; half++)
        {
            try
            {
                var selector = Arde.Fit(problems.Where((_, i) => i % 2 != half).Select(p => (p.After(p.Budget), p.Gold!))).Selector;
                foreach (var p in problems.Where((_, i) => i % 2 == half))
                {
                    if (selector.Choose(p.After(p.Budget)) is { } chosen)
                        all.Add((chosen.Probability, chosen.Answer == p.Gold));
                }
            }
            catch (ErgonException)
            {
                // No draw of that half has an answer.
            }
        }
        return [.. all];
    }

    private static Calibration Calibrated(string name, (double Confidence, bool Right)[] of) => new(name,
        Rounded(LogisticModel.CalibrationError([.. of.Select(o => o.Confidence)], [.. of.Select(o => o.Right)])),
        Rounded(LogisticModel.ChanceError([.. of.Select(o => o.Confidence)])),
        [
            .. of.GroupBy(o => Math.Clamp((int)(o.Confidence * 10), 0, 9)).OrderBy(g => g.Key).Select(g =>
            {
                var right = g.Count(o => o.Right);
                var (low, high) = Proportion.Interval(right, g.Count());
                return new CalibrationBin(Rounded(g.Average(o => o.Confidence)), Rounded(right / (double)g.Count()), [Rounded(low), Rounded(high)], g.Count());
            }),
        ]);

    private List<FittedLaw> Laws(ErgonModel model)
    {
        var first = PassAt(problems, 1);
        // A law of what never or always happens says nothing.
        if (!IsComplete || settings.Samples < 4 || problems.Count < 10 || first is 0 or 1)
            return [];
        var run = new SampledRun(model.Description.ParameterCount, Math.Max(1, problems.Average(p => p.Draws.Average(d => d.Tokens))), [.. problems.Select(p => (bool[])[.. p.Draws.Select(d => d.Right)])]);
        int[] ks = [.. Enumerable.Range(0, 31).Select(i => 1 << i).TakeWhile(k => k <= 4 * settings.Samples)];
        List<FittedLaw> laws = [];
        foreach (var law in Enum.GetValues<CoverageLaw>())
        {
            try
            {
                double[] Curve(SampledRun r) => [.. Fit(r, settings.Samples) is var fit ? ks.Select(k => fit.At(r.Parameters, k, r.Tokens)) : []];
                CoverageFit Fit(SampledRun r, int draws) => CoverageFit.Fit(law, [r], draws);
                var (whole, curve) = (Fit(run, settings.Samples), Curve(run));
                var intervals = Bootstrap.Intervals(problems.Count, drawn => Curve(run with { Tasks = [.. drawn.Select(i => run.Tasks[i])] }), replicates: 200, seed: Seed);
                var foretold = Fit(run, settings.Samples / 2).At(run.Parameters, settings.Samples, run.Tokens);
                laws.Add(new FittedLaw(law.ToString(), [.. whole.Parameters.Select(Rounded)], whole.Description, [.. ks.Select((k, i) => new CurvePoint(k, Rounded(curve[i]), Rounded(intervals[i].Low), Rounded(intervals[i].High)))],
                    Rounded(100 * (foretold - run.Coverage(settings.Samples, settings.Samples)))));
            }
            catch (ErgonException)
            {
                // These draws do not determine it.
            }
        }
        return laws;
    }

    // To the last draw: work between interruptions is in it, time between them is not.
    private static double Seconds(IReadOnlyList<EvaluatedProblem> problems) => problems.Max(p => p.Draws.Max(d => d.At));

    /// <summary>What lines of a journal took together; <see langword="null"/> where nothing was metered.</summary>
    /// <param name="draws">The lines.</param>
    /// <param name="seconds">That the evaluation worked.</param>
    public static Receipt? Sum(IReadOnlyList<EvaluatedDraw> draws, double seconds)
    {
        DrawEnergy[] parts = [.. draws.Select(d => d.Energy).OfType<DrawEnergy>()];
        if (parts.Length == 0)
            return null;
        Joules? Of(Func<DrawEnergy, double?> figure) => parts.Length == draws.Count && parts.All(p => figure(p) is not null) ? new Joules(parts.Sum(p => figure(p)!.Value)) : null;
        string[] sources = [.. parts.Select(p => p.Source).OfType<string>().Distinct()];
        return new Receipt(Of(p => p.Joules), Of(p => p.Prefill), Of(p => p.Decode), Of(p => p.Idle), TimeSpan.FromSeconds(seconds), (int)Math.Min(int.MaxValue, draws.Sum(d => (long)d.Tokens)),
            sources.Length == 0 ? null : string.Join('+', sources), parts.Max(p => p.Quality),
            parts.Length < draws.Count ? "a part of the draws was not metered" : parts.FirstOrDefault(p => p.Joules is null)?.Reason ?? parts[^1].Reason);
    }

    private static double[] Rounded((double Low, double High) interval) => [Rounded(interval.Low), Rounded(interval.High)];

    private static double Rounded(double value) => Receipts.Rounded(value)!.Value;
}
