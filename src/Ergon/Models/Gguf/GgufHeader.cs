using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Ergon.Native;

namespace Ergon.Models.Gguf;

/// <summary>The header of one GGUF file, read once, in order, and checked field by field: what gguf.cpp
/// would refuse, overflow on or abort on never gets past this. No array or string value is kept.</summary>
internal sealed class GgufHeader
{
    // ggml looks every key and every tensor name up among all the earlier ones: these bounds keep that
    // quadratic search, and our own index, within milliseconds and megabytes.
    private const int MaxKeys = 8192;
    private const int MaxTensors = 65536;
    private const int MaxKeyLength = 1024;
    private const int MaxNameLength = 63; // GGML_MAX_NAME, less the terminator
    private const int MinKeyBytes = 8 + 1 + 4 + 1;
    private const int MinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
    private const int MaxAlignment = 1 << 20;
    private const string Damaged = "the file is damaged, download it again";

    private readonly GgufCursor _cursor;
    private readonly int _part;

    private GgufHeader(GgufCursor cursor, int part)
    {
        _cursor = cursor;
        _part = part;
    }

    public uint Version { get; private set; }

    /// <summary>Tensors begin at multiples of this many bytes.</summary>
    public int Alignment { get; private set; } = 32;

    public Dictionary<string, GgufEntry> Entries { get; } = [];

    public List<string> Keys { get; } = [];

    public List<GgufTensor> Tensors { get; } = [];

    /// <exception cref="GgufException">Any field is malformed.</exception>
    public static GgufHeader Read(GgufCursor cursor, int part)
    {
        var header = new GgufHeader(cursor, part);
        header.ReadMagicAndVersion();
        int tensors = header.ReadCount("tensor count", MaxTensors, MinTensorBytes);
        int keys = header.ReadCount("key count", MaxKeys, MinKeyBytes);
        for (int i = 0; i < keys; i++)
            header.ReadKey(i);
        header.ReadAlignment();
        header.ReadTensors(tensors);
        return header;
    }

    private void ReadMagicAndVersion()
    {
        var start = _cursor.Read((int)Math.Min(_cursor.Length, 24), "magic");
        if (start.StartsWith("version https://git-lfs"u8))
        {
            throw new GgufException(_cursor.Path,
                "is a Git LFS pointer, not the model itself: run 'git lfs pull' in its repository, or download the file from its page");
        }
        if (start.StartsWith("<"u8))
            throw new GgufException(_cursor.Path, "is a web page, not a model: the download was refused or redirected, try it again");
        if (start.Length >= 4 && !start.StartsWith("GGUF"u8))
        {
            throw _cursor.Error("magic", 0, $"is {GgufCursor.Quote(start[..4])}, expected 'GGUF': "
                + "this is another kind of file, convert the model to GGUF");
        }
        _cursor.Position = 0;
        _cursor.Skip(4, "magic");
        Version = _cursor.ReadUInt32("version");
        if (Version is 2 or 3)
            return;
        throw _cursor.Error("version", 4, Version switch
        {
            1 => "is 1, which is no longer supported: convert the model again with a current tool",
            _ when BinaryPrimitives.ReverseEndianness(Version) is > 0 and < 0x10000 =>
                $"is 0x{Version:x8}: this is a big-endian file, convert it to little-endian",
            _ => $"is {Version}, expected 2 or 3: {Damaged}, or update Ergon",
        });
    }

    private int ReadCount(string field, int max, int minBytes)
    {
        ulong count = _cursor.ReadUInt64(field);
        if (count > (ulong)max)
            throw _cursor.Error(field, _cursor.Position - 8, $"is {count}, expected at most {max}: {Damaged}");
        if ((long)count * minBytes > _cursor.Length - _cursor.Position)
        {
            throw _cursor.Error(field, _cursor.Position - 8,
                $"is {count}, which needs {(long)count * minBytes} bytes, but only {_cursor.Length - _cursor.Position} follow: {Damaged}");
        }
        return (int)count;
    }

    private void ReadKey(int index)
    {
        long start = _cursor.Position;
        string key = ReadName("key", index, MaxKeyLength);
        if (Entries.ContainsKey(key))
            throw _cursor.Error(key, start, $"appears twice: {Damaged}");
        Entries.Add(key, ReadValue(key));
        Keys.Add(key);
    }

    private GgufEntry ReadValue(string key)
    {
        var type = ReadValueType(key, "type");
        long offset = _cursor.Position;
        switch (type)
        {
            case GgufValueType.String:
                long length = _cursor.ReadLength(key);
                _cursor.Skip(length, key);
                return new(type, type, length, offset, offset + 8, _cursor.Position, 0);
            case GgufValueType.Array:
                return ReadArray(key, offset);
            default:
                Span<byte> bits = stackalloc byte[8];
                _cursor.Read(type.Size(), key).CopyTo(bits);
                ulong value = BinaryPrimitives.ReadUInt64LittleEndian(bits);
                if (type == GgufValueType.Bool && value > 1)
                    throw _cursor.Error(key, offset, $"is {value}, expected 0 or 1 for a bool: {Damaged}");
                return new(type, type, 1, offset, offset, _cursor.Position, value);
        }
    }

    private GgufEntry ReadArray(string key, long offset)
    {
        var type = ReadValueType(key, "element type");
        if (type == GgufValueType.Array)
            throw _cursor.Error(key, offset, "is an array of arrays, which GGUF readers do not support: convert the model again");
        ulong count = _cursor.ReadUInt64(key);
        // A string takes at least the 8 bytes of its length.
        int minBytes = type == GgufValueType.String ? 8 : type.Size();
        long left = _cursor.Length - _cursor.Position;
        if (count > (ulong)(left / minBytes))
        {
            throw _cursor.Error(key, offset + 4, $"has {count} elements of at least {minBytes} bytes, "
                + $"but only {left} bytes follow: the file is damaged or incomplete, download it again");
        }
        long start = _cursor.Position;
        if (type == GgufValueType.String)
        {
            for (long i = 0; i < (long)count; i++)
                _cursor.Skip(_cursor.ReadLength(key, i), key, i);
        }
        else
        {
            _cursor.Skip((long)count * minBytes, key);
        }
        return new(GgufValueType.Array, type, (long)count, offset, start, _cursor.Position, 0);
    }

    private GgufValueType ReadValueType(string key, string what)
    {
        uint type = _cursor.ReadUInt32(key);
        if (type >= GgufValueTypes.Count)
            throw _cursor.Error(key, _cursor.Position - 4, $"has {what} {type}, expected 0 to {GgufValueTypes.Count - 1}: {Damaged}");
        return (GgufValueType)type;
    }

    private void ReadAlignment()
    {
        const string key = "general.alignment";
        if (!Entries.TryGetValue(key, out var entry))
            return;
        if (entry.Type != GgufValueType.UInt32)
            throw _cursor.Error(key, entry.Offset, $"is {entry.TypeName}, expected u32: convert the model again");
        if (entry.Bits is < 8 or > MaxAlignment || !ulong.IsPow2(entry.Bits))
            throw _cursor.Error(key, entry.Offset, $"is {entry.Bits}, expected a power of two from 8 to {MaxAlignment}: {Damaged}");
        Alignment = (int)entry.Bits;
    }

    private void ReadTensors(int count)
    {
        if (count == 0)
            return;
        var names = new HashSet<string>(count);
        long dataEnd = 0; // relative to the start of the data, which is known only after the last description
        for (int i = 0; i < count; i++)
        {
            long start = _cursor.Position;
            string name = ReadName("tensor", i, MaxNameLength);
            if (!names.Add(name))
                throw _cursor.Error($"tensor '{name}'", start, $"appears twice: {Damaged}");
            var tensor = ReadTensor(name, i, dataEnd);
            dataEnd = Pad(tensor.FileOffset + tensor.Bytes);
            Tensors.Add(tensor);
        }
        long data = Pad(_cursor.Position);
        for (int i = 0; i < count; i++)
        {
            var tensor = Tensors[i] with { FileOffset = data + Tensors[i].FileOffset };
            // The last tensor's padding may be missing and anything may follow it, as with llama.cpp.
            if (tensor.FileOffset + tensor.Bytes > _cursor.Length)
            {
                throw _cursor.Error($"tensor '{tensor.Name}' data", tensor.FileOffset,
                    $"needs {tensor.Bytes} bytes, but the file ends at byte {_cursor.Length}: it is incomplete, download it again");
            }
            Tensors[i] = tensor;
        }
    }

    /// <summary>A tensor whose offset still counts from the start of the data section.</summary>
    private GgufTensor ReadTensor(string name, int index, long expectedOffset)
    {
        GgufException Error(string what, long at, string problem) => _cursor.Error($"tensor '{name}' {what}", at, problem);

        long shapeAt = _cursor.Position;
        uint dims = _cursor.ReadUInt32("tensor", index);
        if (dims is < 1 or > 4)
            throw Error("dimensions", shapeAt, $"are {dims}, expected 1 to 4: {Damaged}");
        long[] ne = [1, 1, 1, 1];
        for (int i = 0; i < dims; i++)
        {
            ulong n = _cursor.ReadUInt64("tensor", index);
            if (n is < 1 or > long.MaxValue)
                throw Error($"ne[{i}]", _cursor.Position - 8, $"is {n}, expected 1 to {long.MaxValue}: {Damaged}");
            ne[i] = (long)n;
        }

        long typeAt = _cursor.Position;
        var type = (GgmlType)_cursor.ReadUInt32("tensor", index);
        if (!GgmlTypes.TryGetTraits(type, out var traits))
        {
            throw Error("type", typeAt, (uint)type < GgmlTypes.Count
                ? $"is {(uint)type}, which ggml has removed: download a current quantisation of the model"
                : $"is {(uint)type}, expected 0 to {GgmlTypes.Count - 1}: {Damaged}, or update Ergon");
        }
        if (ne[0] % traits.BlockSize != 0)
            throw Error("ne[0]", shapeAt + 4, $"is {ne[0]}, expected a multiple of {traits.BlockSize} for {traits.Name}: {Damaged}");
        // ggml counts both in 64 bits; a quantised tensor has more elements than bytes.
        if (!TryProduct(ne[0], ne, out _) || !TryProduct(ne[0] / traits.BlockSize * (Int128)traits.BlockBytes, ne, out long bytes))
            throw Error("shape", shapeAt + 4, $"[{string.Join(", ", ne)}] is too large: {Damaged}");

        long offsetAt = _cursor.Position;
        ulong offset = _cursor.ReadUInt64("tensor", index);
        if (offset != (ulong)expectedOffset)
        {
            throw Error("offset", offsetAt, $"is {offset}, expected {expectedOffset}"
                + (offset % (ulong)Alignment != 0 ? $" (it is not a multiple of the alignment, {Alignment})"
                    : offset < (ulong)expectedOffset ? " (it overlaps the tensor before it)"
                    : " (tensors follow each other without gaps)")
                + $": {Damaged}");
        }
        if (bytes > _cursor.Length - expectedOffset)
        {
            throw Error("shape", shapeAt + 4, $"[{string.Join(", ", ne)}] takes {bytes} bytes of {traits.Name}, "
                + $"more than the file's {_cursor.Length} leave: the file is damaged or incomplete, download it again");
        }
        return new(name, type, ImmutableCollectionsMarshal.AsImmutableArray(ne), _part, expectedOffset, bytes);
    }

    private string ReadName(string what, int index, int maxLength)
    {
        long start = _cursor.Position;
        long length = _cursor.ReadLength(what, index);
        if (length < 1 || length > maxLength)
            throw _cursor.Error($"{what}[{index}]", start, $"has a name of {length} bytes, expected 1 to {maxLength}: {Damaged}");
        var name = _cursor.Read((int)length, what, index);
        // ggml compares names up to the first NUL: anything but printable ASCII could name two things alike.
        if (name.ContainsAnyExceptInRange((byte)0x20, (byte)0x7e))
            throw _cursor.Error($"{what}[{index}]", start + 8, $"is named {GgufCursor.Quote(name)}, expected printable ASCII: {Damaged}");
        return Encoding.ASCII.GetString(name);
    }

    private static bool TryProduct(Int128 row, long[] ne, out long product)
    {
        product = 0;
        for (int i = 1; i < 4 && row <= long.MaxValue; i++)
            row *= ne[i];
        if (row > long.MaxValue)
            return false;
        product = (long)row;
        return true;
    }

    private long Pad(long position) => (position + Alignment - 1) & -Alignment;
}
