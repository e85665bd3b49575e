namespace Ergon.Reasoning.Tasks;

/// <summary>One question of a user's, whose right answer nobody has written down, read as one of the tasks reads it.</summary>
internal static class Asked
{
    /// <summary>A number; with <paramref name="marked"/> only what stands after <c>####</c>, as the demonstration models were trained to write.</summary>
    public static IReasoningTask Number(string name, string prompt, bool marked) => new AskedNumber(name, prompt, marked);

    /// <summary>A letter.</summary>
    /// <exception cref="ErgonException">There are not 2 to 26 options, or two are the same.</exception>
    public static IReasoningTask Choice(string question, IReadOnlyList<string> options) => MultipleChoice.Of(question, options);

    /// <summary>What a pattern catches, as for <see cref="OwnTask"/>, and what a program says of it.</summary>
    /// <exception cref="ErgonException">The pattern is invalid.</exception>
    public static IReasoningTask Own(string prompt, string? pattern, VerifierCommand? verifier) => OwnTask.Of(prompt, pattern, verifier);

    private sealed class AskedNumber(string name, string prompt, bool marked) : NumericTask(name, [new Problem("asked", prompt)])
    {
        public override string? Extract(Problem problem, string text) => !marked || text.Contains("####", StringComparison.Ordinal) ? base.Extract(problem, text) : null;
    }
}
