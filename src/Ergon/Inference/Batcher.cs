using System.Diagnostics;
using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// Runs an engine on its one thread and lets generations of several sequences share its passes: each pass
/// carries one row of every sequence that decodes, then prompts, of which short ones are not kept waiting by long
/// ones. Where passes can be in flight on several devices, each is of a part of the generations. A generation that the
/// cache has no room for waits until it has. Its methods may be called from any thread.
/// </summary>
internal sealed partial class Batcher : IDisposable
{
    // Rows of prompts in a pass beside which somebody decodes, and waits for the whole pass.
    private const int PromptRowsBesideDecoding = 128;

    // Rows of a prompt for which a sequence goes back to the devices of prompts: a row's arithmetic is worth some cells' way.
    private const int LeastToMove = 32, RowsPerCell = 16;

    private readonly List<Generation> _waiting = []; // in order; those that gave way come first
    private readonly List<Generation> _running = []; // in the order in which they began
    private readonly List<Generation> _ready = [];
    private readonly List<Generation> _prefilling = [];
    private readonly Queue<Taken> _inFlight = [];
    private readonly Stack<Taken> _unused = [];
    private readonly Dictionary<int, long> _lastUse = []; // the pass that last extended a sequence
    private readonly PassRow[] _rows = new PassRow[Engine.MaxRows];
    private readonly EngineThread<IEngine> _thread;
    private IEngine _engine = null!; // for its thread
    private Candidates _candidates = null!;
    private long _passes; // complete
    private long _begun;
    private int _depth; // groups that the generations are divided into
    private GroupChoice _choice = null!;
    private bool _discarded;

    // Whose rows a pass takes.
    private sealed class Taken
    {
        public List<(Generation Generation, int Rows, bool IsPrompt)> Parts { get; } = [];

        public long Began { get; set; }

        // Whether it was in flight while numbers that are not finite stood in the cache.
        public bool IsSuspect { get; set; }
    }

    /// <param name="open">Opens the engine, on the thread that will use it; the batcher owns it.</param>
    public Batcher(Func<IEngine> open) => _thread = new EngineThread<IEngine>(typeof(ErgonModel), () =>
    {
        _engine = open();
        _candidates = new Candidates(_engine.VocabularySize);
        _choice = new GroupChoice(_engine.Depth, _engine.Cells.MaxSequences);
        return _engine;
    }, _ => Work(), End);

    /// <summary>Told of each pass, on the engine's thread.</summary>
    public event Action<PassReport>? PassCompleted;

    /// <summary>How many passes to keep in flight, at most <see cref="IEngine.Depth"/>; <see langword="null"/> leaves it to what is measured. For the engine's thread alone.</summary>
    public int? InFlight { get; set; }

    /// <summary>
    /// Whether placements by tiers are for the phases of a sequence: tier 0 computes prompts, tier 1 decodes. A sequence moves with
    /// its cache as its phase changes. For the engine's thread alone.
    /// </summary>
    public bool TiersArePhases { get; set; }

    /// <summary>
    /// Asked, on the engine's thread, when a device failed: gives others, with which generations go on after computing their tokens
    /// again, or <see langword="null"/>, and then they fail. For the engine's thread alone.
    /// </summary>
    public Func<Placement, Exception, DeviceChange?>? DeviceLost { get; set; }

    /// <summary>Sequences that keep what they have even when the cache is full; for the engine's thread alone.</summary>
    public HashSet<int> Held { get; } = [];

    /// <summary>Runs <paramref name="action"/> between two passes, on the engine's thread.</summary>
    /// <exception cref="ObjectDisposedException">The engine is gone.</exception>
    public Task<T> InvokeAsync<T>(Func<IEngine, T> action) => _thread.InvokeAsync(engine =>
    {
        LandAll();
        return action(engine);
    });

    /// <summary>Changes the devices between two passes: generations and sessions go on with what they have.</summary>
    /// <param name="from">What they must be now.</param>
    /// <param name="to">What they are then.</param>
    /// <param name="change">Does it.</param>
    /// <param name="keeps">Whether a sequence takes its cache along, by positions to be computed again as a prompt and as single tokens; <see langword="null"/>: all do.</param>
    /// <exception cref="ErgonException">They are others.</exception>
    public Task ChangeDevicesAsync(IReadOnlyList<Placement> from, DeviceChange to, Action<Engine> change, Func<int, int, bool>? keeps) => InvokeAsync(any =>
    {
        var engine = (Engine)any;
        if (engine.Placements != from)
            throw new ErgonException("The model's devices changed while it was loaded on others; look again whether these are still wanted.");
        if (keeps is not null)
            Drop(engine.Cells, keeps);
        try
        {
            change(engine);
        }
        finally
        {
            StartOverLost();
        }
        Adopt(to);
        return true;
    });

    // Those that are being saved or restored, and those that share what they have, keep it in any case.
    private void Drop(KvCache cells, Func<int, int, bool> keeps)
    {
        for (var sequence = 0; sequence < cells.MaxSequences; sequence++)
        {
            if (!cells.IsOpen(sequence) || Held.Contains(sequence) || cells.Length(sequence) is not (> 0 and var length) || !cells.Full.IsOwn(cells.Full.Cells(sequence)[0]))
                continue;
            var prompt = Math.Min(length, _running.Concat(_waiting).FirstOrDefault(g => g.Sequence == sequence)?.PromptLength ?? length);
            if (!keeps(prompt, length - prompt))
                cells.Truncate(sequence, 0);
        }
    }

    private void StartOverLost()
    {
        foreach (var generation in _running.Concat(_waiting).Where(g => !g.Ended && g.Next > _engine.Cells.Length(g.Sequence)))
            generation.StartOver();
    }

    private void Adopt(DeviceChange to)
    {
        TiersArePhases = to.TiersArePhases;
        _choice = new GroupChoice(_engine.Depth, _engine.Cells.MaxSequences);
        to.Adopted?.Invoke();
    }

    /// <summary>Runs <paramref name="action"/> between two passes unless the engine is gone, and does not wait.</summary>
    public void TryPost(Action<IEngine> action) => TryWake(engine =>
    {
        LandAll();
        action(engine);
    });

    // Also while passes are in flight.
    private void TryWake(Action<IEngine> action)
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
        generation.Cancellation.Register(() => TryWake(static _ => { }));
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
        while (_inFlight.Count < _engine.Depth && TryBegin())
        {
        }
        // One at a time, so that its generations can go on while the others are under way.
        if (_inFlight.Count > 0)
            Land();
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

    // Begins a pass of those that are in none; false where there is nobody, no room for them, or no device.
    private bool TryBegin()
    {
        var taken = _unused.TryPop(out var used) ? used : new Taken();
        var hasBegun = false;
        try
        {
            Admit();
            EndCancelled(_waiting);
            EndCancelled(_running);
            var count = Gather(taken);
            taken.Began = Stopwatch.GetTimestamp();
            while (count > 0 && !(hasBegun = _engine.TryBegin(_rows.AsSpan(0, count))))
            {
                if (ForgetIdle())
                    continue;
                // Those in flight may end and leave room behind.
                if (_inFlight.Count == 0)
                    GiveWay();
                break;
            }
        }
#pragma warning disable CA1031 // each reader gets it, and the engine goes on with the next
        catch (Exception e)
#pragma warning restore CA1031
        {
            Fail(taken, e);
        }
        if (!hasBegun)
        {
            Recycle(taken);
            return false;
        }
        _begun++;
        foreach (var (generation, rows, _) in taken.Parts)
            generation.FlyWith(_begun, rows);
        _inFlight.Enqueue(taken);
        return true;
    }

    // Waits for the pass that began first, and gives its generations their tokens.
    private void Land()
    {
        var taken = _inFlight.Dequeue();
        foreach (var (generation, _, _) in taken.Parts)
            generation.Land();
        try
        {
            var logits = _engine.Complete();
            _passes++;
            foreach (var (generation, rows, _) in taken.Parts)
            {
                _lastUse[generation.Sequence] = _passes;
                generation.Advance(rows);
            }
            PassCompleted?.Invoke(new PassReport(_engine.Reports.ToArray(), [.. taken.Parts.Select(p => new PassPart(p.Generation.Sequence, p.Rows, p.IsPrompt, p.Generation.Next - p.Rows))],
                _inFlight.TryPeek(out var next) ? next.Began : Stopwatch.GetTimestamp()));
            Note(taken);
            var vocabulary = _engine.VocabularySize;
            foreach (var (generation, _, _) in taken.Parts)
            {
                var hasLogits = generation.Left == 0;
                if (hasLogits)
                    Accept(generation, logits[..vocabulary], taken.IsSuspect);
                else if (taken.IsSuspect)
                    Recompute(generation);
                logits = hasLogits ? logits[vocabulary..] : logits;
            }
        }
#pragma warning disable CA1031 // each reader gets it, and the engine goes on with the next
        catch (Exception e)
#pragma warning restore CA1031
        {
            if (!TryGoOn(e))
                Fail(taken, e);
        }
        Recycle(taken);
        if (!_discarded)
            return;
        _discarded = false;
        // What an engine forgot of the others too is computed again.
        StartOverLost();
    }

    // After a device failed, with others. Nobody has advanced by a pass that failed, so all is computed again; one that was
    // complete is given up too, because what it cached is gone.
    private bool TryGoOn(Exception error)
    {
        if (DeviceLost is null || _engine is not Engine { Lost: { } lost } engine)
            return false;
        var others = new List<Generation>();
        while (_inFlight.TryDequeue(out var other))
        {
            foreach (var (generation, _, _) in other.Parts)
            {
                generation.Land();
                others.Add(generation);
            }
            try
            {
                engine.Complete();
            }
#pragma warning disable CA1031 // it failed with the first
            catch (Exception)
#pragma warning restore CA1031
            {
            }
            Recycle(other);
        }
        try
        {
            if (DeviceLost(lost, error) is { } next)
            {
                engine.Abandon(next.Placements);
                StartOverLost();
                Adopt(next);
                return true;
            }
        }
#pragma warning disable CA1031 // those who wait get the first error, which is the cause
        catch (Exception)
#pragma warning restore CA1031
        {
        }
        foreach (var generation in others)
            generation.Fail(error);
        return false;
    }

    // What passes of these groups take, while all decode: then a generation has one row in a pass.
    private void Note(Taken taken)
    {
        if (_running.Exists(static g => g.IsPrefilling) || taken.Parts.Exists(static p => p.IsPrompt))
            _choice.Interrupt();
        else
            _choice.Land(_running.Count, _depth, taken.Parts.Count, Stopwatch.GetTimestamp());
    }

    private void LandAll()
    {
        while (_inFlight.Count > 0)
            Land();
        RemoveEnded(_running);
    }

    private static void Fail(Taken taken, Exception error)
    {
        foreach (var (generation, _, _) in taken.Parts)
            generation.Fail(error);
    }

    private void Recycle(Taken taken)
    {
        taken.Parts.Clear();
        taken.IsSuspect = false;
        _unused.Push(taken);
    }

    // What goes wrong with one generation is its own affair.
    private void Accept(Generation generation, ReadOnlySpan<float> logits, bool isSuspect)
    {
        try
        {
            if (Engine.IsFinite(logits))
            {
                generation.Accept(logits, _candidates);
                return;
            }
            if (isSuspect)
            {
                Recompute(generation);
                return;
            }
            _discarded = true;
            foreach (var other in _inFlight)
                other.IsSuspect = true;
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

    // Its pass looked at cells, masked ones, of a generation that has failed since. Whether it is to blame itself shows
    // the next time.
    private void Recompute(Generation generation)
    {
        _engine.Discard(generation.Sequence);
        generation.StartOver();
    }

    // Fills the rows of the next pass: decoding rows first, since each makes somebody wait for one token. Prompts
    // share the rest equally, but for what the shortest of them do not need.
    //
    // Where passes can be in flight, each takes its share of all generations and no more, so that the other devices have
    // passes of the others: as many groups as devices, as large as each other. Those whose last pass is longest ago come
    // first. So the groups stay as they are while nobody joins or leaves, which lets each find its graph again, and
    // level out by themselves when somebody does: a pass that lands next to a larger group leaves the rest to the next.
    private int Gather(Taken taken)
    {
        _ready.Clear();
        _prefilling.Clear();
        int all = 0, decoding = 0, count = 0;
        foreach (var generation in _running)
        {
            if (generation.Ended)
                continue;
            all++;
            decoding += generation.IsPrefilling ? 0 : 1;
            if (!generation.IsInFlight)
                _ready.Add(generation);
        }
        // Prompts are bound by arithmetic, which divides without loss; whether decoding does is measured.
        _depth = Math.Min(_engine.Depth, InFlight ?? (all > decoding ? _engine.Depth : _choice.For(decoding)));
        if (_inFlight.Count >= _depth)
            return 0;
        var share = (all + _depth - 1) / _depth;
        if (_ready.Count > share)
        {
            _ready.Sort(static (a, b) => a.LastPass != b.LastPass ? a.LastPass.CompareTo(b.LastPass) : a.Sequence.CompareTo(b.Sequence));
            _ready.RemoveRange(share, _ready.Count - share);
        }
        foreach (var generation in _ready)
        {
            if (generation.IsPrefilling)
                _prefilling.Add(generation);
            else if (count < _rows.Length)
                Take(generation, 1, taken, ref count);
        }
        // Also beside somebody who decodes in another pass: on each device that waits for this one.
        var room = decoding == 0 ? _rows.Length : Math.Min(_rows.Length - count, PromptRowsBesideDecoding);
        _prefilling.Sort(static (a, b) => a.Left.CompareTo(b.Left));
        for (var i = 0; i < _prefilling.Count && room > 0; i++)
            room -= Take(_prefilling[i], Math.Max(1, room / (_prefilling.Count - i)), taken, ref count);
        return count;
    }

    private static void EndCancelled(List<Generation> generations)
    {
        foreach (var generation in generations)
        {
            // One in flight ends when its pass does: until then devices write to its cells.
            if (!generation.Ended && !generation.IsInFlight && generation.Cancellation.IsCancellationRequested)
                generation.End(FinishReason.Cancelled);
        }
    }

    private int Take(Generation generation, int rows, Taken taken, ref int count)
    {
        var isPrompt = generation.IsPrefilling;
        var tokens = generation.NextChunk(rows);
        if (TiersArePhases && !TryMoveToPhase(generation))
            return 0;
        for (var i = 0; i < tokens.Length; i++)
            _rows[count++] = new PassRow(generation.Sequence, tokens[i], WantsLogits: i == generation.Left - 1);
        generation.EnterPass();
        taken.Parts.Add((generation, tokens.Length, isPrompt));
        return tokens.Length;
    }

    // What follows on a long cache may not be worth moving that cache: then it is computed where the sequence decodes.
    private bool TryMoveToPhase(Generation generation)
    {
        var engine = (Engine)_engine;
        var (now, sequence) = (engine.Cells.Full.Tier(generation.Sequence), generation.Sequence);
        var phase = !generation.IsPrefilling ? 1 : engine.Cells.Length(sequence) == 0 ? 0 : now == 1 && generation.Left >= Math.Max(LeastToMove, generation.Next / RowsPerCell) ? 0 : now;
        try
        {
            if (phase != now)
                engine.MoveTo(sequence, phase);
            return true;
        }
#pragma warning disable CA1031 // its reader gets it
        catch (Exception e)
#pragma warning restore CA1031
        {
            generation.Fail(e);
            return false;
        }
    }

    /// <summary>Ends all generations and frees the engine.</summary>
    public void Dispose() => _thread.Dispose();
}
