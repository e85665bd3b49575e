namespace Ergon.Reasoning.Tasks;

/// <summary>One question of a task.</summary>
/// <param name="Id">Unique in its task.</param>
/// <param name="Prompt">What a user would send.</param>
/// <param name="Gold">The right answer in canonical form; <see langword="null"/> where only a verifier knows.</param>
/// <param name="Options">The answers to choose from, in order; empty for an open answer.</param>
/// <param name="Worked">A right answer as a text that works it out, for who is shown the problem as an example; <see langword="null"/> where <paramref name="Gold"/> is all there is.</param>
internal sealed record Problem(string Id, string Prompt, string? Gold = null, IReadOnlyList<string>? Options = null, string? Worked = null)
{
    /// <inheritdoc cref="Options"/>
    public IReadOnlyList<string> Options { get; init; } = Options ?? [];
}

/// <summary>A set of problems, and how texts that answer them are read. Thread-safe.</summary>
internal interface IReasoningTask
{
    /// <summary>As <c>--task</c> names it.</summary>
    string Name { get; }

    IReadOnlyList<Problem> Problems { get; }

    /// <summary>Problems that are shown with their right answers before each; none by default.</summary>
    IReadOnlyList<Problem> Examples => [];

    /// <summary>The prompt for a model without chat template, which continues a text.</summary>
    string PlainPrompt(Problem problem) => $"Question: {problem.Prompt}\nAnswer:";

    /// <summary>What ends the continuation of <see cref="PlainPrompt"/>: where the model goes on to a question of its own.</summary>
    IReadOnlyList<string> PlainEnds => ["\nQuestion:"];

    /// <summary>The canonical answer in a model's text, <see langword="null"/> where there is none. Two answers are equivalent exactly where their canonical forms are equal.</summary>
    string? Extract(Problem problem, string text);

    /// <summary>The share of the text's worked steps that hold, 0 to 1; <see langword="null"/> where there is none to check. Not a verdict: a wrong plan with right sums has 1.</summary>
    double? Evidence(Problem problem, string text) => null;

    /// <summary>
    /// Watches a text that is being written: what it gives is called with each piece as it comes, between two passes, and tells whether the text up to there
    /// holds a step that is complete and false, so that nothing it comes to has clean evidence. <see langword="null"/> where there are no steps to check, the default.
    /// </summary>
    Func<string, bool>? Watch(Problem problem) => null;

    /// <summary>Whether <see cref="VerifyAsync"/> asks somebody.</summary>
    bool HasVerifier => false;

    /// <summary>Whether an independent check passes the text's answer, without the gold answer; <see langword="null"/> where the task has no such check.</summary>
    ValueTask<bool?> VerifyAsync(Problem problem, string text, CancellationToken cancellation) => ValueTask.FromResult<bool?>(null);

    /// <summary>Whether the text is right, for measurements: the gold answer's word where there is one, otherwise the verifier's.</summary>
    async ValueTask<bool> IsRightAsync(Problem problem, string text, CancellationToken cancellation) =>
        problem.Gold is { } gold ? Extract(problem, text) == gold : await VerifyAsync(problem, text, cancellation).ConfigureAwait(false) == true;
}
