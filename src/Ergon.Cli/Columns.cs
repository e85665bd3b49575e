namespace Ergon.Cli;

/// <summary>Rows whose cells line up; plain text, so that a result can be read by people and by awk.</summary>
internal static class Columns
{
    public static void Write(TextWriter output, params IReadOnlyList<string[]> rows)
    {
        foreach (var line in Lines(rows))
            output.WriteLine(line);
    }

    public static IEnumerable<string> Lines(IReadOnlyList<string[]> rows)
    {
        if (rows.Count == 0)
            return [];
        var widths = Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length)).ToArray();
        return rows.Select(row => string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }
}
