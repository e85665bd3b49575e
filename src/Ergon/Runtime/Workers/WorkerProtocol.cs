using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Ergon.Runtime.Workers;

/// <summary>What a frame is. The first byte after its length; numbers are the protocol's and do not change.</summary>
internal enum WorkerMessage : byte
{
    // From the worker.
    Hello = 1, Loaded = 2, Failed = 3, Token = 4, Ended = 5, Pong = 6,

    // Either way: the bytes of a session, and their end.
    Chunk = 8, Done = 9,

    // To the worker.
    Load = 16, Generate = 17, Cancel = 18, Close = 19, Ping = 20, Save = 21, Restore = 22, Fault = 23,
}

/// <summary>How a worker can be made to fail, for tests and benchmarks.</summary>
internal enum WorkerFault
{
    /// <summary>A shape that ggml asserts on, given between two passes.</summary>
    Assert,

    /// <summary>The engine's thread sleeps for ever.</summary>
    Hang,
}

/// <summary>
/// Frames between a host and its worker: length of the payload (4 bytes), message (1), id of the request (4), payload.
/// Little-endian; texts and lists carry their lengths. Both ends are the same build, which <see cref="Version"/> checks.
/// </summary>
internal static class WorkerProtocol
{
    public const int Version = 3, HeaderBytes = 9;

    /// <summary>Payloads are at most this long; a prompt that fills the largest cache takes a quarter.</summary>
    public const int MaxPayload = 1 << 26;

    /// <summary>Reads one frame.</summary>
    /// <returns>False at the end of the stream.</returns>
    /// <exception cref="InvalidDataException">The other end does not speak this protocol.</exception>
    public static async ValueTask<bool> ReadAsync(Stream stream, WorkerFrame frame, CancellationToken cancellation = default)
    {
        var header = frame.Header;
        if (await stream.ReadAtLeastAsync(header, HeaderBytes, throwOnEndOfStream: false, cancellation).ConfigureAwait(false) < HeaderBytes)
            return false;
        var length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        if (length > MaxPayload)
            throw new InvalidDataException($"A frame claims {length} bytes, more than the {MaxPayload} that one may have.");
        frame.Read((int)length);
        return await stream.ReadAtLeastAsync(frame.Memory, (int)length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false) == length;
    }
}

/// <summary>A frame that was read; its memory is used again for the next.</summary>
internal sealed class WorkerFrame
{
    private byte[] _payload = new byte[256];
    private int _length;

    public byte[] Header { get; } = new byte[WorkerProtocol.HeaderBytes];

    public WorkerMessage Message => (WorkerMessage)Header[4];

    /// <summary>The request that it belongs to; 0 for the worker as a whole.</summary>
    public uint Id => BinaryPrimitives.ReadUInt32LittleEndian(Header.AsSpan(5));

    public Memory<byte> Memory => _payload.AsMemory(0, _length);

    public WorkerReader Payload => new(_payload.AsSpan(0, _length));

    public void Read(int length)
    {
        if (_payload.Length < length)
            _payload = new byte[Math.Max(length, Math.Min(2 * _payload.Length, WorkerProtocol.MaxPayload))];
        _length = length;
    }
}

/// <summary>Reads the fields of a payload; whatever is beyond its end is <see cref="InvalidDataException"/>.</summary>
internal ref struct WorkerReader(ReadOnlySpan<byte> rest)
{
    private ReadOnlySpan<byte> _rest = rest;

    public int Int() => BinaryPrimitives.ReadInt32LittleEndian(Take(sizeof(int)));

    public int? OptionalInt() => Bool() ? Int() : null;

    public long Long() => BinaryPrimitives.ReadInt64LittleEndian(Take(sizeof(long)));

    public float Float() => BinaryPrimitives.ReadSingleLittleEndian(Take(sizeof(float)));

    public double? OptionalDouble() => Bool() ? BinaryPrimitives.ReadDoubleLittleEndian(Take(sizeof(double))) : null;

    public bool Bool() => Take(1)[0] != 0;

    public string Text() => Encoding.UTF8.GetString(Take(Int()));

    public string? OptionalText() => Bool() ? Text() : null;

    public int[] Ints() => MemoryMarshal.Cast<byte, int>(Take(checked(Count(sizeof(int)) * sizeof(int)))).ToArray();

    /// <summary>The length of a list whose entries take at least <paramref name="leastBytes"/> each.</summary>
    public int Count(int leastBytes)
    {
        var count = Int();
        return count >= 0 && count <= _rest.Length / leastBytes ? count : throw new InvalidDataException($"A list claims {count} entries in {_rest.Length} bytes.");
    }

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count < 0 || count > _rest.Length)
            throw new InvalidDataException($"A field claims {count} of the {_rest.Length} bytes left.");
        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }
}

/// <summary>Writes frames to a stream, one at a time. Any thread may send.</summary>
internal sealed class WorkerWriter(Stream stream)
{
    private readonly ArrayBufferWriter<byte> _frame = new(256);
    private readonly Lock _gate = new();

    /// <summary>Sends a frame.</summary>
    /// <exception cref="IOException">The other end is gone.</exception>
    public void Send(WorkerMessage message, uint id, Action<WorkerWriter>? payload = null)
    {
        lock (_gate)
            Write(message, id, payload);
    }

    /// <summary>Sends a frame unless another is being sent just now, which may wait for a worker that hangs.</summary>
    public void TrySend(WorkerMessage message, uint id)
    {
        if (!_gate.TryEnter())
            return;
        try
        {
            Write(message, id, null);
        }
        finally
        {
            _gate.Exit();
        }
    }

    private void Write(WorkerMessage message, uint id, Action<WorkerWriter>? payload)
    {
        _frame.ResetWrittenCount();
        _frame.GetSpan(WorkerProtocol.HeaderBytes)[..WorkerProtocol.HeaderBytes].Clear();
        _frame.Advance(WorkerProtocol.HeaderBytes);
        payload?.Invoke(this);
        var bytes = MemoryMarshal.AsMemory(_frame.WrittenMemory).Span;
        if (bytes.Length - WorkerProtocol.HeaderBytes > WorkerProtocol.MaxPayload)
            throw new ErgonException($"The request takes {bytes.Length} bytes, more than the {WorkerProtocol.MaxPayload} that a worker accepts; shorten the prompt or the grammar.");
        BinaryPrimitives.WriteInt32LittleEndian(bytes, bytes.Length - WorkerProtocol.HeaderBytes);
        bytes[4] = (byte)message;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[5..], id);
        stream.Write(bytes);
        stream.Flush();
    }

    public WorkerWriter Int(int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_frame.GetSpan(sizeof(int)), value);
        _frame.Advance(sizeof(int));
        return this;
    }

    public WorkerWriter OptionalInt(int? value) => value is { } number ? Bool(true).Int(number) : Bool(false);

    public WorkerWriter Long(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_frame.GetSpan(sizeof(long)), value);
        _frame.Advance(sizeof(long));
        return this;
    }

    public WorkerWriter Float(float value) => Int(BitConverter.SingleToInt32Bits(value));

    public WorkerWriter OptionalDouble(double? value) => value is { } number ? Bool(true).Long(BitConverter.DoubleToInt64Bits(number)) : Bool(false);

    public WorkerWriter Bool(bool value) => Bytes([(byte)(value ? 1 : 0)]);

    public WorkerWriter Text(string value)
    {
        Int(Encoding.UTF8.GetByteCount(value));
        Encoding.UTF8.GetBytes(value, _frame);
        return this;
    }

    public WorkerWriter OptionalText(string? value) => value is { } text ? Bool(true).Text(text) : Bool(false);

    public WorkerWriter Ints(ReadOnlySpan<int> values) => Int(values.Length).Bytes(MemoryMarshal.AsBytes(values));

    public WorkerWriter Bytes(ReadOnlySpan<byte> bytes)
    {
        _frame.Write(bytes);
        return this;
    }
}
