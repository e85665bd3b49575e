using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Models;

/// <summary>
/// A stock of blocks of normally distributed values, quantised once. Matrices are written as random sequences
/// of them: a billion weights take seconds, where quantising each would take minutes.
/// </summary>
internal sealed class RandomBlocks
{
    private const int Stock = 4096, Chunk = 1 << 16;

    private readonly byte[] _blocks;
    private readonly int _elements; // of one block
    private readonly int _bytes; // of one block

    /// <param name="type">How they are stored.</param>
    /// <param name="deviation">Standard deviation; the mean is 0.</param>
    /// <param name="random">Where they come from.</param>
    public RandomBlocks(GgmlType type, float deviation, Random random)
    {
        var traits = type.Traits();
        _elements = Math.Max(traits.BlockSize, 32);
        _blocks = Quantizer.Quantize(type, Normal(Stock * _elements, 0, deviation, random), _elements);
        _bytes = _blocks.Length / Stock;
    }

    /// <summary>Writes so many elements.</summary>
    public void WriteTo(Stream stream, long elements, Random random)
    {
        var buffer = new byte[Chunk * _bytes];
        for (var left = elements / _elements; left > 0;)
        {
            var count = (int)Math.Min(left, Chunk);
            for (var i = 0; i < count; i++)
                _blocks.AsSpan(random.Next(Stock) * _bytes, _bytes).CopyTo(buffer.AsSpan(i * _bytes));
            stream.Write(buffer.AsSpan(0, count * _bytes));
            left -= count;
        }
    }

    /// <summary>Normally distributed values.</summary>
    public static float[] Normal(int count, float mean, float deviation, Random random)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            // Box and Muller; 1 - x lies above 0, whose logarithm is finite.
            var radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            values[i] = mean + (deviation * (float)(radius * Math.Cos(2 * Math.PI * random.NextDouble())));
        }
        return values;
    }
}
