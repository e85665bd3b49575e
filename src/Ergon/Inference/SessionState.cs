using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Ergon.Native;

namespace Ergon.Inference;

/// <summary>
/// A session as bytes: a header, the token ids, for each tensor of the cache the rows of the session's positions
/// in order, in layers that look back over some only of the last ones, and a SHA-256 of it all. Cell numbers and devices do not occur, so the bytes fit any engine that
/// runs the same model with the same kind of cache. Little-endian.
/// </summary>
internal static class SessionState
{
    private const ulong Magic = 0x5653_4e4f_4752_45; // "ERGONSV\0"
    private const uint Version = 2;
    private const int HeaderBytes = 64, ChecksumBytes = 32, ChunkBytes = 1 << 20;

    /// <summary>Writes the first positions of a sequence, as many as <paramref name="tokens"/>.</summary>
    public static async Task WriteAsync(Stream destination, ErgonModel model, int sequence, ReadOnlyMemory<int> tokens, CancellationToken cancellation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var layout = await model.InvokeAsync(engine => engine.CellLayout()).ConfigureAwait(false);
        await WriteAsync(Header(model, layout, tokens.Length)).ConfigureAwait(false);
        await WriteAsync(MemoryMarshal.AsBytes(tokens.Span).ToArray()).ConfigureAwait(false);
        await ForEachChunkAsync(layout, tokens.Length, async (tensor, first, buffer) =>
        {
            await model.InvokeAsync(engine => engine.ReadCells(sequence, tensor, first, buffer.Span)).ConfigureAwait(false);
            await WriteAsync(buffer).ConfigureAwait(false);
        }).ConfigureAwait(false);
        await destination.WriteAsync(hash.GetHashAndReset(), cancellation).ConfigureAwait(false);
        await destination.FlushAsync(cancellation).ConfigureAwait(false);

        ValueTask WriteAsync(ReadOnlyMemory<byte> bytes)
        {
            hash.AppendData(bytes.Span);
            return destination.WriteAsync(bytes, cancellation);
        }
    }

    /// <summary>Reads what <see cref="WriteAsync"/> wrote.</summary>
    /// <param name="source">Read up to the end of the session's bytes, no further.</param>
    /// <param name="model">The model to restore into.</param>
    /// <param name="sequence">An empty sequence.</param>
    /// <param name="reserve">Gives the sequence that many positions, once the header has proved sound.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <returns>The token ids.</returns>
    /// <exception cref="ErgonException">The bytes are another model's, damaged, or do not fit; what was written into the cells is then meaningless.</exception>
    public static async Task<int[]> ReadAsync(Stream source, ErgonModel model, int sequence, Func<int, Task> reserve, CancellationToken cancellation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var layout = await model.InvokeAsync(engine => engine.CellLayout()).ConfigureAwait(false);
        var header = await ReadAsync(new byte[HeaderBytes]).ConfigureAwait(false);
        var count = Check(header.Span, model, layout);
        var bytes = await ReadAsync(new byte[count * sizeof(int)]).ConfigureAwait(false);
        var tokens = MemoryMarshal.Cast<byte, int>(bytes.Span).ToArray();
        if (tokens.Any(token => (uint)token >= (uint)model.Description.VocabularySize))
            throw Damaged("it has a token that the vocabulary has not");
        await reserve(count).ConfigureAwait(false);
        await ForEachChunkAsync(layout, count, async (tensor, first, buffer) =>
        {
            await ReadAsync(buffer).ConfigureAwait(false);
            // Such a number in a cell would spoil the attention of sequences that only look past it.
            if (!IsFinite(layout[tensor].Type, buffer.Span))
                throw Damaged("it has numbers that are not finite");
            await model.InvokeAsync(engine => engine.WriteCells(sequence, tensor, first, buffer.Span)).ConfigureAwait(false);
        }).ConfigureAwait(false);
        var expected = hash.GetHashAndReset();
        if (!(await ReadAsync(new byte[ChecksumBytes]).ConfigureAwait(false)).Span.SequenceEqual(expected))
            throw Damaged("its checksum is wrong");
        return tokens;

        async ValueTask<ReadOnlyMemory<byte>> ReadAsync(Memory<byte> buffer)
        {
            var read = await source.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellation).ConfigureAwait(false);
            if (read < buffer.Length)
                throw Damaged("it ends too early");
            hash.AppendData(buffer.Span);
            return buffer;
        }
    }

    private static byte[] Header(ErgonModel model, CellTensor[] layout, int count)
    {
        var header = new byte[HeaderBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(12), (short)model.Description.LayerCount);
        BinaryPrimitives.WriteInt16LittleEndian(header.AsSpan(14), model.UsesLongFactors ? (short)1 : (short)0);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(16), (int)model.KvType);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(20), layout.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(24), layout.Sum(t => t.RowBytes));
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(28), count);
        model.Fingerprint.CopyTo(header.AsSpan(32));
        return header;
    }

    // Everything that sizes an allocation follows from the model, but for the count, which the context bounds.
    private static int Check(ReadOnlySpan<byte> header, ErgonModel model, CellTensor[] layout)
    {
        var count = BinaryPrimitives.ReadInt32LittleEndian(header[28..]);
        ReadOnlySpan<byte> own = Header(model, layout, count);
        if (!header[..8].SequenceEqual(own[..8]))
            throw new ErgonException("The bytes are no saved session: they begin with something else.");
        if (!header[8..12].SequenceEqual(own[8..12]))
            throw new ErgonException($"The saved session has format version {BinaryPrimitives.ReadUInt32LittleEndian(header[8..])}, but this Ergon reads {Version}; generate it anew.");
        if (!header[32..].SequenceEqual(own[32..]))
            throw new ErgonException($"The saved session belongs to another model than '{model.Description.Name}'; load the model that it was saved with.");
        if (!header[16..20].SequenceEqual(own[16..20]))
            throw new ErgonException($"The saved session has another kv-type than this model was loaded with, {model.KvType}; load the model with the kv-type that it was saved with.");
        if (!header[14..16].SequenceEqual(own[14..16]))
            throw new ErgonException($"The saved session's keys are rotated for {(model.UsesLongFactors ? "short" : "long")} contexts, but this model was loaded for {(model.UsesLongFactors ? "long" : "short")} ones; load it with a --ctx and a number of sessions like those that it was saved with.");
        if (BinaryPrimitives.ReadInt32LittleEndian(header[20..]) is var tensors && tensors != layout.Length && (tensors == 0 || layout.Length == 0))
            throw new ErgonException("The saved session is of another engine than this model was loaded with, Ergon's or libllama; load the model with the engine that it was saved with.");
        if (!header[12..28].SequenceEqual(own[12..28]))
            throw Damaged("its header does not describe this model's cache");
        return count < 0 ? throw Damaged("its number of tokens is negative")
            : count > model.ContextLength ? throw new ErgonException($"The saved session has {count} tokens, but the context holds {model.ContextLength}; use a larger --ctx.")
            : count;
    }

    private static async Task ForEachChunkAsync(CellTensor[] layout, int positions, Func<int, int, Memory<byte>, Task> action)
    {
        if (layout.Length == 0)
            return;
        var buffer = ArrayPool<byte>.Shared.Rent(Math.Max(ChunkBytes, layout.Max(t => t.RowBytes)));
        try
        {
            for (var tensor = 0; tensor < layout.Length; tensor++)
            {
                var rowBytes = layout[tensor].RowBytes;
                for (int start = Math.Max(0, positions - layout[tensor].Keeps), count; start < positions; start += count)
                {
                    count = Math.Min(positions - start, buffer.Length / rowBytes);
                    await action(tensor, start, buffer.AsMemory(0, count * rowBytes)).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool IsFinite(GgmlType type, ReadOnlySpan<byte> bytes)
    {
        if (type == GgmlType.F32)
            return Engine.IsFinite(MemoryMarshal.Cast<byte, float>(bytes));
        // A block begins with its scale, a half; F16 is blocks of one value.
        for (var step = type.Traits().BlockBytes; !bytes.IsEmpty; bytes = bytes[step..])
        {
            if (!Half.IsFinite(BinaryPrimitives.ReadHalfLittleEndian(bytes)))
                return false;
        }
        return true;
    }

    private static ErgonException Damaged(string how) => new($"The saved session is damaged: {how}. Generate it anew.");
}
