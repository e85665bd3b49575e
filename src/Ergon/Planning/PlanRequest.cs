using Ergon.Native;
using Ergon.Units;

namespace Ergon.Planning;

/// <summary>What a unit of a plan is.</summary>
internal enum Granularity
{
    /// <summary>The embedding, each layer, the head.</summary>
    Layer,

    /// <summary>The embedding, of each layer its attention (with the projection before it) and its feed-forward block, the head.</summary>
    HalfLayer,
}

/// <summary>What the chosen plan is best in.</summary>
public enum PlanPolicy
{
    /// <summary>The fewest joules a token.</summary>
    Energy,

    /// <summary>The fewest seconds a token.</summary>
    Latency,

    /// <summary>The least product of the two.</summary>
    Edp,

    /// <summary>The knee: closest to the best of both, each scaled by its range over the front.</summary>
    Balanced,
}

/// <summary>The requests that a plan is for.</summary>
internal sealed record Workload
{
    /// <summary>Tokens of each prompt; 0: decode alone is planned.</summary>
    public int Prompt { get; init; } = 512;

    /// <summary>Tokens of each answer.</summary>
    public int Tokens { get; init; } = 256;

    /// <summary>Sequences that decode in one pass.</summary>
    public int Batch { get; init; } = 1;

    /// <summary>Passes under way at a time, each at another device; 1: one after another.</summary>
    public int InFlight { get; init; } = 1;

    /// <summary>Cells of the cache for each sequence; <see langword="null"/>: as many as prompt and answer take.</summary>
    public int? Context { get; init; }

    /// <summary>How keys and values are stored.</summary>
    public GgmlType CacheType { get; init; } = GgmlType.F16;

    /// <summary>Rows of a prompt that go through the model at a time.</summary>
    public int Chunk { get; init; } = 512;

    /// <summary>Cells that each sequence has.</summary>
    public int Cells => Context ?? (Prompt + Tokens);

    /// <summary>Refuses what cannot be.</summary>
    /// <exception cref="ErgonException">One sentence: setting, value, remedy.</exception>
    public Workload Validated()
    {
        foreach (var (name, value, least) in ((string, int, int)[])[("prompt", Prompt, 0), ("tokens", Tokens, 1), ("batch", Batch, 1), ("in flight", InFlight, 1), ("chunk", Chunk, 1)])
        {
            if (value < least)
                throw new ErgonException($"A plan's {name} is {value}, but must be {least} or more; give another number.");
        }
        return Cells >= Prompt + Tokens ? this
            : throw new ErgonException($"A plan's context is {Cells}, but {Prompt} tokens of prompt and {Tokens} of answer need {Prompt + Tokens}; raise the context, or lower the two.");
    }
}

/// <summary>What a plan must keep, beside every device's own limits.</summary>
public sealed record PlanLimits
{
    /// <summary>Time of a request, prompt included, over the tokens of its answer.</summary>
    public Seconds? MaxLatency { get; init; }

    /// <summary>Mean power of all devices that are on, in prefill and in decode.</summary>
    public Watts? PowerCap { get; init; }

    /// <summary>A steady temperature below the devices' own limits.</summary>
    public Celsius? MaxTemperature { get; init; }

    /// <summary>The share of every memory that must stay free; <see langword="null"/>: as the profiles say.</summary>
    public double? Reserve { get; init; }

    /// <summary>Of the air.</summary>
    public Celsius Ambient { get; init; } = new(25);
}
