using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Reasoning.Verifiers;
using Ergon.Units;

namespace Ergon.Reasoning;

/// <summary>Opens a metered request for a session's next generation or, without a session, for work of the processor that is no pass's.</summary>
/// <returns>Closes the request, which had so many tokens; called once, when the generation has ended or was cancelled.</returns>
internal delegate Func<int, Task<Receipt>> Metering(Session? session);

/// <summary>What draws and checks are for, from cheap to dear: the stages of the energy-aware cascade (EAC). Ergon's own definition.</summary>
internal enum Stage
{
    /// <summary>Getting an answer that can be read: the prompt, and draws until one has an answer.</summary>
    Form,

    /// <summary>Draws after that, which agree with an answer or not.</summary>
    Agreement,

    /// <summary>Log-probabilities, evidence and the entropy over answers: read off the draws, so that it takes nothing of its own.</summary>
    Confidence,

    /// <summary>Asking the task's verifier, or a verifier model.</summary>
    Verification,

    /// <summary>Draws of a larger model.</summary>
    Escalation,
}

/// <summary>What one stage took.</summary>
/// <param name="Stage">Which.</param>
/// <param name="Count">Draws, or texts that were verified.</param>
/// <param name="Energy">Booked to it; <see langword="null"/> where that is unknown.</param>
/// <param name="Reason">Why it is unknown.</param>
internal sealed record StageUse(Stage Stage, int Count, Joules? Energy, string? Reason = null);

/// <summary>A draw and what it took.</summary>
/// <param name="Draw">What the policy saw, or would have seen.</param>
/// <param name="Text">The model's, as far as it came.</param>
/// <param name="Tokens">Generated.</param>
/// <param name="Cancelled">Whether drawing stopped before it ended, because the problem was settled.</param>
/// <param name="FalseAt">How many tokens had come when a step was seen to be false; <see langword="null"/> where none was.</param>
/// <param name="Receipt">What generating took; <see langword="null"/> where nothing was metered.</param>
/// <param name="Check">What the verifier took; <see langword="null"/> where it was not asked, or nothing was metered.</param>
internal sealed record BookedDraw(Draw Draw, string Text, int Tokens, bool Cancelled, int? FalseAt, Receipt? Receipt = null, Receipt? Check = null)
{
    /// <summary>Of generating; <see langword="null"/> where that is unknown.</summary>
    public Joules? Energy => Receipt?.Energy;

    /// <summary>Whether the verifier was asked.</summary>
    public bool Verified { get; init; }

    /// <summary>Whether a verifier model was asked.</summary>
    public bool Asked { get; init; }

    /// <summary>What the verifier model took; <see langword="null"/> where it was not asked, or nothing was metered.</summary>
    public Receipt? Scoring { get; init; }
}

/// <summary>How a problem ended.</summary>
/// <param name="Problem">Which.</param>
/// <param name="Answer">The policy's choice; <see langword="null"/> where no draw had an answer.</param>
/// <param name="Right">Whether that is right; false where neither a gold answer nor a verifier knows.</param>
/// <param name="Reason">Why drawing stopped; <see langword="null"/> where the budget was spent.</param>
/// <param name="PromptTokens">Of the prompt, computed once.</param>
/// <param name="Draws">All that were begun, in order; those after the one that settled it were in vain.</param>
/// <param name="Tally">What the policy saw.</param>
/// <param name="Prompt">What computing the prompt took for all draws; <see langword="null"/> where nothing was metered or the first draw did it.</param>
internal sealed record SolvedProblem(Problem Problem, string? Answer, bool Right, string? Reason, int PromptTokens, IReadOnlyList<BookedDraw> Draws, Tally Tally, Receipt? Prompt = null)
{
    /// <summary>What another draw of its mean length would take by the cost model, at the width that draws ran at last; <see langword="null"/> without one.</summary>
    public Joules? AnotherDraw { get; init; }

    /// <summary>Generated for it, in vain or not.</summary>
    public long Tokens => Draws.Sum(d => (long)d.Tokens);

    /// <summary>Of the prompt and all its draws, cancelled ones included, and of verifiers where a meter sees them (<see cref="Stages"/> tell); <see langword="null"/> where one is unknown.</summary>
    public Joules? Energy => Draws.All(d => d.Energy is not null) && Prompt is null or { Energy: not null }
        ? Generating + (Of(Stage.Verification).Energy ?? Joules.Zero) : null;

    /// <summary>The meters that it rests on, joined by <c>+</c>; <see langword="null"/> where there was none.</summary>
    public string? EnergySource => string.Join('+', Receipts.Select(r => r.Source).OfType<string>().Distinct()) is { Length: > 0 } sources ? sources : null;

    /// <summary>Every receipt of it.</summary>
    public IEnumerable<Receipt> Receipts => Draws.SelectMany(d => new[] { d.Receipt, d.Check, d.Scoring }).Prepend(Prompt).OfType<Receipt>();

    /// <summary>What each stage took, in order; escalation is of another model's solving.</summary>
    public IReadOnlyList<StageUse> Stages => [Of(Stage.Form), Of(Stage.Agreement), new StageUse(Stage.Confidence, Draws.Count(d => d.Draw.LogProbability is not null), Joules.Zero), Of(Stage.Verification)];

    private Joules Generating => Draws.Aggregate(Prompt?.Energy ?? Joules.Zero, (sum, d) => sum + d.Energy!.Value);

    private StageUse Of(Stage stage)
    {
        if (stage == Stage.Verification)
            return Verification();
        var first = Draws.Select((d, i) => (d, i)).Where(x => x.d.Draw.Answer is not null).Select(x => x.i + 1).DefaultIfEmpty(Draws.Count).First();
        IReadOnlyList<BookedDraw> own = stage == Stage.Form ? [.. Draws.Take(first)] : [.. Draws.Skip(first)];
        Receipt?[] prompt = stage == Stage.Form && Prompt is not null ? [Prompt] : [];
        return Sum(stage, own.Count, [.. prompt, .. own.Select(d => d.Receipt)]);
    }

    // A task's verifier is a process of its own: what it draws shows on a meter, and on no model of our passes. A verifier model's passes are ours.
    private StageUse Verification()
    {
        BookedDraw[] asked = [.. Draws.Where(d => d.Verified)], scored = [.. Draws.Where(d => d.Asked)];
        return asked.FirstOrDefault(d => d.Check?.Quality == EnergyQuality.Modelled) is not null
            ? new StageUse(Stage.Verification, asked.Length + scored.Length, null, "not metered: the verifier is a process of its own, and this machine's processor has no meter that can be read")
            : Sum(Stage.Verification, asked.Length + scored.Length, [.. asked.Select(d => d.Check), .. scored.Select(d => d.Scoring)]);
    }

    private static StageUse Sum(Stage stage, int count, IReadOnlyList<Receipt?> receipts)
    {
        foreach (var receipt in receipts)
        {
            if (receipt?.Energy is null)
                return new StageUse(stage, count, null, receipt?.Reason ?? "nothing was metered");
        }
        return new StageUse(stage, count, receipts.Aggregate(Joules.Zero, (sum, r) => sum + r!.Energy!.Value));
    }
}

/// <summary>How problems are solved by repeated sampling.</summary>
internal sealed record SolverOptions
{
    /// <summary>S: draws of a problem at most. Default 16.</summary>
    public int Samples { get; init; } = 16;

    /// <summary>
    /// Draws of one problem that run at once. 1 draws nothing in vain and fills the other rows with other problems; for a lone problem more
    /// rows cost little more than one and end sooner. Default 1.
    /// </summary>
    public int Wave { get; init; } = 1;

    /// <summary>Whether the cost model chooses how many draws run at once, <see cref="Wave"/> at most: for a lone problem. Default false.</summary>
    public bool ChoosesWave { get; init; }

    /// <summary>Of the draws; above 0 for more than one. Default 0.8.</summary>
    public float Temperature { get; init; } = 0.8f;

    /// <summary>Tokens of a draw at most; <see langword="null"/> for what the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Of the draws: each has a stream of its own, whatever runs beside it.</summary>
    public ulong Seed { get; init; } = WordProblems.EvaluationSeed;

    /// <summary>Whether each draw is shown to the task's verifier. Default false.</summary>
    public bool Verify { get; init; }

    /// <summary>Scores draws that the policy wants scored, one of each answer; <see langword="null"/> for none.</summary>
    public IVerifierModel? Verifier { get; init; }

    /// <summary>Whether a draw ends with its first false step, without an answer: fewer tokens, and no vote. Default false.</summary>
    public bool AbandonFalse { get; init; }

    /// <summary>Joules of a problem at most: no draw begins that would exceed them if it took the mean of those before. <see langword="null"/> for no limit.</summary>
    public Joules? Budget { get; init; }

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate()
    {
        if (Budget is { } budget && !(budget.Value > 0 && double.IsFinite(budget.Value)))
            throw new ErgonException(FormattableString.Invariant($"budget-joules is {budget.Value}, but must be above 0."));
        if (Samples < 1)
            throw new ErgonException($"samples is {Samples}, but must be 1 or more.");
        if (Wave < 1)
            throw new ErgonException($"wave is {Wave}, but must be 1 or more.");
        if (Samples > 1 && Temperature == 0)
            throw new ErgonException($"samples is {Samples} at temperature 0, where all would be the same; use --temp 0.8, or one sample.");
    }
}
