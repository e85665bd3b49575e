namespace Ergon.Tests.Energy;

/// <summary>A clock that moves when told to: a tick is a microsecond.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long _now = 1_000;

    public override long TimestampFrequency => 1_000_000;

    public override long GetTimestamp() => _now;

    public void Pass(double seconds) => _now += (long)Math.Round(seconds * 1e6);
}
