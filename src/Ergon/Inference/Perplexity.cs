using Ergon.Models;

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
    public static Task<PerplexityResult> MeasureAsync(ErgonModel model, string text, IProgress<(PerplexityResult SoFar, int Chunks)>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(text);
        var tokens = model.Tokenizer.Tokenize(text.EndsWith('\n') ? text[..^1] : text, addSpecial: true, parseSpecial: false);
        var length = model.ContextLength;
        if (tokens.Length < 2 * length)
            throw new ErgonException($"The text has {tokens.Length} tokens, but two chunks of {length} are needed; use a longer text or a smaller --ctx.");
        return model.InvokeAsync(engine => Measure(engine, model.Tokenizer, tokens, length, progress, cancellation));
    }

    private static PerplexityResult Measure(Engine engine, Tokenizer tokenizer, int[] tokens, int length, IProgress<(PerplexityResult, int)>? progress, CancellationToken cancellation)
    {
        var sequence = engine.Cells.Open() ?? throw new ErgonException("A session of this model is open; perplexity needs the model to itself.");
        try
        {
            var chunks = tokens.Length / length;
            double sum = 0, squares = 0;
            var counted = 0;
            var vocabulary = engine.Model.VocabularySize;
            for (var chunk = 0; chunk < chunks; chunk++)
            {
                engine.Cells.Truncate(sequence, 0);
                var own = tokens.AsSpan(chunk * length, length);
                for (var start = 0; start < length; start += Engine.MaxRows)
                {
                    cancellation.ThrowIfCancellationRequested();
                    var rows = new PassRow[Math.Min(Engine.MaxRows, length - start)];
                    for (var i = 0; i < rows.Length; i++)
                    {
                        var position = start + i;
                        var token = position == 0 && tokenizer.Vocabulary.AddsBos ? tokenizer.Vocabulary.Bos : own[position];
                        rows[i] = new PassRow(sequence, token, WantsLogits: position >= length / 2 && position < length - 1);
                    }
                    engine.TryRun(rows, out var logits);
                    for (var i = 0; i < rows.Length; i++)
                    {
                        if (!rows[i].WantsLogits)
                            continue;
                        var loss = NegativeLogLikelihood(logits[..vocabulary], own[start + i + 1]);
                        sum += loss;
                        squares += loss * loss;
                        counted++;
                        logits = logits[vocabulary..];
                    }
                }
                progress?.Report((Result(chunk + 1), chunks));
            }
            return Result(chunks);

            PerplexityResult Result(int done)
            {
                var mean = sum / counted;
                var error = counted > 1 ? Math.Sqrt(Math.Max(0, (squares / counted) - (mean * mean)) / (counted - 1)) : 0;
                return new PerplexityResult(Math.Exp(mean), Math.Exp(mean) * error, counted, done);
            }
        }
        finally
        {
            engine.Cells.Close(sequence);
        }
    }

    private static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int token)
    {
        var max = float.NegativeInfinity;
        foreach (var logit in logits)
            max = Math.Max(max, logit);
        double sum = 0;
        foreach (var logit in logits)
            sum += Math.Exp(logit - max);
        return Math.Log(sum) - (logits[token] - max);
    }
}
