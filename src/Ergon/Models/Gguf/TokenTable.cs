using System.Buffers.Binary;
using System.Text;

namespace Ergon.Models.Gguf;

/// <summary>The texts of a vocabulary, as libllama sees them (up to their first NUL), and which of them
/// are there. Takes at most twice the array's bytes; immutable once read.</summary>
internal sealed class TokenTable
{
    private const int MaxTokens = 1 << 24;
    private const int MaxBytes = 256 << 20;
    private const string Key = "tokenizer.ggml.tokens";

    private readonly byte[] _array;  // as in the file: each text after its 8-byte length
    private readonly ulong[] _slots; // a text's hash, then 1 + where its length lies in _array; 0 is free

    private TokenTable(byte[] array, int count)
    {
        _array = array;
        Count = count;
        // Only texts that are not empty are stored. Those take 9 bytes of the array or more, so that an
        // eighth of its length still leaves one slot in nine free.
        _slots = new ulong[Math.Min(count + count / 4, array.Length / 8) + 1];
    }

    public int Count { get; }

    /// <exception cref="GgufException">Two tokens are the same text, on which libllama aborts.</exception>
    public static TokenTable Read(GgufFile file, GgufEntry entry)
    {
        long bytes = entry.End - entry.DataOffset;
        if (entry.Count is < 1 or > MaxTokens || bytes > MaxBytes)
        {
            throw file.Error(Key, entry.Offset, $"has {entry.Count} tokens in {bytes} bytes, expected 1 to {MaxTokens} "
                + $"in at most {MaxBytes}: the file is damaged, download it again");
        }
        var table = new TokenTable(file.ReadBytes(Key, entry.DataOffset, bytes, MaxBytes), (int)entry.Count);
        bool anyEmpty = false;
        int at = 0;
        for (int i = 0; i < table.Count; i++)
        {
            int left = table._array.Length - at - 8;
            if (left < 0 || BinaryPrimitives.ReadUInt64LittleEndian(table._array.AsSpan(at)) > (ulong)left)
                throw file.Error($"{Key}[{i}]", entry.DataOffset + at, "has changed since the file was checked: open it again");
            var text = table.Next(ref at, out int start);
            if (text.IsEmpty)
                anyEmpty = true;
            else if (!table.TryAdd(text, start))
                throw Repeated(file, entry, i, start, text);
        }
        if (anyEmpty)
            table.CheckPlaceholders(file, entry);
        return table;
    }

    public bool Contains(ReadOnlySpan<byte> text) => _slots[FindSlot(text, Hash(text))] != 0;

    /// <summary>The text of the token that begins at <paramref name="at"/>, which moves on to the next
    /// one; <paramref name="start"/> is where it was, counted from the array's first element.</summary>
    public ReadOnlySpan<byte> Next(ref int at, out int start)
    {
        start = at;
        var text = TextAt(at, out int length);
        at += 8 + length;
        return text;
    }

    private ReadOnlySpan<byte> TextAt(int at, out int length)
    {
        length = (int)BinaryPrimitives.ReadInt64LittleEndian(_array.AsSpan(at));
        var text = _array.AsSpan(at + 8, length);
        int end = text.IndexOf((byte)0);
        return end < 0 ? text : text[..end];
    }

    private bool TryAdd(ReadOnlySpan<byte> text, int start)
    {
        uint hash = Hash(text);
        ref ulong slot = ref _slots[FindSlot(text, hash)];
        if (slot != 0)
            return false;
        slot = (ulong)hash << 32 | (uint)(start + 1);
        return true;
    }

    private int FindSlot(ReadOnlySpan<byte> text, uint hash)
    {
        int slot = (int)((ulong)hash * (ulong)_slots.Length >> 32);
        // Comparing the hashes first saves a walk to the texts, most of which are not in the processor's cache.
        while (_slots[slot] != 0 && (_slots[slot] >> 32 != hash || !TextAt((int)(uint)_slots[slot] - 1, out _).SequenceEqual(text)))
            slot = slot + 1 == _slots.Length ? 0 : slot + 1;
        return slot;
    }

    // HashCode is seeded anew in each process, so that no file can bring collisions with it.
    private static uint Hash(ReadOnlySpan<byte> text)
    {
        var hash = new HashCode();
        hash.AddBytes(text);
        return (uint)hash.ToHashCode();
    }

    // libllama calls an empty token [EMPTY_i].
    private void CheckPlaceholders(GgufFile file, GgufEntry entry)
    {
        int at = 0;
        for (int i = 0; i < Count; i++)
        {
            if (Next(ref at, out int start).IsEmpty && Encoding.ASCII.GetBytes($"[EMPTY_{i}]") is var name && Contains(name))
                throw Repeated(file, entry, i, start, name);
        }
    }

    private static GgufException Repeated(GgufFile file, GgufEntry entry, int index, int start, ReadOnlySpan<byte> text) =>
        file.Error($"{Key}[{index}]", entry.DataOffset + start,
            $"is {GgufCursor.Quote(text)}, which is there already: the vocabulary was converted wrongly, download another conversion of the model");
}
