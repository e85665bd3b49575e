using System.Diagnostics;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Units;

namespace Ergon.Reasoning;

/// <summary>What a part of the work took of the engine.</summary>
/// <param name="PromptTokens">Computed, not found in the cache.</param>
/// <param name="CompletionTokens">Generated.</param>
/// <param name="Began">A timestamp of <see cref="Stopwatch"/>.</param>
/// <param name="Time">From then on.</param>
internal readonly record struct DrawUse(int PromptTokens, int CompletionTokens, long Began, TimeSpan Time);

/// <summary>A draw and what it took.</summary>
/// <param name="Draw">What the policy saw, or would have seen.</param>
/// <param name="Text">The model's, as far as it came.</param>
/// <param name="Tokens">Generated.</param>
/// <param name="Energy">Booked; <see langword="null"/> where that is unknown.</param>
/// <param name="Cancelled">Whether drawing stopped before it ended, because the problem was settled.</param>
/// <param name="FalseAt">How many tokens had come when a step was seen to be false; <see langword="null"/> where none was.</param>
internal sealed record BookedDraw(Draw Draw, string Text, int Tokens, Joules? Energy, bool Cancelled, int? FalseAt);

/// <summary>How a problem ended.</summary>
/// <param name="Problem">Which.</param>
/// <param name="Answer">The policy's choice; <see langword="null"/> where no draw had an answer.</param>
/// <param name="Right">Whether that is right.</param>
/// <param name="Reason">Why drawing stopped; <see langword="null"/> where the budget was spent.</param>
/// <param name="PromptTokens">Of the prompt, computed once.</param>
/// <param name="Draws">All that were begun, in order; those after the one that settled it were in vain.</param>
internal sealed record SolvedProblem(Problem Problem, string? Answer, bool Right, string? Reason, int PromptTokens, IReadOnlyList<BookedDraw> Draws)
{
    /// <summary>Generated for it, in vain or not.</summary>
    public long Tokens => Draws.Sum(d => (long)d.Tokens);

    /// <summary>Of all its draws; <see langword="null"/> where one is unknown.</summary>
    public Joules? Energy => Draws.All(d => d.Energy is not null) ? Draws.Aggregate(Joules.Zero, (sum, d) => sum + d.Energy!.Value) : null;
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

    /// <summary>Of the draws; above 0 for more than one. Default 0.8.</summary>
    public float Temperature { get; init; } = 0.8f;

    /// <summary>Tokens of a draw at most; <see langword="null"/> for what the context holds.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Of the draws: each has a stream of its own, whatever runs beside it.</summary>
    public ulong Seed { get; init; } = WordProblems.EvaluationSeed;

    /// <summary>Whether each draw is shown to the task's verifier. Default false.</summary>
    public bool Verify { get; init; }

    /// <summary>Whether a draw ends with its first false step, without an answer: fewer tokens, and no vote. Default false.</summary>
    public bool AbandonFalse { get; init; }

    /// <summary>Throws unless every value is in its range.</summary>
    /// <exception cref="ErgonException">Names the setting, its value and the range.</exception>
    public void Validate()
    {
        if (Samples < 1)
            throw new ErgonException($"samples is {Samples}, but must be 1 or more.");
        if (Wave < 1)
            throw new ErgonException($"wave is {Wave}, but must be 1 or more.");
        if (Samples > 1 && Temperature == 0)
            throw new ErgonException($"samples is {Samples} at temperature 0, where all would be the same; use --temp 0.8, or one sample.");
    }
}
