namespace Ergon.Inference;

/// <summary>Neighbours in a list of indices, which are copied together: on a GPU each copy is a synchronisation.</summary>
internal static class Runs
{
    /// <summary>How many of the first indices follow each other.</summary>
    public static int Length(ReadOnlySpan<int> indices)
    {
        var run = 1;
        while (run < indices.Length && indices[run] == indices[0] + run)
            run++;
        return run;
    }
}
