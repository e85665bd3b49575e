namespace Ergon.Reasoning.Stopping;

/// <summary>Decides after each draw whether another is worth it. Pure and without state: the same tally gives the same decision.</summary>
internal interface IStoppingPolicy
{
    /// <summary>As tables print it.</summary>
    string Name { get; }

    /// <summary>Looks at what was drawn, at least one draw and fewer than the budget.</summary>
    /// <returns>Why to stop; <see langword="null"/> to go on.</returns>
    string? Stop(Tally tally);

    /// <summary>The answer that stands when drawing stops; the winner of the vote unless a policy has better grounds.</summary>
    string? Choose(Tally tally) => tally.Winner;

    /// <summary>
    /// How likely it is to stop with the draw after <paramref name="further"/> that did not make it stop, 0 to 1; what the size of a wave rests on. By default 1/(n+2) after n
    /// draws in all, by the rule of succession.
    /// </summary>
    double EndsWith(Tally tally, int further) => 1.0 / (tally.Draws.Count + further + 2);

    /// <summary>Whether the task's verifier is to judge a draw, where there is one that is asked; by default every draw.</summary>
    bool Verifies(Draw draw) => true;

    /// <summary>Whether a verifier model is to score a draw, where there is one; by default none, since a score helps only who weighs it.</summary>
    bool Scores(Draw draw) => false;
}

/// <summary>Baseline: draws the whole budget; majority vote of S.</summary>
internal sealed class FixedBudget : IStoppingPolicy
{
    public string Name => "fixed";

    public string? Stop(Tally tally) => null;

    public double EndsWith(Tally tally, int further) => 0;
}

/// <summary>Stops at the first draw that a verifier passes, or whose worked steps all hold, and takes its answer; the majority's where none did.</summary>
/// <param name="acceptEvidence">Whether steps that hold suffice where there is no verdict; a draw that a true verifier failed never passes.</param>
internal sealed class FirstVerified(bool acceptEvidence = false) : IStoppingPolicy
{
    public string Name => acceptEvidence ? "first-clean" : "first-verified";

    public string? Stop(Tally tally) => Passes(tally.Draws[^1]) ? tally.Draws[^1].Verified == true ? "verified" : "its steps hold" : null;

    public string? Choose(Tally tally)
    {
        foreach (var draw in tally.Draws)
        {
            if (Passes(draw))
                return draw.Answer;
        }
        return tally.Winner;
    }

    private bool Passes(Draw draw) => draw.Answer is not null && (draw.Verified ?? (acceptEvidence && draw.Evidence == 1));
}

/// <summary>
/// Stops when evidence is not worth waiting for: after k draws of which none was clean the next is with probability 1/(k+2), by the rule of
/// succession. Ergon's own definition.
/// </summary>
/// <param name="least">The probability below which it stops, above 0 and at most 1/2.</param>
internal sealed class GiveUp(double least) : IStoppingPolicy
{
    public string Name => FormattableString.Invariant($"give-up {least}");

    public string? Stop(Tally tally) => tally.Draws.All(d => d.Evidence != 1) && 1.0 / (tally.Draws.Count + 2) < least ? $"none of {tally.Draws.Count} is clean" : null;
}

/// <summary>Baseline: draws the whole budget and takes the answer with the highest score, the first of equals: the verifier's verdict, then evidence, then log-probability.</summary>
internal sealed class BestOfN : IStoppingPolicy
{
    public string Name => "best-of-n";

    public string? Stop(Tally tally) => null;

    public double EndsWith(Tally tally, int further) => 0;

    public string? Choose(Tally tally) => tally.Draws.Where(d => d.Answer is not null)
        .OrderByDescending(d => d.Verified switch { true => 1, null => 0, false => -1 }).ThenByDescending(d => d.Evidence ?? -1).ThenByDescending(d => d.LogProbability ?? double.NegativeInfinity)
        .Select(d => d.Answer).FirstOrDefault();
}

/// <summary>
/// Baseline: Adaptive-Consistency's Beta rule (Aggarwal et al. 2023): stops when the leader is more likely than the runner-up with posterior
/// probability above a threshold, uniform prior: I_1/2(b+1, a+1).
/// </summary>
/// <param name="threshold">0.95 in the paper: first met by 4 votes to none.</param>
internal sealed class AdaptiveConsistency(double threshold = 0.95) : IStoppingPolicy
{
    public string Name => FormattableString.Invariant($"adaptive-consistency {threshold}");

    public string? Stop(Tally tally) => tally.Leader >= 0 && 1 - Certificate.LeaderIsBehind(tally.Lead, tally.RunnerUp) > threshold
        ? $"{tally.Lead} votes to {tally.RunnerUp}" : null;
}

/// <summary>Baseline: Early-Stopping Self-Consistency (Li et al. 2024): draws in windows and stops when all answers of one are the same.</summary>
/// <param name="window">Draws in each, 5 in the paper.</param>
internal sealed class EarlyStoppingSelfConsistency(int window = 5) : IStoppingPolicy
{
    public string Name => "esc";

    public string? Stop(Tally tally)
    {
        if (tally.Draws.Count % window != 0 || tally.Draws[^1].Answer is not { } last)
            return null;
        return tally.Draws.Skip(tally.Draws.Count - window).All(d => d.Answer == last) ? $"{window} of {window} agree" : null;
    }
}

/// <summary>Stops when no continuation within the budget changes the winner of the vote. Never changes what the full budget would say.</summary>
internal sealed class Settled : IStoppingPolicy
{
    public string Name => "settled";

    public string? Stop(Tally tally)
    {
        if (tally.Leader < 0)
            return null;
        // An answer seen before the leader, and only that, wins with as many votes.
        for (var i = 0; i < tally.Votes.Count; i++)
        {
            if (i != tally.Leader && tally.Votes[i] + tally.Left >= tally.Lead + (i < tally.Leader ? 0 : 1))
                return null;
        }
        return tally.Left > tally.Lead ? null : "no vote can change it";
    }
}

/// <summary>Stops when one of several policies does; the first of them that would stop chooses the answer, the first of all where none would.</summary>
internal sealed class FirstOf(params IReadOnlyList<IStoppingPolicy> policies) : IStoppingPolicy
{
    public string Name => string.Join("+", policies.Select(p => p.Name));

    public string? Stop(Tally tally) => policies.Select(p => p.Stop(tally)).FirstOrDefault(reason => reason is not null);

    public double EndsWith(Tally tally, int further) => policies.Max(p => p.EndsWith(tally, further));

    public string? Choose(Tally tally) => (policies.FirstOrDefault(p => p.Stop(tally) is not null) ?? policies[0]).Choose(tally);
}
