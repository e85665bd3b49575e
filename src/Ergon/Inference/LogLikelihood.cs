namespace Ergon.Inference;

/// <summary>How likely a model finds a given text after a prompt.</summary>
/// <param name="LogProbability">ln P(text | prompt), the sum over its tokens, each under the model's own distribution (softmax of the raw logits at temperature 1).</param>
/// <param name="Tokens">How many tokens that counts.</param>
public readonly record struct TextLikelihood(double LogProbability, int Tokens)
{
    /// <summary>The mean over the tokens, which does not favour short texts; 0 without tokens.</summary>
    public double PerToken => Tokens == 0 ? 0 : LogProbability / Tokens;
}

/// <summary>Log-likelihoods of texts that go on from one prompt, which is computed once; the texts share passes.</summary>
public static class LogLikelihood
{
    /// <summary>Scores texts.</summary>
    /// <param name="model">With two free sessions or more; more let more texts share a pass.</param>
    /// <param name="prompt">What stands before each of them.</param>
    /// <param name="texts">Tokenized together with the prompt: a token that reaches over the border counts as the text's.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    /// <exception cref="ErgonException">A text adds no token, does not fit the context, or there is no free session.</exception>
    public static async Task<IReadOnlyList<TextLikelihood>> ScoreAsync(ErgonModel model, string prompt, IReadOnlyList<string> texts, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(texts);
        var before = model.Tokenizer.Tokenize(prompt, addSpecial: true, parseSpecial: false);
        return await ScoreTokensAsync(model, before, [.. texts.Select(t => Whole(model, prompt, t))], cancellation).ConfigureAwait(false);
    }

    /// <summary>The same of tokens.</summary>
    /// <param name="model">As above.</param>
    /// <param name="before">The prompt's.</param>
    /// <param name="wholes">Each text's with the prompt's; no longer than the context.</param>
    /// <param name="cancellation">As above.</param>
    internal static async Task<IReadOnlyList<TextLikelihood>> ScoreTokensAsync(ErgonModel model, int[] before, int[][] wholes, CancellationToken cancellation)
    {
        // The token before the first that counts gives the logits for it.
        var starts = wholes.Select(w => w.AsSpan().CommonPrefixLength(before)).ToArray();
        if (starts.Contains(0))
            throw new ErgonException("The prompt is empty, and this model adds no token of its own; give it some text.");
        if (wholes.Zip(starts).FirstOrDefault(w => w.First.Length == w.Second).First is not null)
            throw new ErgonException("A text to score adds no token to the prompt; leave empty ones out.");
        return wholes.Length == 0 ? [] : await model.Batcher.InvokeAsync(engine => new Scoring(model.Batcher, engine, wholes, starts, cancellation).Run()).ConfigureAwait(false);
    }

    private static int[] Whole(ErgonModel model, string prompt, string text)
    {
        var tokens = model.Tokenizer.Tokenize(prompt + text, addSpecial: true, parseSpecial: false);
        return tokens.Length <= model.ContextLength ? tokens
            : throw new ErgonException($"The prompt and a text to score have {tokens.Length} tokens, but the context holds {model.ContextLength}; shorten them or use a larger --ctx.");
    }

    // On the engine's thread, all of it between two passes of generations.
    private sealed class Scoring(Batcher batcher, IEngine engine, int[][] texts, int[] starts, CancellationToken cancellation)
    {
        private readonly double[] _sums = new double[texts.Length];
        private readonly List<int> _open = [];
        private readonly List<PassRow> _rows = [];
        private readonly List<(int Text, int Position)> _wanted = []; // whose token's logits each row with some is to give

        public TextLikelihood[] Run()
        {
            try
            {
                var root = Keep(engine.Cells.Open());
                var shared = starts.Min();
                // The last token of the shared part gives the logits for every text that leaves it there.
                for (var i = 0; i < shared; i++)
                {
                    Add(new PassRow(root, texts[0][i], WantsLogits: i == shared - 1));
                }
                RunRows(logits =>
                {
                    for (var t = 0; t < texts.Length; t++)
                    {
                        if (starts[t] == shared)
                            _sums[t] += LogSoftmax.Of(logits, texts[t][shared]);
                    }
                });
                for (var t = 0; t < texts.Length; t++)
                    Follow(t, root, shared);
                Flush(root);
                return [.. texts.Select((text, t) => new TextLikelihood(_sums[t], text.Length - starts[t]))];
            }
            finally
            {
                _open.ForEach(Close);
            }
        }

        private void Follow(int text, int root, int shared)
        {
            var tokens = texts[text];
            // What follows the shared part, but for the last token, which predicts nothing that counts.
            if (tokens.Length - 1 <= shared)
                return;
            if (_rows.Count + tokens.Length - 1 - shared > Engine.MaxRows || engine.Cells.Fork(root, shared) is not { } fork)
            {
                Flush(root);
                fork = Keep(engine.Cells.Fork(root, shared));
            }
            else
            {
                Keep(fork);
            }
            for (var i = shared; i < tokens.Length - 1; i++)
            {
                var wants = i + 1 >= starts[text];
                if (wants)
                    _wanted.Add((text, i + 1));
                Add(new PassRow(fork, tokens[i], wants));
            }
        }

        private void Add(PassRow row)
        {
            if (_rows.Count == Engine.MaxRows)
                RunRows(Count);
            _rows.Add(row);
        }

        private void Flush(int root)
        {
            RunRows(Count);
            foreach (var fork in _open.Where(s => s != root).ToArray())
            {
                Close(fork);
                _open.Remove(fork);
            }
        }

        private void Count(ReadOnlySpan<float> logits)
        {
            var vocabulary = engine.VocabularySize;
            var done = logits.Length / vocabulary;
            for (var i = 0; i < done; i++)
            {
                var (text, position) = _wanted[i];
                _sums[text] += LogSoftmax.Of(logits.Slice(i * vocabulary, vocabulary), texts[text][position]);
            }
            _wanted.RemoveRange(0, done);
        }

        private delegate void Reader(ReadOnlySpan<float> logits);

        private void RunRows(Reader read)
        {
            if (_rows.Count == 0)
                return;
            cancellation.ThrowIfCancellationRequested();
            if (!batcher.TryRun(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_rows), out var logits))
                throw new ErgonException($"The cache has no room for {_rows.Count} tokens to score beside what runs; load the model with a larger CacheLength.");
            _rows.Clear();
            if (!Engine.IsFinite(logits))
                throw new ErgonException("The model gave logits that are not finite numbers: its weights are damaged or the device computes wrongly. Try the file on another device with --device.");
            read(logits);
        }

        private int Keep(int? sequence)
        {
            var kept = sequence ?? throw new ErgonException($"Scoring texts needs 2 free sessions, and {engine.Cells.MaxSequences} can be open; load the model with a larger MaxSequences, or dispose others.");
            _open.Add(kept);
            batcher.Held.Add(kept);
            return kept;
        }

        private void Close(int sequence)
        {
            batcher.Held.Remove(sequence);
            engine.Cells.Close(sequence);
        }
    }
}
