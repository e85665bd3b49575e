using Ergon.Reasoning.Entropies;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Verifiers;

namespace Ergon.Reasoning.Selection;

/// <summary>
/// ARDE, adaptive ranking of the draws' evidence: each answer's probability to be right from how many draws agree on it, how the others scatter, how
/// likely the model found it, what checks of its steps say, and what a verifier model thinks of it; the likeliest wins, the one seen first of equals. A true verifier's word is final:
/// 1 for what it passed, 0 for what it failed. Ergon's own definition.
/// </summary>
/// <param name="model">Fitted on logged outcomes, with <see cref="Features"/>; those that it lacks, because it was fitted before there were any, count for nothing.</param>
/// <param name="typicalLogProbability">Taken where a draw has none.</param>
/// <param name="learned">What it has learned of the model's features since, online; <see langword="null"/> for nothing.</param>
/// <param name="typicalScore">The log-odds of a verifier model's score that count as nothing; <see langword="null"/>: the mean of the tally's own, so that scores only rank its answers.</param>
/// <param name="scoredBy">Whose scores it weighs; <see langword="null"/> where it was fitted without.</param>
/// <exception cref="ErgonException">The model has other features, or its coefficients are no finite numbers.</exception>
internal sealed class Arde(LogisticModel model, double typicalLogProbability, LearnedOutcomes? learned = null, double? typicalScore = null, string? scoredBy = null)
{
    // A score of 0 or 1, which a judge's word gives, is not taken for certain.
    private const double LeastScore = 1e-3;

    // How far each feature goes from its mean among the answers of the demonstration models, to one figure: so far an outcome's doubt may shift its part.
    private static readonly double[] s_scales = [0.25, 0.05, 0.4, 0.7, 0.5, 2];
    private readonly OnlineLogistic _online = new(Complete(model, typicalLogProbability + (typicalScore ?? 0)), s_scales, Complete(learned, model.Features));

    /// <summary>
    /// Of an answer: its votes over one more than all draws; the highest mean log-probability a token among its draws; the mean share of steps that
    /// hold less 1/2, 0 without steps; the Shannon entropy over the tally's answers; 1 where the steps of one of its draws all hold, otherwise 0 (one clean
    /// draw says more than the mean of many); the mean log-odds of its scores less what is typical, 0 without one.
    /// </summary>
    public static IReadOnlyList<string> Features { get; } = ["agreement", "log-probability", "evidence", "entropy", "clean", "score"];

    /// <summary>As it is now.</summary>
    public LogisticModel Model => _online.Model;

    /// <summary>What it has learned since it was fitted; <see langword="null"/> for nothing.</summary>
    public LearnedOutcomes? Learned => _online.Learned;

    public double TypicalLogProbability => typicalLogProbability;

    public double? TypicalScore => typicalScore;

    public string? ScoredBy => scoredBy;

    /// <summary>
    /// The selector for the scores of some verifier model. Those that it was not fitted with are taken at their word: a probability's odds as
    /// independent evidence; a likelihood, of which nobody knows what is typical, ranks a problem's answers and no more.
    /// </summary>
    public Arde For(IVerifierModel verifier)
    {
        if (verifier.Name == scoredBy)
            return this;
        var row = Features.Count + 1; // of the score, the last, in what was learned
        var known = Learned is { } all ? all with { Precision = [.. all.Precision.SkipLast(row), .. new double[row]] } : null;
        return new Arde(Model with { Coefficients = [.. Model.Coefficients.SkipLast(1), 1] }, typicalLogProbability, known, verifier.IsProbability ? 0 : null, verifier.Name);
    }

    /// <summary>The features of each answer of a tally, in its order.</summary>
    public static double[][] Rows(Tally tally, double typicalLogProbability, double? typicalScore = null)
    {
        if (tally.Leader < 0)
            return [];
        double votes = tally.Votes.Sum();
        var entropy = EntropyCatalogue.Shannon.Of([.. tally.Votes.Select(v => v / votes)]);
        var typical = typicalScore ?? LogOdds(tally.Draws);
        return
        [
            .. tally.Answers.Select((answer, i) =>
            {
                Draw[] draws = [.. tally.Draws.Where(d => d.Answer == answer)];
                return (double[])
                    [tally.Votes[i] / (tally.Draws.Count + 1.0), draws.Max(d => d.LogProbability) ?? typicalLogProbability, draws.Average(d => d.Evidence) is { } e ? e - 0.5 : 0, entropy,
                    draws.Any(d => d.Evidence == 1) ? 1 : 0, LogOdds(draws) - typical ?? 0];
            }),
        ];
    }

    /// <summary>Fits a selector on tallies whose right answers are known.</summary>
    /// <param name="logged">Each with its right answer in canonical form.</param>
    /// <param name="ridge">As for <see cref="LogisticModel.Fit"/>.</param>
    /// <param name="scoredBy">Whose scores the draws have; <see langword="null"/> where they have none.</param>
    /// <returns>The selector, and its calibration error on these tallies; report that of others.</returns>
    /// <exception cref="ErgonException">No tally has an answer.</exception>
    public static (Arde Selector, double CalibrationError) Fit(IEnumerable<(Tally Tally, string Gold)> logged, double ridge = 1, string? scoredBy = null)
    {
        (Tally Tally, string Gold)[] log = [.. logged];
        var typical = log.SelectMany(l => l.Tally.Draws).Average(d => d.LogProbability) ?? 0;
        var typicalScore = LogOdds(log.SelectMany(l => l.Tally.Draws));
        List<double[]> rows = [];
        List<bool> right = [];
        foreach (var (tally, gold) in log)
        {
            rows.AddRange(Rows(tally, typical, typicalScore));
            right.AddRange(tally.Answers.Select(a => a == gold));
        }
        var fitted = LogisticModel.Fit(Features, rows, right, ridge);
        return (new Arde(fitted, typical, typicalScore: typicalScore, scoredBy: scoredBy), LogisticModel.CalibrationError([.. rows.Select(r => fitted.Probability(r))], right));
    }

    /// <summary>The answer most likely to be right, with that probability; <see langword="null"/> where there is none.</summary>
    public (string Answer, double Probability)? Choose(Tally tally)
    {
        var rows = Rows(tally, typicalLogProbability, typicalScore);
        return rows.Length == 0 ? null : Enumerable.Range(0, rows.Length).Select(i => (tally.Answers[i], Verdict(tally, tally.Answers[i]) ?? Model.Probability(rows[i]))).MaxBy(x => x.Item2);
    }

    /// <summary>How likely an answer of the tally is right, the chosen one where none is named; 0 where there is none.</summary>
    public double Confidence(Tally tally, string? answer = null)
    {
        if (answer is null)
            return Choose(tally)?.Probability ?? 0;
        var index = tally.Answers.ToList().IndexOf(answer);
        return index < 0 ? 0 : Verdict(tally, answer) ?? Model.Probability(Rows(tally, typicalLogProbability, typicalScore)[index]);
    }

    /// <summary>Learns from one problem whose right answer has become known; each of its answers counts once, however many tallies have it. Deterministic in the order of problems.</summary>
    /// <param name="tallies">Of its draws, of the first of them as of all, as confidence is asked for after any number.</param>
    /// <param name="isRight">Whether an answer is right.</param>
    public void Learn(IEnumerable<Tally> tallies, Func<string, bool> isRight)
    {
        Tally[] answered = [.. tallies.Where(t => t.Leader >= 0)];
        _online.Learn([.. answered.SelectMany(t => t.Answers.Zip(Rows(t, typicalLogProbability, typicalScore), (a, row) => (row, isRight(a), 1.0 / answered.Length)))]);
    }

    // By name: a file may be of a version that had fewer features.
    private static LogisticModel Complete(LogisticModel model, double typical) =>
        model is { Features: { } features, Coefficients: { } coefficients } && features.Count > 0 && features.Count == coefficients.Count && features.All(Features.Contains) && features.Distinct().Count() == features.Count
        && double.IsFinite(model.Intercept + typical) && coefficients.All(double.IsFinite)
        ? model with { Features = Features, Coefficients = [.. Features.Select(f => features.ToList().IndexOf(f) is >= 0 and var i ? coefficients[i] : 0)] }
        : throw new ErgonException($"The selector's features are not {string.Join(", ", Features)}; fit it again.");

    // Of a feature that was not there nothing is known.
    private static LearnedOutcomes? Complete(LearnedOutcomes? learned, IReadOnlyList<string> features)
    {
        if (learned?.Precision is null || features.SequenceEqual(Features) || learned.Precision.Count != (features.Count + 1) * (features.Count + 2) / 2)
            return learned;
        int[] at = [0, .. Features.Select(f => features.ToList().IndexOf(f) + 1)];
        // 0 stands for the intercept, and after it for a feature that is missing.
        return learned with
        {
            Precision = [.. Enumerable.Range(0, at.Length).SelectMany(i => Enumerable.Range(0, i + 1).Select(j =>
                (i > 0 && at[i] == 0) || (j > 0 && at[j] == 0) ? 0 : (Math.Max(at[i], at[j]), Math.Min(at[i], at[j])) is var (r, c) ? learned.Precision[(r * (r + 1) / 2) + c] : 0))],
        };
    }

    // Null without scores.
    private static double? LogOdds(IEnumerable<Draw> draws) => draws.Average(d => d.Score is { } score ? LogOdds(score) : null);

    private static double? LogOdds(double score) => Math.Log(Math.Clamp(score, LeastScore, 1 - LeastScore) / (1 - Math.Clamp(score, LeastScore, 1 - LeastScore)));

    // A text of an answer may pass where another fails: one that passed settles it.
    private static double? Verdict(Tally tally, string answer)
    {
        bool? verdict = null;
        foreach (var draw in tally.Draws)
        {
            if (draw.Answer == answer && draw.Verified is { } said)
                verdict = said || verdict == true;
        }
        return verdict is { } final ? final ? 1 : 0 : null;
    }
}
