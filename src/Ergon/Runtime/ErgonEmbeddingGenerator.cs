using Ergon.Inference;
using Microsoft.Extensions.AI;

namespace Ergon.Runtime;

/// <summary>A local model behind Microsoft.Extensions.AI's embedding interface. Safe for concurrent use; calls take turns.</summary>
/// <param name="model">The model; disposed with the generator when <paramref name="ownsModel"/>.</param>
/// <param name="ownsModel">Whether the generator disposes the model.</param>
/// <param name="monitor">Having loaded the model, it meters the calls: embeddings then have a <see cref="Ergon.Energy.Receipt"/> in
/// <c>AdditionalProperties[<see cref="EnergyMonitor.ReceiptKey"/>]</c>. The generator does not dispose it. <see langword="null"/>: none.</param>
/// <exception cref="ErgonException">The model was loaded without the monitor.</exception>
public sealed class ErgonEmbeddingGenerator(EmbeddingModel model, bool ownsModel = false, EnergyMonitor? monitor = null) : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly EnergyMonitor? _monitor = monitor?.Knowing(model);

    /// <summary>Loads a GGUF file and makes a generator that owns it.</summary>
    /// <exception cref="ErgonException">As <see cref="EmbeddingModel.Load"/>.</exception>
    /// <exception cref="InvalidOperationException">The monitor meters a model already.</exception>
    public static ErgonEmbeddingGenerator Load(string path, EmbeddingOptions? options = null, EnergyMonitor? monitor = null) =>
        new(monitor?.Load(() => EmbeddingModel.Load(path, options)) ?? EmbeddingModel.Load(path, options), ownsModel: true, monitor);

    /// <inheritdoc/>
    /// <exception cref="ErgonException">As <see cref="EmbeddingModel.EmbedAsync"/>, or the options ask for vectors of another length.</exception>
    public async Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (options?.Dimensions is { } dimensions && dimensions != model.Dimensions)
            throw new ErgonException($"EmbeddingGenerationOptions.Dimensions is {dimensions}, but this model gives {model.Dimensions}; leave it out.");
        int[][] texts = [.. values.Select(model.Tokenize)];
        var (vectors, receipt) = _monitor is null ? (await model.EmbedTokensAsync(texts, cancellationToken).ConfigureAwait(false), null)
            : await _monitor.EmbedAsync(model, texts, cancellationToken).ConfigureAwait(false);
        var tokens = texts.Sum(t => (long)t.Length);
        return new(vectors.Select(v => new Embedding<float>(v) { ModelId = model.Description.Name }))
        {
            Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens },
            AdditionalProperties = receipt is null ? null : new() { [EnergyMonitor.ReceiptKey] = receipt },
        };
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType.IsInstanceOfType(this) ? this
            : serviceType.IsInstanceOfType(model) ? model
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("ergon", null, model.Description.Name, model.Dimensions)
            : null;
    }

    /// <summary>Frees the model where the generator owns it.</summary>
    public void Dispose()
    {
        if (ownsModel)
            model.Dispose();
    }
}
