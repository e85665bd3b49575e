using System.Buffers.Binary;
using System.Text;

namespace Ergon.Tests.Models.Gguf;

/// <summary>A GGUF as plain fields that may hold anything, and where each of them comes to lie. Written
/// apart from the runtime's reader and writer, which are judged by it.</summary>
internal sealed class RawGguf
{
    public sealed record Key(byte[] Name, byte[] Value)
    {
        public string Text => Encoding.ASCII.GetString(Name);
    }

    public sealed record Tensor(byte[] Name, uint Dims, ulong[] Ne, uint Type, ulong Offset);

    public byte[] Magic { get; set; } = "GGUF"u8.ToArray();
    public uint Version { get; set; } = 3;
    public ulong? TensorCount { get; set; }
    public ulong? KeyCount { get; set; }
    public List<Key> Keys { get; } = [];
    public List<Tensor> Tensors { get; } = [];
    public byte[] Data { get; set; } = [];
    public int Alignment { get; set; } = 32;

    /// <summary>Where the named fields lay when it was last serialized: <c>key NAME</c>, <c>value NAME</c>,
    /// <c>tensor NAME</c>, <c>dims NAME</c>, <c>ne NAME</c>, <c>type NAME</c>, <c>offset NAME</c>, <c>data</c>.</summary>
    public Dictionary<string, long> At { get; } = [];

    public static RawGguf Parse(byte[] file)
    {
        var raw = new RawGguf();
        int at = 4;
        uint U32() => BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan((at += 4) - 4));
        ulong U64() => BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan((at += 8) - 8));
        byte[] Bytes(int count) => file[at..(at += count)];
        raw.Version = U32();
        int tensors = (int)U64(), keys = (int)U64();
        for (int i = 0; i < keys; i++)
        {
            byte[] name = Bytes((int)U64());
            int start = at;
            uint type = U32();
            if (type == 9)
            {
                type = U32();
                for (ulong n = U64(); n > 0; n--)
                    at += Size(type, file, at);
            }
            else
            {
                at += Size(type, file, at);
            }
            raw.Keys.Add(new(name, file[start..at]));
        }
        for (int i = 0; i < tensors; i++)
        {
            byte[] name = Bytes((int)U64());
            uint dims = U32();
            var ne = new ulong[dims];
            for (int d = 0; d < dims; d++)
                ne[d] = U64();
            raw.Tensors.Add(new(name, dims, ne, U32(), U64()));
        }
        raw.Alignment = raw.Keys.Find(k => k.Text == "general.alignment") is { } a ? BinaryPrimitives.ReadInt32LittleEndian(a.Value.AsSpan(4)) : 32;
        raw.Data = file[Math.Min(file.Length, (at + raw.Alignment - 1) & -raw.Alignment)..];
        return raw;
    }

    public byte[] Serialize()
    {
        var bytes = new MemoryStream();
        var writer = new BinaryWriter(bytes);
        writer.Write(Magic);
        writer.Write(Version);
        writer.Write(TensorCount ?? (ulong)Tensors.Count);
        writer.Write(KeyCount ?? (ulong)Keys.Count);
        foreach (var key in Keys)
        {
            At["key " + key.Text] = bytes.Position;
            writer.Write((ulong)key.Name.Length);
            writer.Write(key.Name);
            At["value " + key.Text] = bytes.Position + 4;
            writer.Write(key.Value);
        }
        foreach (var tensor in Tensors)
        {
            string name = Encoding.ASCII.GetString(tensor.Name);
            At["tensor " + name] = bytes.Position;
            writer.Write((ulong)tensor.Name.Length);
            writer.Write(tensor.Name);
            At["dims " + name] = bytes.Position;
            writer.Write(tensor.Dims);
            At["ne " + name] = bytes.Position;
            foreach (ulong n in tensor.Ne)
                writer.Write(n);
            At["type " + name] = bytes.Position;
            writer.Write(tensor.Type);
            At["offset " + name] = bytes.Position;
            writer.Write(tensor.Offset);
        }
        At["header end"] = bytes.Position;
        while (bytes.Position % Alignment != 0)
            writer.Write((byte)0);
        At["data"] = bytes.Position;
        writer.Write(Data);
        return bytes.ToArray();
    }

    /// <summary>Gives a key another value, or adds the key.</summary>
    public void Set(string key, byte[] value)
    {
        int index = Keys.FindIndex(k => k.Text == key);
        if (index < 0)
            Keys.Add(new(Encoding.ASCII.GetBytes(key), value));
        else
            Keys[index] = Keys[index] with { Value = value };
    }

    public void Remove(string key) => Keys.RemoveAll(k => k.Text == key);

    private static int Size(uint type, byte[] file, int at) => type switch
    {
        0 or 1 or 7 => 1,
        2 or 3 => 2,
        4 or 5 or 6 => 4,
        8 => 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at)),
        _ => 8,
    };
}

/// <summary>Metadata values as they lie in a file, right or wrong: the type number, then the bytes.</summary>
internal static class RawValue
{
    public static byte[] U32(uint value) => Raw(4, BitConverter.GetBytes(value));

    public static byte[] Text(string value) => Raw(8, Sized(Encoding.UTF8.GetBytes(value)));

    public static byte[] Texts(IReadOnlyCollection<string> values) => Texts(values.Select(Encoding.UTF8.GetBytes).ToList());

    public static byte[] Texts(IReadOnlyCollection<byte[]> values) =>
        Array(8, (ulong)values.Count, values.SelectMany(Sized).ToArray());

    public static byte[] Int32s(params int[] values) => Array(5, (ulong)values.Length, values.SelectMany(BitConverter.GetBytes).ToArray());

    public static byte[] Array(uint elementType, ulong count, byte[] elements) =>
        Raw(9, [.. BitConverter.GetBytes(elementType), .. BitConverter.GetBytes(count), .. elements]);

    public static byte[] Raw(uint type, byte[] bytes) => [.. BitConverter.GetBytes(type), .. bytes];

    /// <summary>A well-formed value of that type.</summary>
    public static byte[] Any(uint type) => type switch
    {
        8 => Text("x"),
        9 => Int32s(1),
        0 or 1 or 7 => Raw(type, [1]),
        2 or 3 => Raw(type, [1, 0]),
        4 or 5 or 6 => Raw(type, [1, 0, 0, 0]),
        _ => Raw(type, [1, 0, 0, 0, 0, 0, 0, 0]),
    };

    private static byte[] Sized(byte[] text) => [.. BitConverter.GetBytes((ulong)text.Length), .. text];
}
