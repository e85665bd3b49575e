namespace Ergon.Inference;

/// <summary>The sequences of an engine and the room that they take. Used by the engine's thread alone.</summary>
internal interface IKvCache
{
    /// <summary>Sequences that may be open at once; their ids are 0 to this number, exclusive.</summary>
    int MaxSequences { get; }

    /// <summary>Positions of all sequences together, shared ones counted once.</summary>
    int Capacity { get; }

    /// <summary>Positions that can still be appended.</summary>
    int Free { get; }

    /// <summary>Starts an empty sequence; <see langword="null"/> when all ids are taken.</summary>
    int? Open();

    /// <summary>Whether the sequence exists.</summary>
    bool IsOpen(int sequence);

    /// <summary>Forgets a sequence and frees its id.</summary>
    void Close(int sequence);

    /// <summary>Positions that a sequence has.</summary>
    int Length(int sequence);

    /// <summary>The fewest positions that <see cref="Truncate"/> can leave, but for none: how far the sequence can roll back.</summary>
    int LeastLength(int sequence);

    /// <summary>Forgets the positions of a sequence from <paramref name="length"/> on.</summary>
    /// <returns>How many are left: fewer than asked for where layers have dropped what they would have to go on from.</returns>
    int Truncate(int sequence, int length);

    /// <summary>Makes a new sequence of the first <paramref name="length"/> positions of another, or of fewer as with <see cref="Truncate"/>; <see langword="null"/> when all ids are taken.</summary>
    int? Fork(int sequence, int length);
}
