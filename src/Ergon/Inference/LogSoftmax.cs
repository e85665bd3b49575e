using System.Numerics;

namespace Ergon.Inference;

/// <summary>What a row of logits says of its tokens.</summary>
internal static class LogSoftmax
{
    /// <summary>The natural logarithm of a token's probability under the model's own distribution: the softmax of the raw logits, temperature 1, nothing left out.</summary>
    /// <param name="logits">[n_vocab], finite.</param>
    /// <param name="token">Whose.</param>
    public static double Of(ReadOnlySpan<float> logits, int token)
    {
        var (width, max, i) = (Vector<float>.Count, Max(logits), 0);
        // Sums in double: a vocabulary of 10^5 terms would cost a float its last digits.
        var (low, high, top) = (Vector<double>.Zero, Vector<double>.Zero, new Vector<float>(max));
        for (; i <= logits.Length - width; i += width)
        {
            Vector.Widen(Vector.Exp(new Vector<float>(logits[i..]) - top), out var a, out var b);
            (low, high) = (low + a, high + b);
        }
        var sum = Vector.Sum(low + high);
        for (; i < logits.Length; i++)
            sum += Math.Exp((double)logits[i] - max);
        return (double)logits[token] - max - Math.Log(sum);
    }

    /// <summary>The greatest of some values.</summary>
    public static float Max(ReadOnlySpan<float> values)
    {
        var best = new Vector<float>(float.NegativeInfinity);
        var i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
            best = Vector.Max(best, new Vector<float>(values[i..]));
        var max = float.NegativeInfinity;
        for (var lane = 0; lane < Vector<float>.Count; lane++)
            max = MathF.Max(max, best[lane]);
        for (; i < values.Length; i++)
            max = MathF.Max(max, values[i]);
        return max;
    }
}
