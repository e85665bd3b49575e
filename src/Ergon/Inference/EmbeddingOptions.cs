using Microsoft.Extensions.Logging;

namespace Ergon.Inference;

/// <summary>How a model is loaded to embed texts.</summary>
public sealed record EmbeddingOptions
{
    /// <summary>How a text's tokens become one vector; <see langword="null"/> for what the file says.</summary>
    public Pooling? Pooling { get; init; }

    /// <summary>Whether vectors are scaled to a length of 1, so that their product is the cosine of their angle. Default true.</summary>
    public bool Normalize { get; init; } = true;

    /// <summary>Whether a text longer than the context loses its end; otherwise it is refused. Default false.</summary>
    public bool Truncate { get; init; }

    /// <summary>Tokens that a text can have; <see langword="null"/> for the lesser of the model's own and 8192.</summary>
    public int? ContextLength { get; init; }

    /// <summary>The name of the device to run on; <see langword="null"/> for the fastest that holds the model.</summary>
    public string? Device { get; init; }

    /// <summary>CPU threads; <see langword="null"/> for one per physical core.</summary>
    public int? Threads { get; init; }

    /// <summary>Receives the native libraries' messages, as <see cref="ModelOptions.Logger"/> does.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>Told the share loaded, 0 to 1, on the loading thread.</summary>
    public IProgress<double>? Progress { get; init; }
}
