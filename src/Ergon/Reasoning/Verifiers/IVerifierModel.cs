using Ergon.Energy;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning.Verifiers;

/// <summary>How a verifier model is asked.</summary>
internal enum VerifyBy
{
    /// <summary>How likely it finds the text after the problem: the geometric mean of its tokens' probabilities.</summary>
    Likelihood,

    /// <summary>Whether it calls the text right: P(Yes) over P(Yes) + P(No).</summary>
    Judge,
}

/// <summary>What a verifier model said of a text.</summary>
/// <param name="Score">Above 0 for what it thinks least of, below 1 for what it thinks most of; both bounds included where it only said a word. <see langword="null"/> where it came to none.</param>
/// <param name="Receipt">What asking took; one without a figure tells why. <see langword="null"/> where nothing is metered.</param>
/// <param name="Asked">Whether it began to look at the text: false where it was cancelled before, or the text is too long for it.</param>
internal readonly record struct VerifierScore(double? Score, Task<Receipt>? Receipt, bool Asked = true);

/// <summary>
/// A model that says what it thinks of another's answers. Unlike a task's verifier it may err: a score moves the confidence and settles nothing. Thread-safe.
/// </summary>
internal interface IVerifierModel : IDisposable
{
    /// <summary>Whose scores these are and how it was asked; scores of one name may be compared.</summary>
    string Name { get; }

    /// <summary>Whether a score is meant as the probability that the text is right. A likelihood is not: only texts can be compared by it.</summary>
    bool IsProbability { get; }

    /// <summary>How many texts it came to no score for.</summary>
    int Failures { get; }

    /// <summary>Why, of the last of those; <see langword="null"/> where there is none.</summary>
    string? LastFailure { get; }

    /// <summary>Scores a text that answers a problem. Cancelled, it has no score, and took what it took until then.</summary>
    /// <exception cref="ErgonException">It cannot be asked at all, or has failed too often in a row.</exception>
    Task<VerifierScore> ScoreAsync(Problem problem, string text, CancellationToken cancellation);
}

/// <summary>What a judge is asked.</summary>
internal static class JudgeQuestion
{
    public const string Yes = "Yes", No = "No";

    /// <summary>The message of the user.</summary>
    public static string Of(Problem problem, string text) =>
        $"Question:\n{problem.Prompt}\n\nProposed answer:\n{text.Trim()}\n\nIs the proposed answer right? Reply with one word, {Yes} or {No}.";
}
