using System.Numerics;
using Ergon.Native.Llama;

namespace Ergon.Inference;

/// <summary>
/// Draws from the whole distribution at a temperature, as repeated sampling does: the token that <see cref="SamplerChain"/> would draw, but for a
/// number that falls on the very edge between two, by vectors and without a list of candidates: vocabularies of 10^5 tokens are gone over for each row of a pass.
/// </summary>
/// <param name="seed">Of the generation.</param>
/// <param name="temperature">Above 0.</param>
internal readonly struct PlainDraw(uint seed, float temperature)
{
    private const int Block = 512;

    /// <summary>Chooses a token.</summary>
    /// <param name="logits">[n_vocab], finite or minus infinity, not all of that.</param>
    /// <param name="index">Of the token in its generation.</param>
    public int Sample(ReadOnlySpan<float> logits, int index)
    {
        var max = LogSoftmax.Max(logits) / temperature;
        Span<double> sums = stackalloc double[(logits.Length + Block - 1) / Block];
        var total = 0.0;
        for (var b = 0; b < sums.Length; b++)
            total += sums[b] = Sum(logits[(b * Block)..Math.Min(logits.Length, (b + 1) * Block)], max);
        var target = total * Uniform(SamplerChain.SeedOf(seed, index));
        var block = 0;
        while (block < sums.Length - 1 && target > sums[block])
            target -= sums[block++];
        // Rounding may leave the target a little beyond the block: its last possible token then.
        var (chosen, run) = (-1, 0.0);
        for (var i = block * Block; i < Math.Min(logits.Length, (block + 1) * Block); i++)
        {
            var p = MathF.Exp((logits[i] / temperature) - max);
            run += p;
            if (p > 0)
                chosen = i;
            if (run >= target && chosen >= 0)
                break;
        }
        return chosen >= 0 ? chosen : TokenSampler.IndexOfMax(logits);
    }

    private double Sum(ReadOnlySpan<float> logits, float max)
    {
        var (low, high, by, top) = (Vector<double>.Zero, Vector<double>.Zero, new Vector<float>(temperature), new Vector<float>(max));
        var i = 0;
        for (; i <= logits.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.Widen(Vector.Exp((new Vector<float>(logits[i..]) / by) - top), out var a, out var b);
            (low, high) = (low + a, high + b);
        }
        var sum = Vector.Sum(low + high);
        for (; i < logits.Length; i++)
            sum += MathF.Exp((logits[i] / temperature) - max);
        return sum;
    }

    /// <summary>The first number in [0, 1) that C++'s <c>uniform_real_distribution</c> makes of a Mersenne twister (Matsumoto and Nishimura 1998) with a seed: 64 bits of it.</summary>
    internal static double Uniform(uint seed)
    {
        // Only these of the 624 words are in the first two outputs.
        Span<uint> words = stackalloc uint[399];
        words[0] = seed;
        for (var i = 1; i < words.Length; i++)
            words[i] = (1812433253 * (words[i - 1] ^ (words[i - 1] >> 30))) + (uint)i;
        var uniform = (Output(words, 0) + (Output(words, 1) * 4294967296.0)) / 18446744073709551616.0;
        return uniform < 1 ? uniform : Math.BitDecrement(1.0);

        static uint Output(ReadOnlySpan<uint> words, int i)
        {
            var y = (words[i] & 0x80000000) | (words[i + 1] & 0x7fffffff);
            y = words[i + 397] ^ (y >> 1) ^ ((y & 1) * 0x9908b0df);
            y ^= y >> 11;
            y ^= (y << 7) & 0x9d2c5680;
            y ^= (y << 15) & 0xefc60000;
            return y ^ (y >> 18);
        }
    }
}
