using System.Runtime.Intrinsics.X86;
using Ergon.Models;
using Ergon.Native;
using Microsoft.Extensions.Logging;

namespace Ergon.Inference;

/// <summary>How keys and values are stored in the cache.</summary>
public enum KvCacheType
{
    /// <summary>16-bit floating point, 2 bytes a value.</summary>
    F16,

    /// <summary>8-bit blocks, 1.06 bytes a value.</summary>
    Q8_0,

    /// <summary>4-bit blocks, 0.56 bytes a value; costs accuracy.</summary>
    Q4_0,

    /// <summary>
    /// 32-bit floating point, 4 bytes a value: fastest for small models whose heads are shorter than 64 values on processors with AVX-512.
    /// </summary>
    F32,
}

/// <summary>The tensor types of cache types.</summary>
internal static class KvCacheTypes
{
    // ggml's loops over F16 take this many values at a time with AVX-512, and what is left one by one; loops over F32 leave nothing to that.
    private const int HalvesAtOnce = 64;

    /// <summary>What is taken where nobody chose: F16, or F32 where attention over F16 would go value by value, which takes about five times as long.</summary>
    /// <param name="model">Whose heads.</param>
    /// <param name="onCpu">Whether all of it runs on processors.</param>
    public static KvCacheType Default(ModelInfo model, bool onCpu) =>
        onCpu && Avx512F.IsSupported && model is ModelDescription { HeadLength: < HalvesAtOnce } ? KvCacheType.F32 : KvCacheType.F16; // libllama turns F32 into F16 before it attends

    /// <summary>What keys and values are stored as.</summary>
    /// <exception cref="ErgonException">It is none of the defined types.</exception>
    public static GgmlType Storage(this KvCacheType type) => type switch
    {
        KvCacheType.F16 => GgmlType.F16,
        KvCacheType.Q8_0 => GgmlType.Q8_0,
        KvCacheType.Q4_0 => GgmlType.Q4_0,
        KvCacheType.F32 => GgmlType.F32,
        _ => throw new ErgonException($"The cache type is {type}, but must be {string.Join(", ", Enum.GetNames<KvCacheType>())}."),
    };
}

/// <summary>What computes a model.</summary>
public enum EngineChoice
{
    /// <summary>Ergon's own graph where it describes the model, otherwise libllama.</summary>
    Auto,

    /// <summary>Ergon's own graph.</summary>
    Ergon,

    /// <summary>libllama, the model as a whole.</summary>
    Libllama,
}

/// <summary>How a model is loaded.</summary>
public sealed record ModelOptions
{
    /// <summary>What computes the model. Default <see cref="EngineChoice.Auto"/>.</summary>
    public EngineChoice Engine { get; init; }

    /// <summary>
    /// A program and its first arguments, such as <c>ergon dev libllama-trial</c>, that lets libllama try a model in a
    /// process of its own before it runs here; <see langword="null"/> for no trial. Without it a damaged file of an
    /// architecture that Ergon does not describe may end this process, unless that is a worker's.
    /// </summary>
    public IReadOnlyList<string>? TrialCommand { get; init; }

    /// <summary>The name of the device to run on; <see langword="null"/> for the fastest that holds the model.</summary>
    public string? Device { get; init; }

    /// <summary>Positions a sequence can have; <see langword="null"/> for the least of the model's own, 8192, and what memory holds.</summary>
    public int? ContextLength { get; init; }

    /// <summary>CPU threads; <see langword="null"/> for one per physical core, fewer for a small model.</summary>
    public int? Threads { get; init; }

    /// <summary>How keys and values are stored; <see langword="null"/> for F16, or F32 where heads are short and a processor is faster with it (<see cref="KvCacheType.F32"/>).</summary>
    public KvCacheType? KvType { get; init; }

    /// <summary>Sessions that may be open at once, up to 256. Default 1.</summary>
    public int MaxSequences { get; init; } = 1;

    /// <summary>Positions of all sessions together, shared prefixes counted once; <see langword="null"/> for a full context for each session.</summary>
    public int? CacheLength { get; init; }

    /// <summary>Receives the native libraries' messages, which are the process's own: the logger given last gets them all. <see langword="null"/> leaves it as it is.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Told the share loaded, 0 to 1, on the loading thread.</summary>
    public IProgress<double>? Progress { get; init; }

    /// <summary>What runs on which device, threads included, instead of <see cref="Device"/> and <see cref="Threads"/>; <see langword="null"/> for all on one.</summary>
    internal IReadOnlyList<Placement>? Placements { get; init; }

    /// <summary>Whether the tiers of <see cref="Placements"/> are for phases: 0 for prompts, 1 for decoding.</summary>
    internal bool TiersArePhases { get; init; }
}
