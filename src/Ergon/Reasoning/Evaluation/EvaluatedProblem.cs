using Ergon.Reasoning.Stopping;

namespace Ergon.Reasoning.Evaluation;

/// <summary>What a policy made of a problem's draws.</summary>
/// <param name="Answer">Its choice; <see langword="null"/> where no draw had an answer.</param>
/// <param name="Right">Whether that is right.</param>
/// <param name="Confidence">The share of the draws seen that have this answer, 0 without one.</param>
/// <param name="Draws">Seen.</param>
/// <param name="Tokens">Of those.</param>
/// <param name="Joules">Of those; <see langword="null"/> where one is unknown.</param>
internal readonly record struct PolicyOutcome(string? Answer, bool Right, double Confidence, int Draws, long Tokens, double? Joules);

/// <summary>All draws that an evaluation made for one problem.</summary>
/// <param name="Gold">Its right answer; <see langword="null"/> where only a verifier knows.</param>
/// <param name="Budget">S: draws at most.</param>
/// <param name="Draws">In order, at least one.</param>
internal sealed record EvaluatedProblem(string? Gold, int Budget, IReadOnlyList<EvaluatedDraw> Draws)
{
    /// <summary>How many draws are right.</summary>
    public int Right => Draws.Count(d => d.Right);

    /// <summary>Of all draws; <see langword="null"/> where one is unknown.</summary>
    public double? Joules => JoulesOf(Draws.Count);

    /// <summary>The problems of a journal's draws.</summary>
    /// <param name="draws">By problem and in order.</param>
    /// <param name="budget">S.</param>
    /// <param name="gold">Of a problem's index.</param>
    public static IReadOnlyList<EvaluatedProblem> Of(IReadOnlyList<EvaluatedDraw> draws, int budget, Func<int, string?> gold) =>
        [.. draws.GroupBy(d => d.Item).Select(g => new EvaluatedProblem(gold(g.Key), budget, [.. g]))];

    /// <summary>What a policy that stopped here, or one that takes all draws, made of them.</summary>
    public PolicyOutcome Ended(IStoppingPolicy policy) => Outcome(policy, Draws.Count);

    /// <summary>What the majority vote of the first draws makes of them.</summary>
    /// <param name="draws">How many, at most those there are.</param>
    public PolicyOutcome First(int draws) => Outcome(new FixedBudget(), draws);

    /// <summary>What a policy would have made of them: it sees them one by one, as if it had drawn them.</summary>
    /// <param name="policy">Which.</param>
    /// <param name="abandonsFalse">Whether its draws would have ended with their first false step.</param>
    public PolicyOutcome Replayed(IStoppingPolicy policy, bool abandonsFalse = false)
    {
        var seen = abandonsFalse ? this with { Draws = [.. Draws.Select(d => d.Abandoned())] } : this;
        return seen.Outcome(policy, (int)ReplayResult.Of([seen.Logged()], policy).Draws);
    }

    /// <summary>As policies are asked afterwards. Without a gold answer its place is taken by none that a draw has.</summary>
    public LoggedProblem Logged() => new(Gold ?? "", [.. Draws.Select(d => new LoggedDraw(d.Seen(), d.Tokens, d.FalseAt))]);

    /// <summary>The draws counted, all or the first ones.</summary>
    public Tally After(int draws)
    {
        var tally = new Tally(Budget);
        foreach (var draw in Draws.Take(draws))
            tally.Add(draw.Seen());
        return tally;
    }

    private PolicyOutcome Outcome(IStoppingPolicy policy, int draws)
    {
        var tally = After(draws);
        var answer = policy.Choose(tally);
        // Draws that agree are right together.
        var right = answer is not null && Draws.First(d => d.Answer == answer).Right;
        var votes = answer is null ? 0 : tally.Votes[tally.Answers.ToList().IndexOf(answer)];
        return new PolicyOutcome(answer, right, votes / (double)draws, draws, Draws.Take(draws).Sum(d => (long)d.Tokens), JoulesOf(draws));
    }

    private double? JoulesOf(int draws) => Draws.Take(draws).All(d => d.Energy?.Joules is not null) ? Draws.Take(draws).Sum(d => d.Energy!.Joules!.Value) : null;
}
