using System.Diagnostics;
using System.Globalization;
using Ergon.Reasoning.Evaluation;

namespace Ergon.Cli.Evaluation;

/// <summary>How far an evaluation is: one line that is written over on a terminal, a line for each tenth in a log, nothing where the result is JSON.</summary>
internal sealed class EvalProgress(Terminal terminal, int problems, bool isSilent) : IProgress<EvaluationProgress>
{
    private const int Cells = 24;
    private static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(100);
    private readonly long _began = Stopwatch.GetTimestamp();
    private long _drawn;
    private int _tenth;
    private int _width;

    /// <summary>One thread at a time.</summary>
    public void Report(EvaluationProgress value)
    {
        // Draws are counted when they are in the journal, which may be after their problem.
        var isLast = value.Problems == problems && value.Share > 1 - 1e-9;
        if (isSilent)
            return;
        if (!terminal.CanRedraw)
        {
            var tenth = (int)(value.Share * 10);
            if (tenth > _tenth && value.Problems > 0)
                terminal.Error.WriteLine(Line(value));
            _tenth = Math.Max(_tenth, tenth);
            return;
        }
        if (!isLast && Stopwatch.GetElapsedTime(_drawn) < Redraw)
            return;
        _drawn = Stopwatch.GetTimestamp();
        var line = $"{Bar(value.Share)} {Line(value)}";
        terminal.Status(line.PadRight(_width), isLast);
        _width = line.Length;
    }

    private string Line(EvaluationProgress p)
    {
        var left = p.Share > p.Found && p.Share < 1 ? Stopwatch.GetElapsedTime(_began) * ((1 - p.Share) / (p.Share - p.Found)) : (TimeSpan?)null;
        return string.Create(CultureInfo.InvariantCulture, $"{p.Problems} of {Amount.Count(problems, "problem")}, {Amount.Count(p.Draws, "draw")}{(p.Joules > 0 ? $", {Receipts.Figure(p.Joules.Value)} J" : "")}{(left is { } time ? $", {Time(time)} left" : "")}");
    }

    private static string Time(TimeSpan time) => time.TotalHours >= 1 ? $"{(int)time.TotalHours}:{time:mm\\:ss}" : $"{time:m\\:ss}";

    private static string Bar(double share)
    {
        var full = (int)(share * Cells);
        return $"[{new string('#', full)}{new string('.', Cells - full)}]";
    }
}
