using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>
/// A tensor's description inside a <see cref="TensorArena"/>: valid while the arena lives, its data while
/// the buffer lives. Dimension 0 is the contiguous one, as in ggml.
/// </summary>
internal readonly unsafe struct Tensor(nint handle)
{
    internal nint Handle { get; } = handle;

    /// <summary>Whether this is no tensor (an optional weight that the file lacks).</summary>
    public bool IsNull => Handle == 0;

    public GgmlType Type => (GgmlType)Pointer->type;

    /// <summary>Whether its elements follow each other without gaps, in the order of its dimensions.</summary>
    public bool IsContiguous => Ggml.ggml_is_contiguous(Handle) != 0;

    public long Bytes => (long)Ggml.ggml_nbytes(Handle);

    public string Name
    {
        get => Marshal.PtrToStringUTF8(Ggml.ggml_get_name(Handle)) ?? "";
        set => Ggml.ggml_set_name(Handle, value);
    }

    /// <summary>Elements in dimension <paramref name="dimension"/> (0 to 3).</summary>
    public long Ne(int dimension) => Pointer->ne[dimension];

    /// <summary>Bytes between neighbours in dimension <paramref name="dimension"/> (0 to 3).</summary>
    public long Nb(int dimension) => (long)Pointer->nb[dimension];

    /// <summary>Copies data into the tensor, from host memory to wherever it lives.</summary>
    public void Set<T>(ReadOnlySpan<T> data, long offset = 0) where T : unmanaged
    {
        if (data.IsEmpty)
            return;
        var bytes = (long)data.Length * Unsafe.SizeOf<T>();
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + bytes, Bytes);
        fixed (T* p = data)
            Ggml.ggml_backend_tensor_set(Handle, p, (nuint)offset, (nuint)bytes);
    }

    /// <summary>Copies data out of the tensor into host memory.</summary>
    public void Get<T>(Span<T> data, long offset = 0) where T : unmanaged
    {
        if (data.IsEmpty)
            return;
        var bytes = (long)data.Length * Unsafe.SizeOf<T>();
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + bytes, Bytes);
        fixed (T* p = data)
            Ggml.ggml_backend_tensor_get(Handle, p, (nuint)offset, (nuint)bytes);
    }

    /// <summary>Sets bytes of the tensor to 0, in memory that the CPU can read.</summary>
    public void Clear(long offset, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + bytes, Bytes);
        Ggml.ggml_backend_tensor_memset(Handle, 0, (nuint)offset, (nuint)bytes);
    }

    private Ggml.ggml_tensor* Pointer => (Ggml.ggml_tensor*)Handle;
}
