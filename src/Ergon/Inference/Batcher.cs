using System.Collections.Concurrent;
using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// Runs an engine on its one thread and lets generations of several sequences share its passes: each pass
/// carries one row of every sequence that decodes, then chunks of prompts. Its methods may be called from
/// any thread.
/// </summary>
internal sealed class Batcher : IDisposable
{
    private readonly IEngine _engine;
    private readonly Candidates _candidates;
    private readonly ConcurrentQueue<Action> _work = new();
    private readonly SemaphoreSlim _wake = new(0);
    private readonly List<Generation> _running = [];
    private readonly List<(Generation Generation, int Rows)> _inPass = [];
    private readonly Dictionary<int, long> _lastUse = []; // the pass that last extended a sequence
    private readonly PassRow[] _rows = new PassRow[Engine.MaxRows];
    private readonly Lock _gate = new();
    private readonly Thread _thread;
    private long _passes;
    private volatile bool _stopping;

    /// <param name="open">Opens the engine, on the thread that will use it; the batcher owns it.</param>
    public Batcher(Func<IEngine> open)
    {
        var opened = new TaskCompletionSource<IEngine>();
        _thread = new Thread(() => Loop(open, opened)) { IsBackground = true, Name = "ergon engine" };
        _thread.Start();
        _engine = opened.Task.GetAwaiter().GetResult();
        _candidates = new Candidates(_engine.VocabularySize);
    }

    /// <summary>Sequences that keep what they have even when the cache is full; for the engine's thread alone.</summary>
    public HashSet<int> Held { get; } = [];

    /// <summary>Runs <paramref name="action"/> between two passes, on the engine's thread.</summary>
    public Task<T> InvokeAsync<T>(Func<IEngine, T> action)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(() =>
        {
            try
            {
                done.SetResult(action(_engine));
            }
#pragma warning disable CA1031 // the caller gets it
            catch (Exception e)
#pragma warning restore CA1031
            {
                done.SetException(e);
            }
        });
        return done.Task;
    }

    /// <summary>Runs <paramref name="action"/> between two passes unless the engine is gone, and does not wait.</summary>
    public void TryPost(Action<IEngine> action)
    {
        try
        {
            Post(() => action(_engine));
        }
        catch (ObjectDisposedException)
        {
            // Then there is nothing left to act on.
        }
    }

    /// <summary>Starts a generation, whose tokens appear in its channel.</summary>
    public void Start(Generation generation) => Post(() =>
    {
        _running.Add(generation);
        // One that is resumed may have had its last token.
        generation.EndIfComplete();
    });

    private void Post(Action action)
    {
        // Under the gate, so that whatever is queued before the stop is done before the engine goes.
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopping, typeof(ErgonModel));
            _work.Enqueue(action);
        }
        _wake.Release();
    }

    private void Loop(Func<IEngine> open, TaskCompletionSource<IEngine> opened)
    {
        IEngine engine;
        try
        {
            engine = open();
        }
#pragma warning disable CA1031 // the constructor throws it
        catch (Exception e)
#pragma warning restore CA1031
        {
            opened.SetException(e);
            return;
        }
        opened.SetResult(engine);
        while (!_stopping)
        {
            if (_running.Count == 0)
                _wake.Wait();
            while (_work.TryDequeue(out var action))
                action();
            try
            {
                RunPass();
            }
#pragma warning disable CA1031 // each reader gets it, and the engine goes on with the next
            catch (Exception e)
#pragma warning restore CA1031
            {
                foreach (var (generation, _) in _inPass)
                    generation.Fail(e);
            }
            foreach (var generation in _running)
            {
                if (generation.Ended)
                    generation.Dispose();
            }
            _running.RemoveAll(g => g.Ended);
        }
        while (_work.TryDequeue(out var action))
            action();
        foreach (var generation in _running)
        {
            generation.Fail(new ObjectDisposedException(nameof(ErgonModel)));
            generation.Dispose();
        }
        engine.Dispose();
    }

    private void RunPass()
    {
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
        var vocabulary = _engine.VocabularySize;
        foreach (var (generation, rows) in _inPass)
        {
            _lastUse[generation.Sequence] = _passes;
            if (generation.PromptLeft.Length > 0)
                generation.AdvancePrompt(rows);
            if (generation.PromptLeft.Length > 0)
                continue;
            Accept(generation, logits[..vocabulary]);
            logits = logits[vocabulary..];
        }
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

    // Sessions keep what they computed in case they go on; under pressure the one that rested longest starts over.
    private bool ForgetIdle()
    {
        var busy = _running.Select(g => g.Sequence).ToHashSet();
        var idle = Enumerable.Range(0, _engine.Cells.MaxSequences)
            .Where(s => _engine.Cells.IsOpen(s) && !busy.Contains(s) && !Held.Contains(s) && _engine.Cells.Length(s) > 0)
            .OrderBy(s => _lastUse.GetValueOrDefault(s))
            .ToArray();
        if (idle.Length == 0)
            return false;
        _engine.Cells.Truncate(idle[0], 0);
        return true;
    }

    // With nothing idle left, the generation that asks for most ends, and the others go on.
    private void GiveWay()
    {
        var largest = _inPass.MaxBy(p => p.Rows).Generation;
        if (largest.PromptLeft.Length > 0)
            largest.Fail(new ErgonException($"The cache holds {_engine.Cells.Capacity} positions for all sessions, and this prompt needs more than the {_engine.Cells.Free} left; wait for other generations, or load the model with a larger CacheLength."));
        else
            largest.End(FinishReason.Length);
    }

    // Fills the rows of the next pass: decoding rows first, since each makes somebody wait for one token.
    private int Gather()
    {
        _inPass.Clear();
        var count = 0;
        foreach (var generation in _running)
        {
            if (generation.Cancellation.IsCancellationRequested)
                generation.End(FinishReason.Cancelled);
            else if (generation.PromptLeft.Length == 0 && count < _rows.Length)
                Take(generation, [generation.Pending], ref count);
        }
        foreach (var generation in _running)
        {
            if (!generation.Ended && generation.PromptLeft.Length > 0 && count < _rows.Length)
                Take(generation, generation.NextChunk(_rows.Length - count), ref count);
        }
        return count;
    }

    private void Take(Generation generation, ReadOnlySpan<int> tokens, ref int count)
    {
        var last = tokens.Length == Math.Max(1, generation.PromptLeft.Length) ? tokens.Length - 1 : -1;
        for (var i = 0; i < tokens.Length; i++)
            _rows[count++] = new PassRow(generation.Sequence, tokens[i], WantsLogits: i == last);
        generation.EnterPass();
        _inPass.Add((generation, tokens.Length));
    }

    /// <summary>Ends all generations and frees the engine.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopping)
                return;
            _stopping = true;
        }
        _wake.Release();
        _thread.Join();
    }
}
