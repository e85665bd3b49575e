namespace Ergon.Inference;

/// <summary>How far the first of a list belong together.</summary>
internal static class Runs
{
    /// <summary>How many of the first rows are of one sequence.</summary>
    public static int Length(ReadOnlySpan<PassRow> rows)
    {
        var run = 1;
        while (run < rows.Length && rows[run].Sequence == rows[0].Sequence)
            run++;
        return run;
    }

    /// <summary>How many of the first indices follow each other: neighbours are copied together, because on a GPU each copy is a synchronisation.</summary>
    public static int Length(ReadOnlySpan<int> indices)
    {
        var run = 1;
        while (run < indices.Length && indices[run] == indices[0] + run)
            run++;
        return run;
    }
}
