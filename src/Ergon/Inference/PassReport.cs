using System.Diagnostics;

namespace Ergon.Inference;

/// <summary>What one segment did in a pass.</summary>
/// <param name="Device">The device's name.</param>
/// <param name="Stages">What it computed.</param>
/// <param name="Rows">For how many rows.</param>
/// <param name="Began">A timestamp of <see cref="Stopwatch"/>.</param>
/// <param name="Ended">Likewise, when its results were in host memory.</param>
/// <param name="Flops">Multiplications and additions of matrix products and of attention, each counted as one; masked products are not.</param>
/// <param name="MemoryBytes">Weights, keys and values that it read, and keys and values that it wrote; of each once a pass, whatever the device's caches did.</param>
/// <param name="TransferBytes">What went in and out of the device: token ids, masks, boundary values, logits.</param>
internal readonly record struct SegmentReport(string Device, StageRange Stages, int Rows, long Began, long Ended, double Flops, double MemoryBytes, long TransferBytes)
{
    /// <summary>Which of the engine's placements it is.</summary>
    public int Placement { get; init; }

    /// <summary>How long it took.</summary>
    public TimeSpan Elapsed => Stopwatch.GetElapsedTime(Began, Ended);
}

/// <summary>The rows of one sequence in a pass.</summary>
/// <param name="Sequence">The sequence; of an embedding model, the call.</param>
/// <param name="Rows">How many.</param>
/// <param name="IsPrompt">Whether they are a prompt's, or a token that was generated.</param>
/// <param name="Context">Positions that the sequence had before; not counted for an embedding model.</param>
internal readonly record struct PassPart(int Sequence, int Rows, bool IsPrompt, int Context = 0);

/// <summary>What a pass was for and what it took.</summary>
/// <param name="Segments">What each segment did.</param>
/// <param name="Parts">Whose rows.</param>
/// <param name="AllBefore">A timestamp of <see cref="Stopwatch"/>: every pass that began before it has been reported, this one included. Earlier than now where others are in flight.</param>
internal sealed record PassReport(IReadOnlyList<SegmentReport> Segments, IReadOnlyList<PassPart> Parts, long AllBefore);
