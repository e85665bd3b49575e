using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>How a layer normalises.</summary>
internal enum NormKind
{
    /// <summary>Root mean square, a weight and no bias.</summary>
    Rms,

    /// <summary>Mean and variance, a weight and a bias.</summary>
    Layer,
}

/// <summary>Where a layer normalises: what goes into its attention and its feed-forward block, what comes out, or the residual stream with that added.</summary>
[Flags]
internal enum NormPlaces
{
    Before = 1,
    After = 2,
    Sum = 4,
}

/// <summary>What of the queries and keys is normalised before they get their positions.</summary>
internal enum QueryKeyNorm
{
    None,

    /// <summary>Each head on its own, by one weight for all heads.</summary>
    Heads,

    /// <summary>All heads of a row together.</summary>
    Rows,
}

/// <summary>What lies between the first and the last matrix of a feed-forward block.</summary>
internal enum Activation
{
    /// <summary>silu(gate) * up, three matrices.</summary>
    SwiGlu,

    /// <summary>silu(gate) * up, gate and up in one matrix.</summary>
    FusedSwiGlu,

    /// <summary>gelu(gate) * up, three matrices.</summary>
    GeGlu,

    /// <summary>gelu(up), two matrices.</summary>
    Gelu,
}

/// <summary>Layers that look back over a window of positions only.</summary>
/// <param name="Period">The last of so many layers looks at all positions, unless the file says which do; 0: none does.</param>
internal sealed record SlidingWindow(int Period)
{
    /// <summary>Positions, where the file does not say; <see langword="null"/>: then no layer has a window.</summary>
    public int? Length { get; init; }

    /// <summary>Rotary base of these layers where the file does not say; <see langword="null"/> for that of the others.</summary>
    public float? FrequencyBase { get; init; }

    /// <summary>Whether the context's stretching by <c>rope.scaling</c> is for these layers too.</summary>
    public bool Stretched { get; init; }
}

/// <summary>
/// One family of models as data: what <c>general.architecture</c> means for the graph. The one builder in
/// <c>Inference</c> lowers it; a new family is a new row here and at most one new block there.
/// </summary>
internal sealed record Architecture
{
    /// <summary>The value of <c>general.architecture</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Whether every token sees the whole text: such a model embeds texts and generates none.</summary>
    public bool Encoder { get; init; }

    public NormKind Norm { get; init; } = NormKind.Rms;

    public NormPlaces NormPlaces { get; init; } = NormPlaces.Before;

    public QueryKeyNorm QueryKeyNorm { get; init; }

    public Activation Activation { get; init; } = Activation.SwiGlu;

    /// <summary>Whether each feed-forward block is a choice of experts.</summary>
    public bool Experts { get; init; }

    /// <summary>Whether layers without key heads have a short convolution in attention's place.</summary>
    public bool Convolutions { get; init; }

    /// <summary>How rotary positions pair up; <see langword="null"/> where positions are learned and added to the embedding.</summary>
    public required RopeMode? Rope { get; init; }

    /// <summary>Whether <c>rope.dimension_count</c> may be less than a head.</summary>
    public bool PartialRope { get; init; }

    /// <summary>Whether tensors may scale the rotary frequencies: <c>rope_freqs</c> (Llama 3.1 and later), or a long and a short set (LongRoPE).</summary>
    public bool RopeFactors { get; init; }

    /// <summary>The last of so many layers has no positions; 0 where all have.</summary>
    public int NoRopePeriod { get; init; }

    /// <summary>Whether <c>rope.scaling.finetuned</c> can take the positions from all layers.</summary>
    public bool RopeOptional { get; init; }

    /// <summary>The tensor of the norm before the output, without its suffix.</summary>
    public string OutputNorm { get; init; } = "output_norm";

    /// <summary>Whether every matrix of a layer must have a bias; otherwise those that are in the file are used.</summary>
    public bool BiasesRequired { get; init; }

    public SlidingWindow? Window { get; init; }

    /// <summary>Whether the file may scale the embedding, the residuals, attention and the logits.</summary>
    public bool Multipliers { get; init; }

    /// <summary>Whether the embedding is multiplied by the root of its width.</summary>
    public bool EmbeddingTimesRoot { get; init; }

    /// <summary>Whether attention's scale is multiplied into the queries before, not into the products after.</summary>
    public bool ScalesQueries { get; init; }

    /// <summary>A model of so many layers scales attention by width / heads, which is not its head's length.</summary>
    public int ScaledByWidthAt { get; init; }

    /// <summary>Attention scores stay within this, softly, where the file does not say otherwise; 0: no bound.</summary>
    public float? AttentionCap { get; init; }

    /// <summary>Logits stay within this, softly, where the file does not say otherwise; 0: no bound.</summary>
    public float? LogitCap { get; init; }

    /// <summary>Every family that Ergon's own graph describes.</summary>
    public static IReadOnlyList<Architecture> All { get; } =
    [
        new() { Name = "llama", Rope = RopeMode.Normal, RopeFactors = true },
        new() { Name = "qwen2", Rope = RopeMode.NeoX },
        new() { Name = "qwen3", Rope = RopeMode.NeoX, QueryKeyNorm = QueryKeyNorm.Heads },
        new() { Name = "qwen3moe", Rope = RopeMode.NeoX, QueryKeyNorm = QueryKeyNorm.Heads, Experts = true },
        new() { Name = "granite", Rope = RopeMode.Normal, RopeFactors = true, RopeOptional = true, Multipliers = true },
        new() { Name = "phi3", Rope = RopeMode.NeoX, RopeFactors = true, PartialRope = true, Activation = Activation.FusedSwiGlu, ScalesQueries = true },
        new()
        {
            Name = "gemma2", Rope = RopeMode.NeoX, NormPlaces = NormPlaces.Before | NormPlaces.After, Activation = Activation.GeGlu,
            Window = new(2) { Length = 4096, Stretched = true }, EmbeddingTimesRoot = true, ScalesQueries = true, ScaledByWidthAt = 46,
            AttentionCap = 50, LogitCap = 30,
        },
        new()
        {
            Name = "gemma3", Rope = RopeMode.NeoX, NormPlaces = NormPlaces.Before | NormPlaces.After, QueryKeyNorm = QueryKeyNorm.Heads,
            Activation = Activation.GeGlu, Window = new(6) { FrequencyBase = 10000 }, EmbeddingTimesRoot = true, ScalesQueries = true,
            ScaledByWidthAt = 62, LogitCap = 0,
        },
        new() { Name = "smollm3", Rope = RopeMode.Normal, NoRopePeriod = 4 },
        new() { Name = "olmo2", Rope = RopeMode.NeoX, NormPlaces = NormPlaces.After, QueryKeyNorm = QueryKeyNorm.Rows, Window = new(4) },
        new()
        {
            Name = "lfm2", Rope = RopeMode.NeoX, QueryKeyNorm = QueryKeyNorm.Heads, Convolutions = true, Window = new(0) { Stretched = true },
            OutputNorm = "token_embd_norm",
        },
        new() { Name = "bert", Encoder = true, Norm = NormKind.Layer, NormPlaces = NormPlaces.Sum, Activation = Activation.Gelu, Rope = null },
        new() { Name = "nomic-bert", Encoder = true, Norm = NormKind.Layer, NormPlaces = NormPlaces.Sum, Rope = RopeMode.NeoX },
        new() { Name = "gpt2", Norm = NormKind.Layer, Activation = Activation.Gelu, Rope = null, BiasesRequired = true },
    ];

    /// <summary>The family of that name; <see langword="null"/> when Ergon's graph does not describe it.</summary>
    public static Architecture? Find(string name) => All.FirstOrDefault(a => a.Name == name);
}
