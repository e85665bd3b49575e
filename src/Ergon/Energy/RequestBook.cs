using Ergon.Units;

namespace Ergon.Energy;

/// <summary>One request's lines in the ledger.</summary>
internal sealed class RequestBook(long request, long opened)
{
    private readonly SortedSet<string> _sources = new(StringComparer.Ordinal);
    private double _prefill, _decode, _idle;
    private EnergyQuality _quality;
    private TimeSpan _missed;
    private string? _reason;
    private long _longest; // the longest interval that something was billed from

    public long Request => request;

    public long Opened => opened;

    public long Closed { get; set; } = long.MaxValue;

    /// <summary>The end of the last pass that worked for it: a cancelled request's pass ends after it.</summary>
    public long LastWork { get; set; } = long.MinValue;

    /// <summary>When nothing can be billed to it any more.</summary>
    public long Ended => Math.Max(Closed, LastWork);

    public int Tokens { get; set; }

    public void Bill(bool isPrefill, double joules, MeterInterval interval)
    {
        (isPrefill ? ref _prefill : ref _decode) += joules;
        Note(interval);
    }

    public void Wait(double joules, MeterInterval interval)
    {
        _idle += joules;
        Note(interval);
    }

    public void Miss(MeterInterval interval, TimeSpan missed)
    {
        _missed += missed;
        _reason ??= interval.Reason ?? $"{interval.Source} gave nothing";
        _sources.Add(interval.Source);
    }

    public Receipt Receipt(TimeProvider time, bool isMetered)
    {
        var elapsed = time.GetElapsedTime(opened, Math.Max(opened, Closed));
        var source = _sources.Count > 0 ? string.Join('+', _sources) : null;
        var joules = _prefill + _decode + _idle;
        // Two meters may miss the same second, and a cancelled request's pass outlives it.
        var missed = _missed < elapsed ? _missed : elapsed;
        var reason = _reason is not null ? $"{missed.TotalSeconds:0.###} s of {elapsed.TotalSeconds:0.###} s went unmeasured ({_reason}); the rest took {new Joules(joules)}"
            : _sources.Count == 0 ? isMetered ? "no reading of a meter fell into the request's time" : "no meter can be read on this machine; 'ergon doctor' says what is missing" : null;
        if (reason is not null)
            return new Receipt(null, null, null, null, elapsed, Tokens, source, source is null ? null : _quality, reason);
        // What is shorter than the meter's own interval rests on the division more than on the meter.
        var quality = _quality < EnergyQuality.Interpolated && elapsed < time.GetElapsedTime(0, _longest) ? EnergyQuality.Interpolated : _quality;
        return new Receipt(new Joules(joules), new Joules(_prefill), new Joules(_decode), new Joules(_idle), elapsed, Tokens, source, quality, null);
    }

    private void Note(MeterInterval interval)
    {
        _sources.Add(interval.Source);
        _quality = (EnergyQuality)Math.Max((int)_quality, (int)interval.Quality);
        _longest = Math.Max(_longest, interval.End - interval.Start);
    }
}
