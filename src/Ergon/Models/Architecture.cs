using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>How a layer normalises its input.</summary>
internal enum NormKind
{
    /// <summary>Root mean square, a weight and no bias.</summary>
    Rms,

    /// <summary>Mean and variance, a weight and a bias.</summary>
    Layer,
}

/// <summary>What lies between the two matrices of a feed-forward block.</summary>
internal enum Activation
{
    /// <summary>silu(gate) * up, three matrices.</summary>
    SwiGlu,

    /// <summary>gelu(up), two matrices.</summary>
    Gelu,
}

/// <summary>
/// One family of models as data: what <c>general.architecture</c> means for the graph. The one builder in
/// <c>Inference</c> lowers it; a new family is a new row here and at most one new block there.
/// </summary>
internal sealed record Architecture
{
    /// <summary>The value of <c>general.architecture</c>.</summary>
    public required string Name { get; init; }

    public required NormKind Norm { get; init; }

    public required Activation Activation { get; init; }

    /// <summary>How rotary positions pair up; <see langword="null"/> where positions are learned and added to the embedding.</summary>
    public required RopeMode? Rope { get; init; }

    /// <summary>Whether every matrix of a layer must have a bias; otherwise those that are in the file are used.</summary>
    public bool BiasesRequired { get; init; }

    /// <summary>Whether <c>rope_freqs.weight</c> may scale the rotary frequencies (Llama 3.1 and later).</summary>
    public bool RopeFactors { get; init; }

    /// <summary>Every family that Ergon's own graph describes.</summary>
    public static IReadOnlyList<Architecture> All { get; } =
    [
        new() { Name = "llama", Norm = NormKind.Rms, Activation = Activation.SwiGlu, Rope = RopeMode.Normal, RopeFactors = true },
        new() { Name = "qwen2", Norm = NormKind.Rms, Activation = Activation.SwiGlu, Rope = RopeMode.NeoX },
        new() { Name = "gpt2", Norm = NormKind.Layer, Activation = Activation.Gelu, Rope = null, BiasesRequired = true },
    ];

    /// <summary>The family of that name; <see langword="null"/> when Ergon's graph does not describe it.</summary>
    public static Architecture? Find(string name) => All.FirstOrDefault(a => a.Name == name);
}
