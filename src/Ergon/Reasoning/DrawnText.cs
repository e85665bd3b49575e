using System.Text;
using Ergon.Inference;
using Ergon.Reasoning.Tasks;

namespace Ergon.Reasoning;

/// <summary>The text of a draw as it comes, watched for its first false step.</summary>
/// <param name="task">Tells what is false.</param>
/// <param name="problem">That is answered.</param>
internal sealed class DrawnText(IReasoningTask task, Problem problem)
{
    private readonly StringBuilder _text = new();

    /// <summary>Tokens that came.</summary>
    public int Count { get; private set; }

    /// <summary>How many tokens had come when a step was seen to be false; <see langword="null"/> where none was.</summary>
    public int? FalseAt { get; private set; }

    /// <summary>Takes the next token.</summary>
    public void Append(GeneratedToken token)
    {
        _text.Append(token.Text);
        Count++;
        // A step is complete where a space follows.
        if (FalseAt is null && token.Text.AsSpan().ContainsAny(" \n") && task.IsFalse(problem, _text.ToString()))
            FalseAt = Count;
    }

    /// <summary>All that came.</summary>
    public override string ToString() => _text.ToString();
}
