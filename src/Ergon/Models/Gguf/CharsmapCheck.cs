using System.Runtime.InteropServices;

namespace Ergon.Models.Gguf;

/// <summary>Walks a SentencePiece normaliser (<c>precompiled_charsmap</c>) as libllama does for every
/// possible text: a 4-byte length, a double-array trie of 32-bit units, then NUL-terminated
/// replacements. libllama checks the bounds only while it tokenizes, and throws through its C API then.</summary>
internal static class CharsmapCheck
{
    /// <summary>What is wrong, or <see langword="null"/>.</summary>
    public static string? FindProblem(ReadOnlySpan<byte> map)
    {
        if (map.Length < 4)
            return $"has {map.Length} bytes, expected its 4-byte length first";
        uint trieBytes = MemoryMarshal.Read<uint>(map);
        if (trieBytes + 4L >= map.Length)
            return $"announces a trie of {trieBytes} bytes, but only {map.Length - 4} follow";
        var units = MemoryMarshal.Cast<byte, uint>(map.Slice(4, (int)trieBytes));
        int lastTerminator = map[(4 + (int)trieBytes)..].LastIndexOf((byte)0);
        return units.IsEmpty ? null : WalkTrie(units, lastTerminator);
    }

    private static string? WalkTrie(ReadOnlySpan<uint> units, int lastTerminator)
    {
        var reached = new bool[units.Length];
        var nodes = new Stack<uint>();
        nodes.Push(Base(units[0]));
        while (nodes.TryPop(out uint node))
        {
            for (uint c = 1; c < 256; c++)
            {
                uint child = node ^ c;
                if (child >= units.Length)
                    return $"has a trie that leads to unit {child} of {units.Length}";
                uint unit = units[(int)child];
                if ((unit & 0x8000_00ff) != c || reached[child])
                    continue;
                reached[child] = true;
                uint next = child ^ Base(unit);
                if ((unit & 0x100) != 0)
                {
                    if (next >= units.Length)
                        return $"has a trie that leads to unit {next} of {units.Length}";
                    uint replacement = units[(int)next] & 0x7fff_ffff;
                    if (replacement > lastTerminator)
                        return $"has a replacement at {replacement} that is not terminated";
                }
                nodes.Push(next);
            }
        }
        return null;
    }

    private static uint Base(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}
