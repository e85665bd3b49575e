using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// Runs an engine on its one thread and lets generations of several sequences share its passes: each pass
/// carries one row of every sequence that decodes, then prompts, of which short ones are not kept waiting by long
/// ones. A generation that the cache has no room for waits until it has. Its methods may be called from any thread.
/// </summary>
internal sealed class Batcher : IDisposable
{
    // Rows of prompts in a pass beside which somebody decodes, and waits for the whole pass.
    private const int PromptRowsBesideDecoding = 128;

    // A generation starts when there is room for its prompt and so many tokens; the rest shows.
    private const int RoomToBegin = 32;

    private readonly List<Generation> _waiting = []; // in order; those that gave way come first
    private readonly List<Generation> _running = []; // in the order in which they began
    private readonly List<Generation> _prefilling = [];
    private readonly List<(Generation Generation, int Rows, bool IsPrompt)> _inPass = [];
    private readonly Dictionary<int, long> _lastUse = []; // the pass that last extended a sequence
    private readonly PassRow[] _rows = new PassRow[Engine.MaxRows];
    private readonly EngineThread<IEngine> _thread;
    private IEngine _engine = null!; // for its thread
    private Candidates _candidates = null!;
    private long _passes;
    private bool _discarded;

    /// <param name="open">Opens the engine, on the thread that will use it; the batcher owns it.</param>
    public Batcher(Func<IEngine> open) => _thread = new EngineThread<IEngine>(typeof(ErgonModel), () =>
    {
        _engine = open();
        _candidates = new Candidates(_engine.VocabularySize);
        return _engine;
    }, _ => Work(), End);

    /// <summary>Told of each pass, on the engine's thread.</summary>
    public event Action<PassReport>? PassCompleted;

    /// <summary>Sequences that keep what they have even when the cache is full; for the engine's thread alone.</summary>
    public HashSet<int> Held { get; } = [];

    /// <summary>Runs <paramref name="action"/> between two passes, on the engine's thread.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public Task<T> InvokeAsync<T>(Func<IEngine, T> action) => _thread.InvokeAsync(action);

    /// <summary>Runs <paramref name="action"/> between two passes unless the engine is gone, and does not wait.</summary>
    public void TryPost(Action<IEngine> action)
    {
        try
        {
            _thread.Post(action);
        }
        catch (ObjectDisposedException)
        {
            // Then there is nothing left to act on.
        }
    }

    /// <summary>Starts a generation, whose tokens appear in its channel.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public void Start(Generation generation)
    {
        _thread.Post(engine => Enter(engine, generation));
        // Where nothing runs, because somebody holds the cache, nobody else would notice.
        generation.Cancellation.Register(() => TryPost(static _ => { }));
    }

    private void Enter(IEngine engine, Generation generation)
    {
        _waiting.Add(generation);
        // Now and not before: until it waits here, its sequence may be made to forget.
        generation.Reuse(engine.Cells.Truncate(generation.Sequence, Math.Min(generation.Reusable, engine.Cells.Length(generation.Sequence))));
        // One that is resumed may have had its last token.
        generation.EndIfComplete();
    }

    private bool Work()
    {
        try
        {
            RunPass();
        }
#pragma warning disable CA1031 // each reader gets it, and the engine goes on with the next
        catch (Exception e)
#pragma warning restore CA1031
        {
            foreach (var (generation, _, _) in _inPass)
                generation.Fail(e);
        }
        RemoveEnded(_running);
        RemoveEnded(_waiting);
        // Whoever holds a part of the cache wakes the thread when it is free.
        return _running.Count > 0 || (_waiting.Count > 0 && Held.Count == 0);
    }

    private void End()
    {
        foreach (var generation in _running.Concat(_waiting))
        {
            generation.Fail(new ObjectDisposedException(nameof(ErgonModel)));
            generation.Dispose();
        }
    }

    private static void RemoveEnded(List<Generation> generations)
    {
        foreach (var generation in generations)
        {
            if (generation.Ended)
                generation.Dispose();
        }
        generations.RemoveAll(static g => g.Ended);
    }

    private void RunPass()
    {
        Admit();
        var count = Gather();
        if (count == 0)
            return;
        ReadOnlySpan<float> logits;
        while (!_engine.TryRun(_rows.AsSpan(0, count), out logits))
        {
            if (!ForgetIdle())
            {
                GiveWay();
                return;
            }
        }
        _passes++;
        foreach (var (generation, rows, _) in _inPass)
        {
            _lastUse[generation.Sequence] = _passes;
            generation.Advance(rows);
        }
        PassCompleted?.Invoke(new PassReport(_engine.Reports.ToArray(), [.. _inPass.Select(p => new PassPart(p.Generation.Sequence, p.Rows, p.IsPrompt))]));
        var vocabulary = _engine.VocabularySize;
        foreach (var (generation, _, _) in _inPass)
        {
            if (generation.Left > 0)
                continue;
            Accept(generation, logits[..vocabulary]);
            logits = logits[vocabulary..];
        }
        if (!_discarded)
            return;
        _discarded = false;
        // What an engine forgot of the others too is computed again.
        foreach (var generation in _running.Concat(_waiting).Where(g => g.Next > _engine.Cells.Length(g.Sequence)))
            generation.StartOver();
    }

    // What goes wrong with one generation is its own affair.
    private void Accept(Generation generation, ReadOnlySpan<float> logits)
    {
        try
        {
            if (Engine.IsFinite(logits))
            {
                generation.Accept(logits, _candidates);
                return;
            }
            _discarded = true;
            _engine.Discard(generation.Sequence);
            generation.Fail(new ErgonException("The model gave logits that are not finite numbers: its weights are damaged or the device computes wrongly. Try the file on another device with --device."));
        }
#pragma warning disable CA1031 // its reader gets it
        catch (Exception e)
#pragma warning restore CA1031
        {
            generation.Fail(e);
        }
    }

    // Strictly in order, or a long prompt would wait for ever behind short ones.
    private void Admit()
    {
        while (_waiting.Count > 0 && _running.Count < _rows.Length)
        {
            var next = _waiting[0];
            // Those that run have room of their own to come.
            var promised = 0;
            foreach (var generation in _running)
                promised += generation.Left + (generation.IsPrefilling ? RoomToBegin : 0);
            if (!next.Ended && !next.Cancellation.IsCancellationRequested && (_running.Count > 0 || Held.Count > 0) && !TryMakeRoom(promised + next.Left + RoomToBegin, next))
                return;
            _waiting.RemoveAt(0);
            _running.Add(next);
        }
    }

    /// <summary>Makes sessions that rest forget, those first that rested longest, until so many positions are free; forgets nothing where that would not do. For the engine's thread alone.</summary>
    public bool TryMakeRoom(int positions) => TryMakeRoom(positions, starting: null);

    /// <summary>Notes that a sequence was used, so that others forget first. For the engine's thread alone.</summary>
    public void Use(int sequence) => _lastUse[sequence] = _passes;

    private bool TryMakeRoom(int positions, Generation? starting)
    {
        if (_engine.Cells.Free >= positions)
            return true;
        // At most so much: what sequences share is counted for each.
        var most = _engine.Cells.Free + Idle(starting).Sum(_engine.Cells.Length) + _waiting.Where(w => HasGivable(w, starting)).Sum(w => w.Next);
        if (most < positions)
            return false;
        while (_engine.Cells.Free < positions)
        {
            if (!ForgetIdle(starting))
                return false;
        }
        return true;
    }

    // Sessions keep what they computed in case they go on; under pressure the one that rested longest starts over.
    private bool ForgetIdle(Generation? starting = null)
    {
        var idle = Idle(starting).OrderBy(s => _lastUse.GetValueOrDefault(s)).ToArray();
        if (idle.Length > 0)
        {
            _engine.Cells.Truncate(idle[0], 0);
            return true;
        }
        // What one that waits had computed is worth less than what runs.
        if (_waiting.FindLast(w => HasGivable(w, starting)) is not { } waits)
            return false;
        TakeBack(waits);
        return true;
    }

    private bool HasGivable(Generation waiting, Generation? starting) => waiting is { Next: > 0, Ended: false } && waiting != starting && !Held.Contains(waiting.Sequence);

    private IEnumerable<int> Idle(Generation? starting)
    {
        var busy = _running.Concat(_waiting.Where(w => w.Next > 0)).Select(g => g.Sequence).Concat(Held).ToHashSet();
        if (starting is not null)
            busy.Add(starting.Sequence);
        return Enumerable.Range(0, _engine.Cells.MaxSequences).Where(s => _engine.Cells.IsOpen(s) && !busy.Contains(s) && _engine.Cells.Length(s) > 0);
    }

    private void TakeBack(Generation generation)
    {
        _engine.Cells.Truncate(generation.Sequence, 0);
        generation.StartOver();
    }

    // With nothing idle left, the generation that began last gives its room to the others and comes again when there
    // is some; alone, it needs more than the cache has.
    private void GiveWay()
    {
        var last = _running.FindLast(g => !g.Ended)!;
        // What is held, because it is being saved or restored, is free again soon.
        if (_running.Count(g => !g.Ended) > 1 || Held.Count > 0)
        {
            TakeBack(last);
            _running.Remove(last);
            _waiting.Insert(0, last);
        }
        else if (last.IsPrefilling)
        {
            last.Fail(new ErgonException($"The cache holds {_engine.Cells.Capacity} positions for all sessions, and this prompt needs {last.Left} more than the {_engine.Cells.Capacity - _engine.Cells.Free} in use; load the model with a larger CacheLength."));
        }
        else
        {
            last.End(FinishReason.Length);
        }
    }

    // Fills the rows of the next pass: decoding rows first, since each makes somebody wait for one token. Prompts
    // share the rest equally, but for what the shortest of them do not need.
    private int Gather()
    {
        _inPass.Clear();
        _prefilling.Clear();
        EndCancelled(_waiting);
        EndCancelled(_running);
        var count = 0;
        foreach (var generation in _running)
        {
            if (generation.Ended)
                continue;
            if (generation.IsPrefilling)
                _prefilling.Add(generation);
            else if (count < _rows.Length)
                Take(generation, 1, ref count);
        }
        var room = count == 0 ? _rows.Length : Math.Min(_rows.Length - count, PromptRowsBesideDecoding);
        _prefilling.Sort(static (a, b) => a.Left.CompareTo(b.Left));
        for (var i = 0; i < _prefilling.Count && room > 0; i++)
            room -= Take(_prefilling[i], Math.Max(1, room / (_prefilling.Count - i)), ref count);
        return count;
    }

    private static void EndCancelled(List<Generation> generations)
    {
        foreach (var generation in generations)
        {
            if (!generation.Ended && generation.Cancellation.IsCancellationRequested)
                generation.End(FinishReason.Cancelled);
        }
    }

    private int Take(Generation generation, int rows, ref int count)
    {
        var isPrompt = generation.IsPrefilling;
        var tokens = generation.NextChunk(rows);
        for (var i = 0; i < tokens.Length; i++)
            _rows[count++] = new PassRow(generation.Sequence, tokens[i], WantsLogits: i == generation.Left - 1);
        generation.EnterPass();
        _inPass.Add((generation, tokens.Length, isPrompt));
        return tokens.Length;
    }

    /// <summary>Ends all generations and frees the engine.</summary>
    public void Dispose() => _thread.Dispose();
}
