using System.Buffers.Binary;

namespace Ergon.Tests.Models.Gguf;

/// <summary>Spoils a valid GGUF at random; the same seed gives the same mutant. Most faults fall into the
/// header, since the weights behind it are only numbers. Not thread-safe.</summary>
/// <param name="file">A whole file, or at least its header.</param>
/// <param name="headerLength">Where the weights begin.</param>
internal sealed class GgufMutator(byte[] file, int headerLength)
{
    // Lengths and counts that meet a bound, wrap round, or change sign.
    private static readonly ulong[] Interesting =
    [
        0, 1, 2, 3, 4, 8, 9, 13, 31, 32, 33, 63, 64, 127, 128, 255, 256, 512, 1024, 4096, 65535, 65536, 1 << 20, 1 << 24, 1 << 30,
        int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32, 1UL << 61, 1UL << 62, long.MaxValue, 1UL << 63, ulong.MaxValue - 31, ulong.MaxValue,
    ];

    /// <summary>The mutant of that seed: one to four faults.</summary>
    public byte[] Next(int seed)
    {
        var random = new Random(seed);
        byte[] mutant = file;
        for (int faults = 1 + (int)(3 * Math.Pow(random.NextDouble(), 3)); faults > 0 && mutant.Length > 0; faults--)
            mutant = Spoil(mutant, random);
        return mutant;
    }

    private byte[] Spoil(byte[] bytes, Random random)
    {
        int end = random.Next(20) == 0 ? bytes.Length : Math.Min(bytes.Length, headerLength);
        int at = random.Next(end);
        int count = 1 + random.Next(random.Next(4) == 0 ? 256 : 16);
        int from = random.Next(end);
        switch (random.Next(10))
        {
            case 0: // one bit
                return With(bytes, at, [(byte)(bytes[at] ^ (1 << random.Next(8)))]);
            case 1: // one byte
                return With(bytes, at, [(byte)random.Next(256)]);
            case 2: // off by a little
                return With(bytes, at, [(byte)(bytes[at] + random.Next(-4, 5))]);
            case 3 or 4: // another 32-bit number, where numbers often are
                return With(bytes, at & ~3, Number(random, 4));
            case 5 or 6:
                return With(bytes, at, Number(random, 8));
            case 7: // cut out
                return [.. bytes[..at], .. bytes[Math.Min(bytes.Length, at + count)..]];
            case 8: // a piece of the file again
                byte[] piece = bytes[from..Math.Min(bytes.Length, from + count)];
                return random.Next(2) == 0 ? [.. bytes[..at], .. piece, .. bytes[at..]] : With(bytes, at, piece);
            default:
                return bytes[..at];
        }
    }

    private static byte[] Number(Random random, int size)
    {
        var number = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(number, Interesting[random.Next(Interesting.Length)]);
        return number[..size];
    }

    private static byte[] With(byte[] bytes, int at, byte[] patch)
    {
        byte[] copy = [.. bytes];
        patch.AsSpan(0, Math.Min(patch.Length, bytes.Length - at)).CopyTo(copy.AsSpan(at));
        return copy;
    }
}
