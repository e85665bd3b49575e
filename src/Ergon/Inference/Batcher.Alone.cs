using System.Diagnostics;

namespace Ergon.Inference;

/// <summary>Passes that somebody runs between those of generations.</summary>
internal sealed partial class Batcher
{
    /// <summary>Computes rows in a pass of their own and tells of it as of any other. Only within <see cref="InvokeAsync"/>; sequences that must not forget meanwhile are <see cref="Held"/>.</summary>
    /// <param name="rows">As for <see cref="IEngine.TryBegin"/>.</param>
    /// <param name="logits">As of <see cref="IEngine.Complete"/>.</param>
    /// <returns>False where the cache has no room even when sessions at rest forget.</returns>
    public bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits)
    {
        while (!_engine.TryRun(rows, out logits))
        {
            if (!ForgetIdle())
                return false;
        }
        _passes++;
        List<PassPart> parts = [];
        for (int i = 0, count; i < rows.Length; i += count)
        {
            count = Runs.Length(rows[i..]);
            parts.Add(new PassPart(rows[i].Sequence, count, IsPrompt: true, _engine.Cells.Length(rows[i].Sequence) - count));
        }
        PassCompleted?.Invoke(new PassReport(_engine.Reports.ToArray(), parts, Stopwatch.GetTimestamp()));
        return true;
    }
}
