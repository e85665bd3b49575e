using Ergon.Reasoning.Stopping;

namespace Ergon.Reasoning.Cascades;

/// <summary>
/// EAC, the energy-aware cascade over one model's draws: form, agreement, confidence and verification. It chooses by ARDE, and goes on to a stage
/// only while the accuracy that this is expected to gain is worth more than its joules: gain x worth above cost, both from
/// <see cref="StageGains"/>. Before anything is learned the next draw is thought to bring what is missing, 1 - confidence, with probability
/// 1/(k+2) after k draws (the rule of succession), for 1/S of the budget. What it decides depends on what its state has learned. Ergon's own definition.
/// </summary>
/// <param name="state">What it has learned.</param>
/// <param name="worth">What a right answer is worth, in full budgets of the model; above 0.</param>
/// <param name="model">Whose draws these are, for what was learned of them; <see langword="null"/> for a model that nobody names.</param>
/// <param name="next">What the model after this one is expected to gain and to cost, in full budgets of this one, from a confidence after some draws: draws end where it gains more a joule. <see langword="null"/> where there is none.</param>
/// <param name="verifier">The verifier model that may score draws, for what was learned of it; <see langword="null"/> where there is none.</param>
internal sealed class Cascade(
    CascadeState state, double worth = Cascade.DefaultWorth, string? model = null, Func<double, int, (double Gain, double Cost)>? next = null, string? verifier = null) : IStoppingPolicy
{
    /// <summary>An answer is worth more than what it takes to draw it: in four budgets few right ones are given up.</summary>
    public const double DefaultWorth = 4;

    // A verifier model errs too: before anything is learned a score is thought to help with half of what is wrong.
    private const double PutRight = 0.5;

    private readonly string _scored = $"{model}, scored by {verifier}";

    private readonly double _worth = worth > 0 && double.IsFinite(worth) ? worth
        : throw new ErgonException(FormattableString.Invariant($"worth is {worth}, but must be above 0."));

    public string Name => worth == DefaultWorth ? "cascade" : FormattableString.Invariant($"cascade, worth {worth}");

    public string? Stop(Tally tally)
    {
        if (tally.Draws.Any(d => d is { Verified: true, Answer: not null }))
            return "verified";
        var (confidence, gain, cost) = GoingOn(tally);
        if (next?.Invoke(confidence, tally.Draws.Count) is { } other && other.Gain * _worth > other.Cost && other.Gain * cost > gain * other.Cost)
            return FormattableString.Invariant($"a larger model would gain {other.Gain * 100:F1} points, and more for a joule than draws");
        return gain * _worth > cost ? null : FormattableString.Invariant($"more draws would gain {Math.Max(0, gain) * 100:F1} points for {cost * 100:F0} % of the full budget");
    }

    /// <summary>
    /// One over the draws that it has learned to make from here until it stops: what going on costs, in full budgets, times the budget. Where it has learned nothing, and before any draw, by
    /// the rule of succession; as if further draws left it in the same situation.
    /// </summary>
    public double EndsWith(Tally tally, int further)
    {
        var succession = tally.Draws.Count + 2.0;
        if (tally.Draws.Count == 0)
            return 1 / (succession + further);
        var (_, cost) = state.Gains.Expect(StageOf(tally), state.Selector.Confidence(tally), tally.Draws.Count, 0, Math.Min(succession, tally.Left) / tally.Budget, model);
        return Math.Min(1, 1 / Math.Max(double.Epsilon, cost * tally.Budget));
    }

    public string? Choose(Tally tally) => state.Selector.Choose(tally)?.Answer;

    /// <summary>Whether a draw survives to the verifier: it has an answer, none of its steps is false, and a failure is likely enough for what a check takes.</summary>
    public bool Verifies(Draw draw) => IsWorthAsking(draw, 1, model);

    /// <summary>Likewise for a verifier model, whose score is no verdict: what it gains is that draws go on, or end, where they would not have.</summary>
    public bool Scores(Draw draw) => IsWorthAsking(draw, PutRight, _scored);

    /// <summary>Learns from draws whose right answer has become known: what going on from each of them would have brought and cost, had it stopped by itself.</summary>
    /// <param name="gains">What learns.</param>
    /// <param name="draws">In order, as many as there are.</param>
    /// <param name="isRight">Whether an answer is right.</param>
    /// <param name="budget">S; the number of draws where they are all of it.</param>
    public void Learn(StageGains gains, IReadOnlyList<LoggedDraw> draws, Func<string, bool> isRight, int? budget = null)
    {
        var tallies = new Tally[draws.Count];
        var stops = new bool[draws.Count];
        for (var k = 0; k < draws.Count; k++)
        {
            tallies[k] = new Tally(Math.Max(budget ?? 0, draws.Count));
            foreach (var draw in draws.Take(k + 1))
                tallies[k].Add(draw.Draw);
            stops[k] = k == draws.Count - 1 || Stop(tallies[k]) is not null;
        }
        var full = draws.Average(d => d.Tokens) * tallies[0].Budget;
        for (var k = 0; k + 1 < draws.Count; k++)
        {
            var end = Array.FindIndex(stops, k + 1, s => s);
            var cost = full > 0 ? Enumerable.Range(k + 1, end - k).Sum(i => draws[i].Tokens) / full : 0;
            gains.Learn(StageOf(tallies[k]), state.Selector.Confidence(tallies[k]), k + 1, Right(tallies[end]) - Right(tallies[k]), cost, model);
        }

        double Right(Tally tally) => Choose(tally) is { } answer && isRight(answer) ? 1 : 0;
    }

    /// <summary>Learns from a problem whose right answer is known, if it is: from its gold answer, or from a verifier that has judged every answer.</summary>
    /// <returns>Whether there was something to learn.</returns>
    public bool Learn(SolvedProblem solved)
    {
        BookedDraw[] ended = [.. solved.Draws.Where(d => !d.Cancelled)];
        foreach (var draw in ended.Where(d => d is { Verified: true, Draw.Verified: not null }))
        {
            // In shares of the full budget, where joules of both are known.
            var cost = draw.Check is { Energy: { } check, Quality: not Energy.EnergyQuality.Modelled } && draw.Energy is { Value: > 0 } one ? check / (one * solved.Tally.Budget) : 0;
            state.Gains.Learn(Stage.Verification, Alone(draw.Draw), 1, draw.Draw.Verified == false ? 1 : 0, cost, model);
        }
        var passed = ended.Where(d => d.Draw.Verified == true).Select(d => d.Draw.Answer).ToHashSet();
        if (ended.Length == 0 || (solved.Problem.Gold is null && ended.Any(d => d.Draw is { Answer: not null, Verified: null })))
            return false;
        LoggedDraw[] draws = [.. ended.Select(d => new LoggedDraw(d.Draw, d.Tokens, d.FalseAt))];
        Learn(state.Gains, draws, IsRight, solved.Tally.Budget);
        for (var k = 0; k < draws.Length; k++)
        {
            var answer = draws[k].Draw.Answer;
            if (draws[k].Draw.Score is null || Array.FindIndex(draws, d => d.Draw.Answer == answer && d.Draw.Score is not null) < k)
                continue;
            // What followed with the answer's score, against what would have followed without it.
            LoggedDraw[] without = [.. draws.Select(d => d.Draw.Answer == answer ? d with { Draw = d.Draw with { Score = null } } : d)];
            var (with, instead) = (Outcome(draws, k, IsRight, solved.Tally.Budget), Outcome(without, k, IsRight, solved.Tally.Budget));
            var paid = ended.Where(d => d.Draw.Answer == answer).Sum(d => d.Scoring?.Energy?.Value ?? 0);
            var check = ended[k].Energy is { Value: > 0 } one ? paid / (one.Value * solved.Tally.Budget) : 0;
            state.Gains.Learn(Stage.Verification, Alone(draws[k].Draw), 1, with.Right - instead.Right, check + with.Cost - instead.Cost, _scored);
        }
        // After the gains: those are of the confidence that decided.
        LoggedProblem logged = new("", draws);
        state.Selector.Learn(CascadeState.Lengths(ended.Length).Select(logged.After), IsRight);
        return true;

        bool IsRight(string answer) => solved.Problem.Gold is { } gold ? answer == gold : passed.Contains(answer);
    }

    private bool IsWorthAsking(Draw draw, double putsRight, string? who)
    {
        if (draw.Answer is null || draw.Evidence < 1)
            return false;
        var confidence = Alone(draw);
        var (gain, cost) = state.Gains.Expect(Stage.Verification, confidence, 1, putsRight * (1 - confidence), 0, who);
        return gain * _worth > cost;
    }

    // How likely the answer is right, and what was spent after a draw, where the cascade goes on from it to its end; where it would go on beyond the
    // draws that were made, or to a larger model, with what that is expected to add.
    private (double Right, double Cost) Outcome(LoggedDraw[] draws, int from, Func<string, bool> isRight, int budget)
    {
        var tally = new Tally(Math.Max(budget, draws.Length));
        foreach (var draw in draws.Take(from + 1))
            tally.Add(draw.Draw);
        var full = draws.Average(d => d.Tokens) * tally.Budget;
        var tokens = 0L;
        while (tally.Left > 0 && Stop(tally) is null && tally.Draws.Count < draws.Length)
        {
            tokens += draws[tally.Draws.Count].Tokens;
            tally.Add(draws[tally.Draws.Count].Draw);
        }
        var (confidence, gain, cost) = GoingOn(tally);
        var other = next?.Invoke(confidence, tally.Draws.Count);
        var more = tally.Left > 0 && Stop(tally) is null ? (gain, cost) : other is { } larger && larger.Gain * _worth > larger.Cost ? larger : (0, 0);
        return ((Choose(tally) is { } answer && isRight(answer) ? 1 : 0) + more.Item1, (full > 0 ? tokens / full : 0) + more.Item2);
    }

    private (double Confidence, double Gain, double Cost) GoingOn(Tally tally)
    {
        var confidence = state.Selector.Confidence(tally);
        var (gain, cost) = state.Gains.Expect(StageOf(tally), confidence, tally.Draws.Count, (1 - confidence) / (tally.Draws.Count + 2), 1.0 / tally.Budget, model);
        return (confidence, gain, cost);
    }

    private double Alone(Draw draw)
    {
        var alone = new Tally(1);
        alone.Add(draw with { Verified = null, Score = null });
        return state.Selector.Confidence(alone);
    }

    private static Stage StageOf(Tally tally) => tally.Leader < 0 ? Stage.Form : Stage.Agreement;
}
