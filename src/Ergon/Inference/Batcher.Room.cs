namespace Ergon.Inference;

/// <summary>Who may begin, and who forgets or waits when the cache is full.</summary>
internal sealed partial class Batcher
{
    // A generation starts when there is room for its prompt and so many tokens; the rest shows.
    private const int RoomToBegin = 32;

    // Strictly in order, or a long prompt would wait for ever behind short ones.
    private void Admit()
    {
        while (_waiting.Count > 0 && _running.Count < _rows.Length)
        {
            var next = _waiting[0];
            // Those that run have room of their own to come.
            var promised = 0;
            foreach (var generation in _running)
                promised += generation.LeftToBegin + (generation.IsPrefilling ? RoomToBegin : 0);
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
}
