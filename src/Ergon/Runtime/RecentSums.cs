namespace Ergon.Runtime;

/// <summary>
/// Two sums over the last five seconds, in slots of half a second: adding allocates nothing, and what is older falls out
/// by the slot. Thread-safe.
/// </summary>
/// <param name="time">The clock of the timestamps.</param>
internal sealed class RecentSums(TimeProvider time)
{
    private const int Slots = 10;

    private readonly Lock _gate = new();
    private readonly (long Slot, double First, double Second)[] _slots = new (long, double, double)[Slots];
    private readonly long _slotLength = time.TimestampFrequency / 2;
    private readonly long _began = time.GetTimestamp();

    /// <summary>Adds what was at a moment; one that is older than what was added since by five seconds is left out.</summary>
    public void Add(long at, double first, double second)
    {
        var number = at / _slotLength;
        lock (_gate)
        {
            ref var slot = ref _slots[number % Slots];
            if (slot.Slot > number)
                return;
            slot = slot.Slot == number ? (number, slot.First + first, slot.Second + second) : (number, first, second);
        }
    }

    /// <summary>The sums, and the seconds since the first moment that they cover, at most five and since this was made; above 0.</summary>
    public (double First, double Second, double Seconds) Read(long now)
    {
        var oldest = (now / _slotLength) - Slots + 1;
        double first = 0, second = 0;
        lock (_gate)
        {
            foreach (var slot in _slots)
            {
                if (slot.Slot >= oldest)
                    (first, second) = (first + slot.First, second + slot.Second);
            }
        }
        var since = Math.Max(_began, oldest * _slotLength);
        return (first, second, Math.Max(1, now - since) / (double)time.TimestampFrequency);
    }
}
