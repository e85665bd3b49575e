using System.Text;
using Ergon.Inference;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning;

/// <summary>One draw: its text, and where its first false step was seen.</summary>
/// <param name="task">Tells what is false.</param>
/// <param name="problem">That is answered.</param>
/// <param name="abandonsFalse">Whether the draw ends with that step: no token is generated past it.</param>
internal sealed class DrawnText(IReasoningTask task, Problem problem, bool abandonsFalse)
{
    private readonly Func<string, bool>? _isFalse = task.Watch(problem);
    private readonly StringBuilder _text = new();

    /// <summary>Tokens that have text; the one that ended it, if any, is none of them.</summary>
    public int Count { get; private set; }

    /// <summary>How many tokens had come when a step was seen to be false; <see langword="null"/> where none was.</summary>
    public int? FalseAt { get; private set; }

    /// <summary>Whether it ended with a false step.</summary>
    public bool IsAbandoned => abandonsFalse && FalseAt is not null;

    /// <summary>Draws, once.</summary>
    /// <param name="session">Extends the prompt.</param>
    /// <param name="prompt">The whole prompt.</param>
    /// <param name="options">But for what stops it at a false step.</param>
    /// <param name="cancellation">Ends it between two passes.</param>
    public async Task DrawAsync(Session session, IReadOnlyList<int> prompt, GenerationOptions options, CancellationToken cancellation)
    {
        await foreach (var token in session.GenerateAsync(prompt, options with { StopWhen = Watch }, cancellation).ConfigureAwait(false))
            _text.Append(token.Text);
    }

    // On the engine's thread, while the text may lag behind.
    private bool Watch(GeneratedToken token)
    {
        Count++;
        if (FalseAt is null && _isFalse?.Invoke(token.Text) == true)
            FalseAt = Count;
        return IsAbandoned;
    }

    /// <summary>All that came.</summary>
    public override string ToString() => _text.ToString();
}
