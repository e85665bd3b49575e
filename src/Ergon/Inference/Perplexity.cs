namespace Ergon.Inference;

/// <summary>How well a model predicts a text.</summary>
/// <param name="Value">exp of the mean negative log-likelihood; less is better.</param>
/// <param name="StandardError">Of <paramref name="Value"/>, from the spread of the single tokens.</param>
/// <param name="Tokens">Predicted tokens that were counted.</param>
/// <param name="Chunks">Chunks that they came from.</param>
public sealed record PerplexityResult(double Value, double StandardError, int Tokens, int Chunks);

/// <summary>The loss of one chunk, the negative log-likelihood of its tokens in nats.</summary>
/// <param name="Sum">Over the tokens that count.</param>
/// <param name="Squares">Their squares' sum.</param>
/// <param name="Tokens">How many.</param>
internal readonly record struct ChunkLoss(double Sum, double Squares, int Tokens);

/// <summary>
/// Perplexity by the rules of <c>llama-perplexity</c>, so that figures can be compared: the text is cut into
/// chunks of the context's length, the first token of each is replaced by the beginning of sequence where the
/// model wants one, and only the second half of a chunk counts.
/// </summary>
public static class Perplexity
{
    /// <summary>Measures a text.</summary>
    /// <param name="model">A model with no open session.</param>
    /// <param name="text">At least two chunks of text; one line break at its end does not count.</param>
    /// <param name="progress">Told the result so far after each chunk, and how many chunks there are.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    /// <exception cref="ErgonException">The text is shorter than two chunks.</exception>
    public static async Task<PerplexityResult> MeasureAsync(ErgonModel model, string text, IProgress<(PerplexityResult SoFar, int Chunks)>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(text);
        var tokens = Tokens(model, text);
        var chunks = tokens.Length / model.ContextLength;
        List<ChunkLoss> losses = [];
        while (losses.Count < chunks)
        {
            losses.Add(await MeasureAsync(model, tokens, losses.Count, cancellation).ConfigureAwait(false));
            progress?.Report((Result(losses), chunks));
        }
        return Result(losses);
    }

    /// <summary>A text's tokens, of which whole contexts are chunks.</summary>
    /// <exception cref="ErgonException">They are fewer than two chunks.</exception>
    internal static int[] Tokens(ErgonModel model, string text)
    {
        var tokens = model.Tokenizer.Tokenize(text.EndsWith('\n') ? text[..^1] : text, addSpecial: true, parseSpecial: false);
        var length = model.ContextLength;
        if (length < 4)
            throw new ErgonException($"ctx is {length}, but perplexity needs chunks of 4 tokens or more.");
        return tokens.Length >= 2 * length ? tokens
            : throw new ErgonException($"The text has {tokens.Length} tokens, but two chunks of {length} are needed; use a longer text or a smaller --ctx.");
    }

    /// <summary>Measures one chunk, so that other work of the engine comes between two.</summary>
    internal static Task<ChunkLoss> MeasureAsync(ErgonModel model, int[] tokens, int chunk, CancellationToken cancellation)
    {
        var own = tokens.AsMemory(chunk * model.ContextLength, model.ContextLength);
        return model.Batcher.InvokeAsync(engine => Measure(engine, model, own.Span, cancellation));
    }

    /// <summary>Of the chunks measured, at least one.</summary>
    internal static PerplexityResult Result(IReadOnlyList<ChunkLoss> chunks)
    {
        var count = chunks.Sum(c => c.Tokens);
        var mean = chunks.Sum(c => c.Sum) / count;
        var error = count > 1 ? Math.Sqrt(Math.Max(0, (chunks.Sum(c => c.Squares) / count) - (mean * mean)) / (count - 1)) : 0;
        return new PerplexityResult(Math.Exp(mean), Math.Exp(mean) * error, count, chunks.Count);
    }

    private static ChunkLoss Measure(IEngine engine, ErgonModel model, ReadOnlySpan<int> tokens, CancellationToken cancellation)
    {
        var sequence = engine.Cells.Open() ?? throw new ErgonException("All sessions of this model are open; perplexity needs one for itself.");
        try
        {
            model.Batcher.Held.Add(sequence);
            double sum = 0, squares = 0;
            var count = 0;
            var (vocabulary, tokenizer) = (engine.VocabularySize, model.Tokenizer);
            for (var start = 0; start < tokens.Length; start += Engine.MaxRows)
            {
                cancellation.ThrowIfCancellationRequested();
                var rows = new PassRow[Math.Min(Engine.MaxRows, tokens.Length - start)];
                for (var i = 0; i < rows.Length; i++)
                {
                    var position = start + i;
                    var token = position == 0 && tokenizer.Vocabulary.AddsBos ? tokenizer.Vocabulary.Bos : tokens[position];
                    rows[i] = new PassRow(sequence, token, WantsLogits: position >= tokens.Length / 2 && position < tokens.Length - 1);
                }
                if (!model.Batcher.TryRun(rows, out var logits))
                    throw new ErgonException($"The cache has no room for a chunk of {tokens.Length} tokens beside what the open sessions keep; close them.");
                for (var i = 0; i < rows.Length; i++)
                {
                    if (!rows[i].WantsLogits)
                        continue;
                    var loss = -LogSoftmax.Of(logits[..vocabulary], tokens[start + i + 1]);
                    (sum, squares, count) = (sum + loss, squares + (loss * loss), count + 1);
                    logits = logits[vocabulary..];
                }
            }
            return new ChunkLoss(sum, squares, count);
        }
        finally
        {
            model.Batcher.Held.Remove(sequence);
            engine.Cells.Close(sequence);
        }
    }
}
