using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning.Stopping;

namespace Ergon.Reasoning.Evaluation;

/// <summary>What a draw took, in joules, as its receipt has it. Every figure is <see langword="null"/> where it is unknown.</summary>
/// <param name="Joules">Prefill, decode and idle, and the verifier where a meter sees it.</param>
/// <param name="Prefill">Of its prompt; the first draw of a problem computes that for all.</param>
/// <param name="Decode">Of its tokens.</param>
/// <param name="Idle">Its share of what no pass explains.</param>
/// <param name="Check">Of the verifier, a process of its own; <see langword="null"/> where none was asked or no meter sees it.</param>
/// <param name="Source">The meters, such as <c>measured:rapl</c>.</param>
/// <param name="Quality">How the figure came about.</param>
/// <param name="Reason">Why there is no figure, or none that is measured.</param>
internal sealed record DrawEnergy(double? Joules, double? Prefill, double? Decode, double? Idle, double? Check, string? Source, EnergyQuality? Quality, string? Reason)
{
    /// <summary>Of a receipt for generating, and of one for the verifier: a model of our passes does not see that.</summary>
    public static DrawEnergy Of(Receipt drawn, Receipt? check)
    {
        var verifying = check is { Quality: not EnergyQuality.Modelled } ? check.Energy?.Value : null;
        return new DrawEnergy(drawn.Energy?.Value + (verifying ?? 0), drawn.Prefill?.Value, drawn.Decode?.Value, drawn.Idle?.Value, verifying, drawn.Source, drawn.Quality, drawn.Reason);
    }
}

/// <summary>One draw of an evaluation: a line of its journal.</summary>
internal sealed record EvaluatedDraw
{
    /// <summary>The problem's index in the data set, from 0.</summary>
    public required int Item { get; init; }

    /// <summary>Which of the problem's draws, from 0.</summary>
    public required int Sample { get; init; }

    /// <summary>The problem's name.</summary>
    public required string Id { get; init; }

    /// <summary>The model's.</summary>
    public required string Text { get; init; }

    /// <summary>The canonical answer in it; <see langword="null"/> where there is none.</summary>
    public string? Answer { get; init; }

    /// <summary>Whether that is right.</summary>
    public bool Right { get; init; }

    /// <inheritdoc cref="Draw.Verified"/>
    public bool? Verified { get; init; }

    /// <inheritdoc cref="Draw.Evidence"/>
    public double? Evidence { get; init; }

    /// <inheritdoc cref="Draw.LogProbability"/>
    public double? LogProbability { get; init; }

    /// <summary>Of a chunk of text, which is a problem without an answer; <see langword="null"/> for a draw.</summary>
    public ChunkLoss? Loss { get; init; }

    /// <summary>Of an option that was chosen by its likelihood, its share among the options'; <see langword="null"/> for a text.</summary>
    public double? Share { get; init; }

    /// <inheritdoc cref="BookedDraw.FalseAt"/>
    public int? FalseAt { get; init; }

    /// <summary>Of the problem, in the cache or not.</summary>
    public int PromptTokens { get; init; }

    /// <summary>Generated.</summary>
    public int Tokens { get; init; }

    /// <summary>From its beginning to its last token.</summary>
    public double Seconds { get; init; }

    /// <summary>How long the evaluation had worked when it was written, time between interrupted runs left out.</summary>
    public double At { get; init; }

    /// <summary>What it took; <see langword="null"/> where nothing was metered.</summary>
    public DrawEnergy? Energy { get; init; }

    /// <summary>What a policy sees of it.</summary>
    public Draw Seen() => new(Answer, Verified, Evidence, LogProbability);

    /// <summary>The draw as it is where it ends with its first false step. Joules of decoding and waiting are thought to go by tokens, and nobody is asked to verify it.</summary>
    public EvaluatedDraw Abandoned()
    {
        if (FalseAt is not { } at)
            return this;
        var tokens = Math.Min(at, Tokens);
        var (share, e) = (Tokens > 0 ? tokens / (double)Tokens : 1, Energy);
        return this with
        {
            Answer = null,
            Right = false,
            Verified = null,
            Evidence = 0,
            LogProbability = null,
            Tokens = tokens,
            Energy = e is null ? null : e with { Joules = e.Prefill + (share * (e.Decode + e.Idle)), Decode = share * e.Decode, Idle = share * e.Idle, Check = null },
        };
    }
}
