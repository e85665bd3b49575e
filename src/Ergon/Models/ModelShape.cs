namespace Ergon.Models;

/// <summary>The hyperparameters of a published model, for files of random weights in its shape.</summary>
/// <param name="Name">As its makers write it, in lower case.</param>
/// <param name="Architecture">The value of <c>general.architecture</c>.</param>
/// <param name="Layers">Transformer layers.</param>
/// <param name="Embedding">Width of the residual stream.</param>
/// <param name="FeedForward">Width of the feed-forward blocks.</param>
/// <param name="Heads">Query heads a layer.</param>
/// <param name="HeadsKv">Key and value heads a layer.</param>
/// <param name="HeadLength">Values a head.</param>
/// <param name="Vocabulary">Tokens.</param>
/// <param name="Context">Positions that the model was trained on.</param>
/// <param name="RopeBase">Base of the rotary frequencies; 0 where positions are learned.</param>
internal sealed record ModelShape(
    string Name, string Architecture, int Layers, int Embedding, int FeedForward, int Heads, int HeadsKv, int HeadLength,
    int Vocabulary, int Context, float RopeBase)
{
    /// <summary>Whether the embedding is the output matrix too.</summary>
    public bool TiedOutput { get; init; } = true;

    /// <summary>Whether a tensor scales the rotary frequencies.</summary>
    public bool RopeFactors { get; init; }

    public float NormEpsilon { get; init; } = 1e-5f;

    /// <summary>Layers with a short convolution in attention's place.</summary>
    public IReadOnlyList<int> Convolutions { get; init; } = [];

    /// <summary>Positions that a short convolution reads, its own included.</summary>
    public int ConvolutionLength { get; init; }

    /// <summary>Every shape that is known by name.</summary>
    public static IReadOnlyList<ModelShape> All { get; } =
    [
        new("gpt2", "gpt2", 12, 768, 3072, 12, 12, 64, 50257, 1024, 0),
        new("smollm2-135m", "llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, 1e5f),
        new("tinyllama-1.1b", "llama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, 1e4f) { TiedOutput = false },
        new("llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5f) { RopeFactors = true },
        new("llama-3.2-3b", "llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, 5e5f) { RopeFactors = true },
        new("llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5f) { RopeFactors = true, TiedOutput = false },
        new("qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768, 1e6f) { NormEpsilon = 1e-6f },
        new("qwen2.5-1.5b", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 131072, 1e6f) { NormEpsilon = 1e-6f },
        new("qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960, 1e6f) { NormEpsilon = 1e-6f },
        new("granite-3.1-2b", "granite", 40, 2048, 8192, 32, 8, 64, 49155, 131072, 5e6f),
        // All of its layers attend, so that its files are of 'granite', not of the hybrid family.
        new("granite-4.0-350m", "granite", 28, 1024, 2048, 16, 4, 64, 100352, 32768, 1e7f),
        new("lfm2-1.2b", "lfm2", 16, 2048, 8192, 32, 8, 64, 65536, 128000, 1e6f) { Convolutions = [0, 1, 3, 4, 6, 7, 9, 11, 13, 15], ConvolutionLength = 3 },
        new("lfm2-2.6b", "lfm2", 30, 2048, 10752, 32, 8, 64, 65536, 128000, 1e6f) { Convolutions = [.. Enumerable.Range(0, 30).Except([2, 5, 9, 13, 17, 21, 24, 27])], ConvolutionLength = 3 },
    ];
}
