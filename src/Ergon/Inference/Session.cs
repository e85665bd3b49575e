using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ergon.Inference;

/// <summary>
/// A sequence of tokens that grows by prompts and generations. What it computed stays in the cache: a prompt
/// that begins like the last one continues from there. One generation at a time; dispose it to give its
/// cache back.
/// </summary>
public sealed class Session : IDisposable
{
    private readonly ErgonModel _model;
    private readonly Batcher _batcher;
    private readonly int _sequence;
    private readonly List<int> _tokens = [];
    private readonly CancellationTokenSource _disposing = new();
    private readonly Lock _gate = new();
    private bool _busy;
    private bool _disposed;

    private Session(ErgonModel model, Batcher batcher, int sequence) => (_model, _batcher, _sequence) = (model, batcher, sequence);

    /// <summary>Counts and times of the last generation; <see langword="null"/> before the first ends, while one runs, and after one failed.</summary>
    public GenerationStatistics? Statistics { get; private set; }

    /// <summary>Its id in the engine.</summary>
    internal int Sequence => _sequence;

    /// <summary>The last prompt and what was generated after it.</summary>
    internal IReadOnlyList<int> Tokens => _tokens;

    /// <summary>How many first tokens of a prompt are those this session ended with.</summary>
    internal int CommonPrefix(ReadOnlySpan<int> prompt) => CollectionsMarshal.AsSpan(_tokens).CommonPrefixLength(prompt);

    internal static async Task<Session> OpenAsync(ErgonModel model, Batcher batcher) =>
        await batcher.InvokeAsync(engine => engine.Cells.Open()).ConfigureAwait(false) is { } sequence
            ? new Session(model, batcher, sequence)
            : throw TooMany(model);

    /// <summary>Opens a session that begins with everything this one has computed, which is shared, not copied.</summary>
    /// <exception cref="ErgonException">As many sessions are open as the model was loaded for.</exception>
    /// <exception cref="InvalidOperationException">A generation is running.</exception>
    public async Task<Session> ForkAsync()
    {
        Enter();
        try
        {
            var (sequence, length) = await _batcher.InvokeAsync(engine =>
            {
                var id = engine.Cells.Fork(_sequence, engine.Cells.Length(_sequence));
                if (id is not { } forked)
                    return (id, 0);
                _batcher.Use(forked);
                return (id, engine.Cells.Length(forked));
            }).ConfigureAwait(false);
            var fork = new Session(_model, _batcher, sequence ?? throw TooMany(_model));
            fork._tokens.AddRange(_tokens[..length]);
            return fork;
        }
        finally
        {
            Leave();
        }
    }

    internal static async Task<Session> RestoreAsync(ErgonModel model, Batcher batcher, Stream source, CancellationToken cancellation)
    {
        var session = await OpenAsync(model, batcher).ConfigureAwait(false);
        var sequence = session._sequence;
        try
        {
            session._tokens.AddRange(await SessionState.ReadAsync(source, model, sequence, Reserve, cancellation).ConfigureAwait(false));
            batcher.TryPost(_ => batcher.Held.Remove(sequence));
            return session;
        }
        catch
        {
            batcher.TryPost(engine =>
            {
                batcher.Held.Remove(sequence);
                engine.Discard(sequence);
            });
            session.Dispose();
            throw;
        }

        Task Reserve(int count) => batcher.InvokeAsync(engine =>
        {
            // An engine that hands out nothing computes the saved tokens again when they are asked for.
            if (engine.CellLayout().Length > 0 && !(batcher.TryMakeRoom(count) && engine.TryReserve(sequence, count)))
                throw new ErgonException($"The saved session has {count} tokens, but only {engine.Cells.Free} of the cache's {engine.Cells.Capacity} positions are free; dispose other sessions, or load the model with a larger CacheLength.");
            batcher.Use(sequence);
            return batcher.Held.Add(sequence);
        });
    }

    /// <summary>Writes what this session has computed, to go on from there in another engine or process: <see cref="ErgonModel.RestoreSessionAsync"/>.</summary>
    /// <param name="destination">Gets the tokens' ids, keys and values, about as many bytes as they take in the cache.</param>
    /// <param name="cancellation">Stops writing, which leaves an incomplete stream.</param>
    /// <exception cref="InvalidOperationException">A generation is running.</exception>
    public async Task SaveAsync(Stream destination, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        Enter();
        try
        {
            var computed = await _batcher.InvokeAsync(engine =>
            {
                _batcher.Held.Add(_sequence);
                // What is not handed out is computed again, all of it or a part.
                return engine.CellLayout().Length > 0 ? engine.Cells.Length(_sequence) : Math.Min(_tokens.Count, _model.ContextLength);
            }).ConfigureAwait(false);
            await SessionState.WriteAsync(destination, _model, _sequence, _tokens[..computed].ToArray(), cancellation).ConfigureAwait(false);
        }
        finally
        {
            _batcher.TryPost(_ => _batcher.Held.Remove(_sequence));
            Leave();
        }
    }

    /// <summary>Generates after a prompt.</summary>
    /// <param name="prompt">The whole prompt, what was said before included; token ids of the model's vocabulary.</param>
    /// <param name="options">What to generate; <see langword="null"/> for greedy tokens up to the end of the answer or of the context.</param>
    /// <param name="cancellation">Ends the generation between two passes.</param>
    /// <exception cref="ErgonException">The prompt is empty or does not fit, an option is out of range, or the model failed.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; <see cref="Statistics"/> tell what was done.</exception>
    /// <exception cref="InvalidOperationException">Another generation of this session is running.</exception>
    public IAsyncEnumerable<GeneratedToken> GenerateAsync(IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellation = default) =>
        ResumeAsync(prompt, [], options ?? new GenerationOptions(), cancellation);

    /// <summary>Goes on with a generation of which the first tokens are known, as if it had just produced them.</summary>
    /// <param name="prompt">As for <see cref="GenerateAsync"/>.</param>
    /// <param name="generated">The tokens that it gave, which are not given again; their text is not either.</param>
    /// <param name="options">As they were, the seed included; mirostat, which learns from logits, begins anew.</param>
    /// <param name="cancellation">Ends the generation between two passes.</param>
    internal async IAsyncEnumerable<GeneratedToken> ResumeAsync(IReadOnlyList<int> prompt, IReadOnlyList<int> generated, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        var began = Stopwatch.GetTimestamp();
        options.Validate(_model.Description.VocabularySize);
        Validate(prompt);
        if (generated.Any(t => (uint)t >= (uint)_model.Description.VocabularySize))
            throw new ErgonException("A token that was generated before is not in the vocabulary.");
        Enter();
        Statistics = null;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _disposing.Token);
        Generation? generation = null;
        try
        {
            // The last token is computed anew in any case: its logits are what the answer begins with.
            int[] known = [.. prompt, .. generated];
            var reusable = Math.Min(CommonPrefix(known), known.Length - 1);
            _tokens.Clear();
            _tokens.AddRange(known);
            var starting = new Generation(_sequence, known, generated.Count, reusable, options, _model, began, stop.Token);
            try
            {
                _batcher.Start(starting);
            }
            catch
            {
                starting.Dispose();
                throw;
            }
            generation = starting;
            await foreach (var token in generation.Tokens.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                if (token.Id >= 0)
                    _tokens.Add(token.Id);
                yield return token;
            }
            cancellation.ThrowIfCancellationRequested();
            ObjectDisposedException.ThrowIf(_disposed, this);
        }
        finally
        {
            if (generation is not null)
            {
                // A reader that went away early leaves the engine running until it is told.
                await stop.CancelAsync().ConfigureAwait(false);
                await DrainAsync(generation).ConfigureAwait(false);
                Statistics = generation.Statistics;
            }
            Leave();
        }
    }

    private async Task DrainAsync(Generation generation)
    {
        try
        {
            await foreach (var unread in generation.Tokens.ReadAllAsync().ConfigureAwait(false))
            {
                if (unread.Id >= 0)
                    _tokens.Add(unread.Id);
            }
        }
#pragma warning disable CA1031 // whoever reads the tokens got it
        catch
#pragma warning restore CA1031
        {
        }
    }

    private void Validate(IReadOnlyList<int> prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        if (prompt.Count == 0)
            throw new ErgonException("The prompt is empty, and this model adds no token of its own; give it some text.");
        if (prompt.Count > _model.ContextLength)
            throw new ErgonException($"The prompt has {prompt.Count} tokens, but the context holds {_model.ContextLength}; shorten it or use a larger --ctx.");
        if (prompt.FirstOrDefault(t => (uint)t >= (uint)_model.Description.VocabularySize, -1) is var stranger && stranger != -1)
            throw new ErgonException($"Token id {stranger} is not in the vocabulary, whose ids are 0 to {_model.Description.VocabularySize - 1}.");
    }

    private void Enter()
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_busy)
                throw new InvalidOperationException("A generation of this session is running; wait for it, or fork the session.");
            _busy = true;
        }
    }

    private void Leave()
    {
        lock (_gate)
        {
            _busy = false;
            if (_disposed)
                Close();
        }
    }

    // Only while nothing runs: another session may be given the sequence's id at once.
    private void Close() => _batcher.TryPost(engine => engine.Cells.Close(_sequence));

    private static ErgonException TooMany(ErgonModel model) => new($"All {model.MaxSequences} sessions of this model are open; dispose one, or load the model with a larger MaxSequences.");

    /// <summary>Ends the generation that runs, if any, and gives the session's cache back.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            if (!_busy)
                Close();
        }
        _disposing.Cancel();
    }
}
