using System.Globalization;
using System.Net;
using System.Text;
using Ergon.Planning;
using Ergon.Runtime.Plans;

namespace Ergon.Cli;

/// <summary>A plan as a picture: the front in joules and seconds a token, and which device computes which unit. SVG without scripts or outer files.</summary>
internal static class PlanPicture
{
    private const int Width = 860, Left = 90, Right = 830, Top = 70, Bottom = 360, BarTop = 440, BarHeight = 34, BarGap = 62;

    // Okabe and Ito's colours, which people with colour blindness tell apart; more devices repeat them with stripes' opacity.
    private static readonly string[] Colours = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#777777"];

    /// <summary>The picture.</summary>
    public static string Draw(PlanProblem problem, PlanOutcome outcome, bool simulated)
    {
        var (svg, chosen) = (new StringBuilder(), outcome.Chosen!);
        var legendTop = BarTop + (problem.Phases * BarGap) + 10;
        var height = legendTop + (22 * problem.Devices) + 20;
        Line($"""<svg xmlns="http://www.w3.org/2000/svg" width="{Width}" height="{height}" viewBox="0 0 {Width} {height}" font-family="sans-serif" font-size="13">""");
        Line($"""<rect width="{Width}" height="{height}" fill="white"/>""");
        Label(Left, 28, $"{problem.Model.Name}: plans of which none is better in everything", 17);
        Label(Left, 48, $"{(simulated ? "simulated from catalogue profiles" : "modelled from measured profiles")}; batch {problem.Workload.Batch}, {problem.Workload.Prompt} + {problem.Workload.Tokens} tokens", 13);
        var (x, y) = (Axis(outcome.Front.Select(p => 1e3 * p.Score.Seconds), Left, Right), Axis(outcome.Front.Select(p => p.Score.Joules), Bottom, Top));
        foreach (var tick in x.Ticks)
        {
            Line($"""<line x1="{x.At(tick):F1}" y1="{Top}" x2="{x.At(tick):F1}" y2="{Bottom}" stroke="#ddd"/>""");
            Label(x.At(tick), Bottom + 18, $"{tick:G4}", 12, "middle");
        }
        foreach (var tick in y.Ticks)
        {
            Line($"""<line x1="{Left}" y1="{y.At(tick):F1}" x2="{Right}" y2="{y.At(tick):F1}" stroke="#ddd"/>""");
            Label(Left - 8, y.At(tick) + 4, $"{tick:G4}", 12, "end");
        }
        Label((Left + Right) / 2.0, Bottom + 40, $"ms a token", 13, "middle");
        Line($"""<text x="24" y="{(Top + Bottom) / 2}" text-anchor="middle" transform="rotate(-90 24 {(Top + Bottom) / 2})">J a token</text>""");
        foreach (var p in outcome.Front)
            Line($"""<circle cx="{x.At(1e3 * p.Score.Seconds):F1}" cy="{y.At(p.Score.Joules):F1}" r="4" fill="#0072B2" fill-opacity="0.45"><title>{p.Score.Joules:G4} J, {1e3 * p.Score.Seconds:G4} ms, {p.Seams} seams</title></circle>""");
        Line($"""<circle cx="{x.At(1e3 * chosen.Score.Seconds):F1}" cy="{y.At(chosen.Score.Joules):F1}" r="8" fill="none" stroke="#D55E00" stroke-width="3"/>""");
        var near = x.At(1e3 * chosen.Score.Seconds) < (Left + Right) / 2.0;
        Label(x.At(1e3 * chosen.Score.Seconds) + (near ? 14 : -14), y.At(chosen.Score.Joules) - 8, $"chosen: {chosen.Score.Joules:G4} J, {1e3 * chosen.Score.Seconds:G4} ms", 13, near ? "start" : "end");
        for (var phase = 0; phase < problem.Phases; phase++)
            Bar(phase);
        for (var d = 0; d < problem.Devices; d++)
        {
            Line($"""<rect x="{Left}" y="{legendTop + (22 * d)}" width="14" height="14" fill="{Colour(d)}"/>""");
            Label(Left + 22, legendTop + 12 + (22 * d), $"{problem.Profiles[d].Name}: {100 * chosen.Loads[d].Busy:F0} % busy, {chosen.Loads[d].Resident.Value / 1e9:F2} GB", 13);
        }
        Line($"</svg>");
        return svg.ToString();

        void Bar(int phase)
        {
            var top = BarTop + (phase * BarGap);
            Label(Left, top - 6, $"{(phase < problem.Phases - 1 ? "prefill" : "decode")}: embedding, {problem.Model.Layers} layers, head", 13);
            foreach (var (from, end, device) in ExecutionPlan.Segments(problem, chosen, phase))
            {
                double At(int unit) => Left + ((Right - Left) * (double)unit / problem.Units);
                Line($"""<rect x="{At(from):F1}" y="{top}" width="{At(end) - At(from):F1}" height="{BarHeight}" fill="{Colour(device)}" stroke="white"><title>{problem.NameOf(from)} to {problem.NameOf(end - 1)}: {WebUtility.HtmlEncode(problem.Profiles[device].Name)}</title></rect>""");
            }
        }

        void Label(double left, double top, FormattableString text, int size, string anchor = "start") =>
            Line($"""<text x="{left:F1}" y="{top:F1}" font-size="{size}" text-anchor="{anchor}">{WebUtility.HtmlEncode(text.ToString(CultureInfo.InvariantCulture))}</text>""");

        void Line(FormattableString text) => svg.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    private static string Colour(int device) => Colours[device % Colours.Length];

    // Round steps that cover the values with a margin.
    private static (Func<double, double> At, double[] Ticks) Axis(IEnumerable<double> values, double from, double to)
    {
        double[] all = [.. values];
        var (low, high) = (all.Min(), all.Max());
        var range = high > low ? high - low : Math.Max(Math.Abs(low), 1e-9);
        (low, high) = (low - (0.08 * range), high + (0.08 * range));
        var power = Math.Pow(10, Math.Floor(Math.Log10((high - low) / 4)));
        var step = power * new[] { 1, 2, 5, 10 }.First(m => m * power >= (high - low) / 5);
        var ticks = Enumerable.Range(0, 12).Select(i => (Math.Ceiling(low / step) + i) * step).Where(t => t <= high).ToArray();
        return (v => from + ((v - low) / (high - low) * (to - from)), ticks);
    }
}
