using Ergon.Native;

namespace Ergon.Energy;

/// <summary>
/// Reads each meter of a set at its own interval, all on one thread of low priority. The thread's processor time is
/// told, because a meter's own draw belongs to what it measures.
/// </summary>
internal sealed class MeterSampler : IDisposable
{
    private readonly MeterSet _meters;
    private readonly TimeProvider _time;
    private readonly TimeSpan? _interval;
    private readonly Dictionary<IEnergyMeter, long> _due = [];
    private readonly ManualResetEventSlim _stop = new();
    private Thread? _thread;
    private bool _isDisposed;
    private long _cpuTicks = -1;

    /// <param name="meters">What to read.</param>
    /// <param name="time">Gives timestamps; waiting is by the system's clock.</param>
    /// <param name="interval">Replaces the meters' own intervals (10 Hz; RAPL and batteries 1 Hz).</param>
    public MeterSampler(MeterSet meters, TimeProvider time, TimeSpan? interval = null)
    {
        if (interval <= TimeSpan.Zero)
            throw new ErgonException($"The meters' interval is {interval}, but must be above zero.");
        (_meters, _time, _interval) = (meters, time, interval);
    }

    /// <summary>Processor time that reading has cost; <see langword="null"/> before the first reading and where the system does not tell.</summary>
    public TimeSpan? CpuTime => Interlocked.Read(ref _cpuTicks) is >= 0 and var ticks ? TimeSpan.FromTicks(ticks) : null;

    /// <summary>Begins to read in the background.</summary>
    public void Start()
    {
        _thread = new Thread(() =>
        {
            while (!_stop.Wait(Tick()))
            {
            }
        })
        { IsBackground = true, Name = "ergon meters", Priority = ThreadPriority.BelowNormal };
        _thread.Start();
    }

    /// <summary>Reads the meters that are due.</summary>
    /// <returns>How long nothing is due after that; -1 ms without meters.</returns>
    internal TimeSpan Tick()
    {
        var (began, now) = (ThreadClock.CpuTime(), _time.GetTimestamp());
        var next = long.MaxValue;
        foreach (var meter in _meters.Meters)
        {
            var due = _due.GetValueOrDefault(meter, now);
            if (due <= now)
            {
                _meters.Read(meter);
                var interval = (long)((_interval ?? meter.Interval).TotalSeconds * _time.TimestampFrequency);
                // On a grid, so that the rate does not sink by the time that reading takes; what was missed is left out.
                due = Math.Max(due + interval, now + interval / 2);
            }
            _due[meter] = due;
            next = Math.Min(next, due);
        }
        if (began is { } from && ThreadClock.CpuTime() is { } until)
            Interlocked.Exchange(ref _cpuTicks, Math.Max(0, Interlocked.Read(ref _cpuTicks)) + (until - from).Ticks);
        return _due.Count == 0 ? Timeout.InfiniteTimeSpan : _time.GetElapsedTime(_time.GetTimestamp(), next) is var wait && wait > TimeSpan.Zero ? wait : TimeSpan.Zero;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        _stop.Set();
        _thread?.Join();
        _stop.Dispose();
    }
}
