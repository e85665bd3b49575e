namespace Ergon.Inference;

/// <summary>
/// A model on its devices: appends rows to sequences and gives logits. Not thread-safe: one thread makes all
/// calls, because it becomes a worker of the CPU's thread pool.
/// </summary>
internal interface IEngine : IDisposable
{
    /// <summary>Tokens that it gives logits for; ids are 0 to this number, exclusive.</summary>
    int VocabularySize { get; }

    /// <summary>The sequences and what is cached of them.</summary>
    IKvCache Cells { get; }

    /// <summary>Passes that can be in flight at once: as many as there are devices that can be busy with them.</summary>
    int Depth { get; }

    /// <summary>
    /// Appends rows and begins to compute them; <see cref="Complete"/> gives the results. Passes in flight are of different
    /// sequences, which stay open and as long as they are until their pass is complete. Where <see cref="Depth"/> is 1 the pass is computed here.
    /// </summary>
    /// <param name="rows">1 to <see cref="Engine.MaxRows"/> rows; those of one sequence stand together, in order.</param>
    /// <returns>False, with nothing changed, when the cache has not enough room.</returns>
    /// <exception cref="ErgonException">A row is not valid; nothing is changed.</exception>
    /// <exception cref="Native.NativeException">A device failed; the sequences are as before.</exception>
    bool TryBegin(scoped ReadOnlySpan<PassRow> rows);

    /// <summary>Waits for the pass that was begun first of those in flight.</summary>
    /// <returns>[n_vocab] for each row that wanted them, in order; valid until the next pass begins.</returns>
    /// <exception cref="Native.NativeException">A device failed, in this pass or in one that was in flight with it; its sequences are as before.</exception>
    ReadOnlySpan<float> Complete();

    /// <summary>Appends rows and computes them, while nothing is in flight.</summary>
    /// <param name="rows">As for <see cref="TryBegin"/>.</param>
    /// <param name="logits">As of <see cref="Complete"/>.</param>
    /// <returns>False, with nothing changed, when the cache has not enough room.</returns>
    /// <exception cref="ErgonException">A row is not valid; nothing is changed.</exception>
    /// <exception cref="Native.NativeException">A device failed; the sequences are as before.</exception>
    bool TryRun(scoped ReadOnlySpan<PassRow> rows, out ReadOnlySpan<float> logits);

    /// <summary>What the segments did in the pass that was completed last, in order; one that had nothing to do is left out.</summary>
    ReadOnlySpan<SegmentReport> Reports { get; }

    /// <summary>Forgets all of a sequence whose numbers are broken, so that they spoil nobody else's; of the others too, where a cache can only be overwritten as a whole.</summary>
    void Discard(int sequence);

    /// <summary>What each position of a sequence holds, tensor by tensor, in the model's order; empty where the engine cannot hand it out.</summary>
    CellTensor[] CellLayout();

    /// <summary>Appends positions that <see cref="WriteCells"/> is to fill; without room, or where the engine cannot take them in, changes nothing and returns false.</summary>
    bool TryReserve(int sequence, int count);

    /// <summary>Copies what positions from <paramref name="first"/> on hold in a tensor of <see cref="CellLayout"/> out of the cache.</summary>
    /// <returns>How many positions.</returns>
    int ReadCells(int sequence, int tensor, int first, Span<byte> rows);

    /// <summary>Copies what positions from <paramref name="first"/> on hold in a tensor of <see cref="CellLayout"/> into the cache.</summary>
    /// <returns>How many positions.</returns>
    int WriteCells(int sequence, int tensor, int first, ReadOnlySpan<byte> rows);
}
