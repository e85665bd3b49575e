using System.Diagnostics;
using System.Globalization;

namespace Ergon.Cli.Bench;

/// <summary>One kind of work: a prompt, or tokens of several sequences.</summary>
/// <param name="Tokens">Of the prompt, or of each sequence.</param>
/// <param name="Sequences">0 for a prompt.</param>
internal readonly record struct BenchTest(int Tokens, int Sequences)
{
    /// <summary>llama-bench's name: <c>pp512</c>, <c>tg128</c>, <c>tg128x8</c>.</summary>
    public string Name => string.Create(CultureInfo.InvariantCulture, $"{(Sequences == 0 ? "pp" : "tg")}{Tokens}{(Sequences > 1 ? $"x{Sequences}" : "")}");

    /// <summary>Tokens a second of one run.</summary>
    public double Rate(IContender contender, ReadOnlySpan<int> tokens)
    {
        var began = Stopwatch.GetTimestamp();
        if (Sequences == 0)
            contender.Prefill(tokens);
        else
            contender.Decode(tokens, Sequences);
        return tokens.Length / Stopwatch.GetElapsedTime(began).TotalSeconds;
    }

    /// <summary>Any tokens, the same for both.</summary>
    public int[] Input(int vocabulary)
    {
        var random = new Random(Tokens);
        var tokens = new int[Tokens * Math.Max(1, Sequences)];
        for (var i = 0; i < tokens.Length; i++)
            tokens[i] = random.Next(vocabulary);
        return tokens;
    }
}

/// <summary>How often to measure.</summary>
/// <param name="Pairs">Measurements, or pairs of them.</param>
/// <param name="Budget">No further one begins after this time for a test, once there are enough for an interval.</param>
internal sealed record Effort(int Pairs, TimeSpan Budget)
{
    private const int Least = 6;

    /// <summary>Measures one side, or both in turn: which one begins alternates, so that what drifts (clocks, heat, neighbours) falls on both.</summary>
    /// <param name="test">Its name.</param>
    /// <param name="unit">Of the values.</param>
    /// <param name="measure">Measures ours (false) or the baseline (true).</param>
    /// <param name="hasBaseline">Whether there is a baseline.</param>
    /// <param name="progress">Told the result so far after each measurement, and whether it was the last.</param>
    /// <param name="cancellation">Stops between two measurements.</param>
    public async Task<BenchResult> MeasureAsync(string test, string unit, Func<bool, Task<double>> measure, bool hasBaseline, Action<BenchResult, bool> progress, CancellationToken cancellation)
    {
        List<double> ours = [], theirs = [];
        // Warms caches, pages and the just-in-time compiler; not counted.
        await measure(false);
        if (hasBaseline)
            await measure(true);
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            var baselineFirst = ours.Count % 2 == 1;
            for (var turn = 0; turn < (hasBaseline ? 2 : 1); turn++)
            {
                cancellation.ThrowIfCancellationRequested();
                var isBaseline = turn == 0 == baselineFirst && hasBaseline;
                (isBaseline ? theirs : ours).Add(await measure(isBaseline));
            }
            var result = BenchResult.Of(test, unit, ours, theirs);
            var isLast = ours.Count >= Pairs || (ours.Count >= Least && Stopwatch.GetElapsedTime(began) >= Budget);
            progress(result, isLast);
            if (isLast)
                return result;
        }
    }
}

/// <summary>What one test gave.</summary>
/// <param name="Test">Its name.</param>
/// <param name="Value">Median of ours.</param>
/// <param name="Unit">Of the values.</param>
/// <param name="Baseline">Median of libllama's; <see langword="null"/> where it was not measured.</param>
/// <param name="Ratio">Median of ours / libllama's, pair by pair.</param>
/// <param name="RatioLow">Lower end of its 95 % interval.</param>
/// <param name="RatioHigh">Upper end.</param>
/// <param name="Pairs">Measurements.</param>
/// <param name="JoulesPerToken">Median of ours; <see langword="null"/> where no energy is known.</param>
internal sealed record BenchResult(string Test, double Value, string Unit, double? Baseline, double? Ratio, double? RatioLow, double? RatioHigh, int Pairs, double? JoulesPerToken = null)
{
    public static BenchResult Of(string test, string unit, IReadOnlyList<double> ours, IReadOnlyList<double> theirs)
    {
        var value = Rounded(Median.Of(ours).Value);
        if (theirs.Count == 0)
            return new BenchResult(test, value!.Value, unit, null, null, null, null, ours.Count);
        var ratio = Median.Of(ours.Zip(theirs, (a, b) => a / b));
        return new BenchResult(test, value!.Value, unit, Rounded(Median.Of(theirs).Value), Rounded(ratio.Value), Rounded(ratio.Low), Rounded(ratio.High), ours.Count);
    }

    private static double? Rounded(double? value) => value is { } v ? Math.Round(v, 4) : null;
}
