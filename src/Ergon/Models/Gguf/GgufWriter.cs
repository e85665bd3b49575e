using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using Ergon.Native;

namespace Ergon.Models.Gguf;

/// <summary>Writes a GGUF version 3 file that <see cref="GgufFile.OpenContainer"/> reads back: keys and
/// tensors in the order in which they were added, little-endian. Not thread-safe.</summary>
internal sealed class GgufWriter
{
    private readonly int _alignment;
    private readonly List<(string Key, byte[] Value)> _keys = [];
    private readonly List<PendingTensor> _tensors = [];
    private readonly HashSet<string> _names = [];

    /// <param name="alignment">Tensors begin at multiples of this many bytes: a power of two, at least 8.</param>
    public GgufWriter(int alignment = 32)
    {
        if (alignment < 8 || !BitOperations.IsPow2(alignment))
            throw new ArgumentOutOfRangeException(nameof(alignment), alignment, "A power of two from 8 on.");
        _alignment = alignment;
        if (alignment != 32)
            Add("general.alignment", (uint)alignment);
    }

    /// <summary>Adds a number or a bool; the type in the file is that of <paramref name="value"/>.</summary>
    public void Add<T>(string key, T value) where T : unmanaged
    {
        var bytes = Value(key, TypeOf<T>());
        bytes.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));
        Commit(key, bytes);
    }

    /// <summary>Adds a text, as UTF-8.</summary>
    public void Add(string key, string value)
    {
        var bytes = Value(key, GgufValueType.String);
        WriteText(bytes, Encoding.UTF8.GetBytes(value));
        Commit(key, bytes);
    }

    /// <summary>Adds an array of numbers or bools.</summary>
    public void AddArray<T>(string key, ReadOnlySpan<T> values) where T : unmanaged
    {
        var bytes = Value(key, GgufValueType.Array, TypeOf<T>(), values.Length);
        bytes.Write(MemoryMarshal.AsBytes(values));
        Commit(key, bytes);
    }

    /// <summary>Adds an array of texts, as UTF-8.</summary>
    public void AddArray(string key, IReadOnlyCollection<string> values)
    {
        var bytes = Value(key, GgufValueType.Array, GgufValueType.String, values.Count);
        foreach (string value in values)
            WriteText(bytes, Encoding.UTF8.GetBytes(value));
        Commit(key, bytes);
    }

    /// <summary>Adds a key with the value that it has in another file, whatever its type.</summary>
    public void Copy(GgufFile source, string key)
    {
        using var bytes = new MemoryStream();
        bytes.Write(source.ReadRaw(key));
        Commit(key, bytes);
    }

    /// <summary>Adds a tensor whose data is produced when the file is written, one tensor at a time.</summary>
    /// <param name="name">1 to 63 printable ASCII characters, unique.</param>
    /// <param name="type">How the elements are stored.</param>
    /// <param name="ne">1 to 4 dimensions, the row first; a row holds whole blocks of the type.</param>
    /// <param name="write">Writes exactly the tensor's bytes.</param>
    public void AddTensor(string name, GgmlType type, ReadOnlySpan<long> ne, Action<Stream> write)
    {
        var traits = type.Traits();
        RequireName(name, 63);
        if (!_names.Add(name))
            throw new ArgumentException($"The tensor {name} is already there.", nameof(name));
        if (ne.Length is < 1 or > 4 || ne.ContainsAnyExceptInRange(1, long.MaxValue) || ne[0] % traits.BlockSize != 0)
            throw new ArgumentException($"{name}: [{string.Join(", ", ne.ToArray())}] is not a shape of {traits.Name}.", nameof(ne));
        long bytes = ne[0] / traits.BlockSize * traits.BlockBytes;
        foreach (long n in ne[1..])
            bytes = checked(bytes * n);
        _tensors.Add(new(name, type, ne.ToArray(), bytes, write));
    }

    /// <inheritdoc cref="AddTensor(string, GgmlType, ReadOnlySpan{long}, Action{Stream})"/>
    public void AddTensor(string name, GgmlType type, ReadOnlySpan<long> ne, ReadOnlyMemory<byte> data) =>
        AddTensor(name, type, ne, stream => stream.Write(data.Span));

    /// <summary>Writes the file under another name first, so that a model of this name is always whole.</summary>
    public void Write(string path)
    {
        string partial = path + ".partial";
        try
        {
            using (var stream = File.Create(partial))
                Write(stream);
            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Writes to a stream that can tell its position, which need not be its beginning.</summary>
    /// <exception cref="InvalidOperationException">A tensor's callback wrote more or less than its shape takes.</exception>
    public void Write(Stream stream)
    {
        long start = stream.Position;
        stream.Write("GGUF"u8);
        WriteUInt32(stream, 3);
        WriteUInt64(stream, (ulong)_tensors.Count);
        WriteUInt64(stream, (ulong)_keys.Count);
        foreach (var (key, value) in _keys)
        {
            WriteText(stream, Encoding.ASCII.GetBytes(key));
            stream.Write(value);
        }
        ulong offset = 0;
        foreach (var tensor in _tensors)
        {
            WriteText(stream, Encoding.ASCII.GetBytes(tensor.Name));
            WriteUInt32(stream, (uint)tensor.Ne.Length);
            foreach (long n in tensor.Ne)
                WriteUInt64(stream, (ulong)n);
            WriteUInt32(stream, (uint)tensor.Type);
            WriteUInt64(stream, offset);
            offset += (ulong)(tensor.Bytes + Padding(tensor.Bytes));
        }
        foreach (var tensor in _tensors)
        {
            stream.Write(new byte[Padding(stream.Position - start)]);
            long before = stream.Position;
            tensor.Write(stream);
            if (stream.Position - before != tensor.Bytes)
                throw new InvalidOperationException($"{tensor.Name}: {stream.Position - before} bytes were written, {tensor.Bytes} announced.");
        }
        stream.Write(new byte[Padding(stream.Position - start)]);
    }

    private int Padding(long position) => (int)(-position & (_alignment - 1));

    private static MemoryStream Value(string key, GgufValueType type)
    {
        RequireName(key, 1024);
        var bytes = new MemoryStream();
        WriteUInt32(bytes, (uint)type);
        return bytes;
    }

    private static MemoryStream Value(string key, GgufValueType type, GgufValueType elementType, int count)
    {
        var bytes = Value(key, type);
        WriteUInt32(bytes, (uint)elementType);
        WriteUInt64(bytes, (ulong)count);
        return bytes;
    }

    private void Commit(string key, MemoryStream value)
    {
        if (_keys.Exists(k => k.Key == key))
            throw new ArgumentException($"The key {key} is already there.", nameof(key));
        _keys.Add((key, value.ToArray()));
    }

    private static void RequireName(string name, int maxLength)
    {
        if (name.Length < 1 || name.Length > maxLength || name.AsSpan().ContainsAnyExceptInRange(' ', '~'))
            throw new ArgumentException($"'{name}' is not 1 to {maxLength} printable ASCII characters.", nameof(name));
    }

    private static void WriteText(Stream stream, ReadOnlySpan<byte> text)
    {
        WriteUInt64(stream, (ulong)text.Length);
        stream.Write(text);
    }

    private static void WriteUInt32(Stream stream, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void WriteUInt64(Stream stream, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static GgufValueType TypeOf<T>() where T : unmanaged => Type.GetTypeCode(typeof(T)) switch
    {
        TypeCode.Byte => GgufValueType.UInt8,
        TypeCode.SByte => GgufValueType.Int8,
        TypeCode.UInt16 => GgufValueType.UInt16,
        TypeCode.Int16 => GgufValueType.Int16,
        TypeCode.UInt32 => GgufValueType.UInt32,
        TypeCode.Int32 => GgufValueType.Int32,
        TypeCode.Single => GgufValueType.Float32,
        TypeCode.Boolean => GgufValueType.Bool,
        TypeCode.UInt64 => GgufValueType.UInt64,
        TypeCode.Int64 => GgufValueType.Int64,
        TypeCode.Double => GgufValueType.Float64,
        _ => throw new NotSupportedException($"GGUF has no type for {typeof(T)}."),
    };

    private sealed record PendingTensor(string Name, GgmlType Type, long[] Ne, long Bytes, Action<Stream> Write);
}
