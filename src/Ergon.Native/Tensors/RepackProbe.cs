using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>
/// Asks a device which weights its repacked memory takes. A tensor that it does not take crashes inside
/// the copy, so the question comes first: a multiplication whose weight lies in an empty buffer of that type.
/// </summary>
internal sealed unsafe class RepackProbe : IDisposable
{
    private readonly NativeDevice _device;
    private readonly DeviceBuffer? _empty;

    public RepackProbe(NativeDevice device)
    {
        _device = device;
        Type = device.RepackedBufferType();
        if (Type is { } type)
            _empty = new DeviceBuffer(Ggml.ggml_backend_buft_alloc_buffer(type.Handle, 0));
    }

    /// <summary>The repacked memory; <see langword="null"/> where the device has none.</summary>
    public BufferType? Type { get; }

    /// <param name="type">The weight's type.</param>
    /// <param name="ne">Its shape.</param>
    /// <param name="experts">Whether it is a matrix for each expert.</param>
    public bool Takes(GgmlType type, ReadOnlySpan<long> ne, bool experts)
    {
        if (_empty is null)
            return false;
        using var arena = new TensorArena(4);
        var weight = arena.New(type, ne);
        ((Ggml.ggml_tensor*)weight.Handle)->buffer = _empty.Handle;
        // 512 rows: the operation is judged by type and shape, and a batch is what repacking is for.
        var product = experts
            ? Ggml.ggml_mul_mat_id(arena.Context, weight.Handle, arena.New(GgmlType.F32, [ne[0], 1, 512]).Handle, arena.New(GgmlType.I32, 1, 512).Handle)
            : Ggml.ggml_mul_mat(arena.Context, weight.Handle, arena.New(GgmlType.F32, ne[0], 512).Handle);
        return _device.Supports(new Tensor(product));
    }

    public void Dispose() => _empty?.Dispose();
}
