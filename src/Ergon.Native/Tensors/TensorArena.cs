using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>Owns the descriptions of up to a given number of tensors (a ggml context without data). Not thread-safe.</summary>
internal sealed class TensorArena : SafeHandle
{
    /// <param name="tensors">How many tensors fit; more abort the process, so callers count.</param>
    public TensorArena(int tensors) : base(0, ownsHandle: true)
    {
        NativeLibraries.EnsureLoaded();
        SetHandle(Create((nuint)tensors * Ggml.ggml_tensor_overhead()));
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    internal nint Context => handle;

    public Tensor New(GgmlType type, long ne0) => new(Ggml.ggml_new_tensor_1d(handle, (int)type, ne0));

    public Tensor New(GgmlType type, long ne0, long ne1) => new(Ggml.ggml_new_tensor_2d(handle, (int)type, ne0, ne1));

    public Tensor New(GgmlType type, ReadOnlySpan<long> ne) => new(Ggml.ggml_new_tensor_4d(handle, (int)type,
        ne[0], ne.Length > 1 ? ne[1] : 1, ne.Length > 2 ? ne[2] : 1, ne.Length > 3 ? ne[3] : 1));

    /// <summary>Allocates every tensor of the arena that has no data yet, in one buffer; <see langword="null"/> when there is none to allocate.</summary>
    /// <exception cref="NativeException">The device has not enough memory.</exception>
    public DeviceBuffer? Allocate(BufferType type, long bytesNeeded)
    {
        if (bytesNeeded == 0)
            return null;
        var buffer = Ggml.ggml_backend_alloc_ctx_tensors_from_buft(handle, type.Handle);
        return buffer != 0 ? new DeviceBuffer(buffer)
            : throw new NativeException($"{type.Name} could not allocate {bytesNeeded / 1048576.0:F0} MiB; use a smaller model, --ctx or --kv-type.");
    }

    internal static nint Create(nuint bytes)
    {
        var context = Ggml.ggml_init(new Ggml.ggml_init_params { mem_size = bytes, no_alloc = 1 });
        return context != 0 ? context : throw new NativeException($"ggml could not allocate a context of {bytes} bytes.");
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        Ggml.ggml_free(handle);
        return true;
    }
}
