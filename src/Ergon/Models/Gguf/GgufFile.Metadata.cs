using System.Buffers.Binary;
using System.Text;

namespace Ergon.Models.Gguf;

// Typed reading of the metadata. Find... returns null when the key is absent; Get... throws then. Both
// throw when the value has another kind of type; integers are taken from any width that they fit in.
internal sealed partial class GgufFile
{
    private const int MaxText = 64 << 20;
    private readonly Dictionary<string, GgufEntry> _entries;

    /// <summary>The metadata keys, in file order.</summary>
    public IReadOnlyList<string> Keys { get; }

    /// <summary>Where the key's value lies, or <see langword="null"/>.</summary>
    public GgufEntry? FindEntry(string key) => _entries.TryGetValue(key, out var entry) ? entry : null;

    /// <summary>The text as UTF-8; invalid bytes read as U+FFFD.</summary>
    /// <exception cref="GgufException">The value is not a string.</exception>
    public string? FindString(string key)
    {
        if (FindEntry(key) is not { } entry)
            return null;
        if (entry.Type != GgufValueType.String)
            throw WrongType(key, entry, "str");
        return Encoding.UTF8.GetString(ReadBytes(key, entry.DataOffset, entry.Count));
    }

    /// <exception cref="GgufException">The value is not an integer from 0 to 2^32 - 1.</exception>
    public uint? FindUInt32(string key) =>
        FindEntry(key) is { } entry ? (uint)Integer(key, entry, uint.MinValue, uint.MaxValue, "u32") : null;

    /// <exception cref="GgufException">The value is not a floating-point number.</exception>
    public float? FindFloat(string key) => FindEntry(key) is { } entry
        ? entry.Type switch
        {
            GgufValueType.Float32 => BitConverter.UInt32BitsToSingle((uint)entry.Bits),
            GgufValueType.Float64 => (float)BitConverter.UInt64BitsToDouble(entry.Bits),
            _ => throw WrongType(key, entry, "f32"),
        }
        : null;

    /// <exception cref="GgufException">The value is not a bool.</exception>
    public bool? FindBool(string key) => FindEntry(key) is { } entry
        ? entry.Type == GgufValueType.Bool ? entry.Bits != 0 : throw WrongType(key, entry, "bool")
        : null;

    /// <inheritdoc cref="FindString"/>
    public string GetString(string key) => FindString(key) ?? throw Absent(key);

    /// <inheritdoc cref="FindUInt32"/>
    public uint GetUInt32(string key) => FindUInt32(key) ?? throw Absent(key);

    /// <inheritdoc cref="FindFloat"/>
    public float GetFloat(string key) => FindFloat(key) ?? throw Absent(key);

    /// <inheritdoc cref="FindBool"/>
    public bool GetBool(string key) => FindBool(key) ?? throw Absent(key);

    /// <summary>Elements of an array, whatever their type; <see langword="null"/> when the key is absent.</summary>
    /// <exception cref="GgufException">The value is not an array.</exception>
    public long? FindArrayLength(string key) => FindEntry(key) is { } entry
        ? entry.Type == GgufValueType.Array ? entry.Count : throw WrongType(key, entry, "arr")
        : null;

    /// <summary>The elements of an integer or bool array, or <see langword="null"/>.</summary>
    /// <exception cref="GgufException">The value is not such an array, or an element does not fit.</exception>
    public int[]? FindInt32Array(string key) => FindArray(key, "i32",
        (entry, bits) => (int)Integer(key, entry, int.MinValue, int.MaxValue, "i32", bits));

    /// <summary>The elements of a floating-point array, or <see langword="null"/>.</summary>
    /// <exception cref="GgufException">The value is not such an array.</exception>
    public float[]? FindFloatArray(string key) => FindArray(key, "f32", (entry, bits) => entry.ElementType switch
    {
        GgufValueType.Float32 => BitConverter.UInt32BitsToSingle((uint)bits),
        GgufValueType.Float64 => (float)BitConverter.UInt64BitsToDouble(bits),
        _ => throw WrongType(key, entry, "arr[f32]"),
    });

    /// <summary>The elements of a string array, read from the file as they are enumerated.</summary>
    /// <exception cref="GgufException">The key is absent, or the value is not an array of strings.</exception>
    public IEnumerable<string> GetStrings(string key)
    {
        var entry = FindEntry(key) ?? throw Absent(key);
        if (entry.Type != GgufValueType.Array || entry.ElementType != GgufValueType.String)
            throw WrongType(key, entry, "arr[str]");
        return Stream();

        IEnumerable<string> Stream()
        {
            using var cursor = GgufCursor.Open(Path);
            cursor.Position = entry.DataOffset;
            for (long i = 0; i < entry.Count; i++)
            {
                long length = cursor.ReadLength(key, i);
                if (length <= GgufCursor.Window)
                {
                    yield return Encoding.UTF8.GetString(cursor.Read((int)length, key, i));
                    continue;
                }
                yield return Encoding.UTF8.GetString(ReadBytes(key, cursor.Position, length));
                cursor.Skip(length, key, i);
            }
        }
    }

    /// <summary>A value as it stands in the file, its type number first.</summary>
    public byte[] ReadRaw(string key)
    {
        var entry = FindEntry(key) ?? throw Absent(key);
        return ReadBytes(key, entry.Offset - 4, entry.End - entry.Offset + 4);
    }

    private T[]? FindArray<T>(string key, string expected, Func<GgufEntry, ulong, T> convert)
    {
        if (FindEntry(key) is not { } entry)
            return null;
        int size = entry.ElementType.Size();
        if (entry.Type != GgufValueType.Array || size == 0)
            throw WrongType(key, entry, $"arr[{expected}]");
        if (entry.Count > Array.MaxLength)
            throw Error(key, entry.Offset, $"has {entry.Count} elements, more than an array can hold");
        using var cursor = GgufCursor.Open(Path);
        cursor.Position = entry.DataOffset;
        var values = new T[entry.Count];
        Span<byte> bits = stackalloc byte[8];
        for (int i = 0; i < values.Length; i++)
        {
            bits.Clear();
            cursor.Read(size, key, i).CopyTo(bits);
            values[i] = convert(entry, BinaryPrimitives.ReadUInt64LittleEndian(bits));
        }
        return values;
    }

    private long Integer(string key, GgufEntry entry, long min, long max, string expected, ulong? element = null)
    {
        ulong bits = element ?? entry.Bits;
        long value = entry.ElementType switch
        {
            GgufValueType.UInt8 or GgufValueType.UInt16 or GgufValueType.UInt32 => (long)bits,
            GgufValueType.Bool when element is not null => (long)bits,
            GgufValueType.Int8 => (sbyte)bits,
            GgufValueType.Int16 => (short)bits,
            GgufValueType.Int32 => (int)bits,
            GgufValueType.Int64 => (long)bits,
            GgufValueType.UInt64 when bits <= long.MaxValue => (long)bits,
            GgufValueType.UInt64 => throw Error(key, entry.Offset, $"is {bits}, which does not fit in {expected}"),
            _ => throw WrongType(key, entry, expected),
        };
        return value >= min && value <= max ? value : throw Error(key, entry.Offset, $"is {value}, which does not fit in {expected}");
    }

    /// <summary>A run of the first part, for a value of that key.</summary>
    public byte[] ReadBytes(string key, long offset, long count, int max = MaxText)
    {
        if (count > max)
            throw Error(key, offset, $"has {count} bytes, more than the {max} of the longest text that Ergon reads");
        using var cursor = GgufCursor.Open(Path);
        cursor.Position = offset;
        var bytes = new byte[count];
        cursor.ReadInto(bytes, key);
        return bytes;
    }

    public GgufException Error(string field, long offset, string problem) => new(Path, field, offset, problem);

    public GgufException WrongType(string key, GgufEntry entry, string expected) =>
        Error(key, entry.Offset, $"is {entry.TypeName}, expected {expected}: convert the model again with a current tool");

    public GgufException Absent(string key) => new(Path, $"has no {key}: convert the model again with a current tool");
}
