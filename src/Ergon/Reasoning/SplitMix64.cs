namespace Ergon.Reasoning;

/// <summary>A portable random stream: the same seed and index give the same numbers in C# and in
/// the training recipe's Python. Steele, Lea and Flood 2014; started at <c>Mix(Mix(seed) + index)</c>.</summary>
internal sealed class SplitMix64(ulong seed, ulong index)
{
    private ulong _state = Mix(unchecked(Mix(seed) + index));

    /// <summary>The seed of one draw of one problem: each has a stream of its own, whatever runs beside it.</summary>
    public static uint DrawSeed(ulong seed, int item, int sample) => (uint)new SplitMix64(seed ^ 0x5eed, ((ulong)item << 32) | (uint)sample).Next();

    /// <summary>The next 64 uniform bits.</summary>
    public ulong Next() => Mix(_state = unchecked(_state + 0x9E3779B97F4A7C15));

    /// <summary>An integer in [0, <paramref name="count"/>): the high 64 bits of a product, biased
    /// by less than <paramref name="count"/> / 2^64.</summary>
    public int Below(int count) => (int)Math.BigMul(Next(), (ulong)count, out _);

    /// <summary>An integer in [<paramref name="low"/>, <paramref name="high"/>], both included.</summary>
    public int Between(int low, int high) => low + Below(high - low + 1);

    /// <summary>One of the items.</summary>
    public T Choice<T>(ReadOnlySpan<T> items) => items[Below(items.Length)];

    /// <summary>Two different items, in order.</summary>
    public (T First, T Second) Two<T>(ReadOnlySpan<T> items)
    {
        var first = Below(items.Length);
        var second = Below(items.Length - 1);
        // The second draw is among the others: it steps over the first.
        return (items[first], items[second >= first ? second + 1 : second]);
    }

    // SplitMix64's output function, a bijection of 64-bit integers.
    private static ulong Mix(ulong z)
    {
        unchecked
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
