namespace Ergon.Inference;

/// <summary>How well a model predicts a text.</summary>
/// <param name="Value">exp of the mean negative log-likelihood; less is better.</param>
/// <param name="StandardError">Of <paramref name="Value"/>, from the spread of the single tokens.</param>
/// <param name="Tokens">Predicted tokens that were counted.</param>
/// <param name="Chunks">Chunks that they came from.</param>
public sealed record PerplexityResult(double Value, double StandardError, int Tokens, int Chunks);

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
        var tokens = model.Tokenizer.Tokenize(text.EndsWith('\n') ? text[..^1] : text, addSpecial: true, parseSpecial: false);
        var length = model.ContextLength;
        if (length < 4)
            throw new ErgonException($"ctx is {length}, but perplexity needs chunks of 4 tokens or more.");
        if (tokens.Length < 2 * length)
            throw new ErgonException($"The text has {tokens.Length} tokens, but two chunks of {length} are needed; use a longer text or a smaller --ctx.");
        var chunks = tokens.Length / length;
        var losses = new Losses();
        for (var chunk = 0; chunk < chunks; chunk++)
        {
            var own = tokens.AsMemory(chunk * length, length);
            // A chunk at a time, so that other work of the engine comes in between.
            await model.Batcher.InvokeAsync(engine => Measure(engine, model, own.Span, losses, cancellation)).ConfigureAwait(false);
            progress?.Report((losses.Result(chunk + 1), chunks));
        }
        return losses.Result(chunks);
    }

    private static bool Measure(IEngine engine, ErgonModel model, ReadOnlySpan<int> tokens, Losses losses, CancellationToken cancellation)
    {
        var sequence = engine.Cells.Open() ?? throw new ErgonException("All sessions of this model are open; perplexity needs one for itself.");
        try
        {
            model.Batcher.Held.Add(sequence);
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
                    losses.Add(-LogSoftmax.Of(logits[..vocabulary], tokens[start + i + 1]));
                    logits = logits[vocabulary..];
                }
            }
            return true;
        }
        finally
        {
            model.Batcher.Held.Remove(sequence);
            engine.Cells.Close(sequence);
        }
    }

    private sealed class Losses
    {
        private double _sum;
        private double _squares;
        private int _count;

        public void Add(double loss)
        {
            _sum += loss;
            _squares += loss * loss;
            _count++;
        }

        public PerplexityResult Result(int chunks)
        {
            var mean = _sum / _count;
            var error = _count > 1 ? Math.Sqrt(Math.Max(0, (_squares / _count) - (mean * mean)) / (_count - 1)) : 0;
            return new PerplexityResult(Math.Exp(mean), Math.Exp(mean) * error, _count, chunks);
        }
    }
}
