using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>A kind of memory of a device: plain, or one that stores weights in another order (repacked).</summary>
internal readonly struct BufferType(nint handle)
{
    internal nint Handle { get; } = handle;

    public string Name => Marshal.PtrToStringUTF8(Ggml.ggml_backend_buft_name(Handle)) ?? "";

    /// <summary>Whether the CPU can read the memory in ggml's plain layout.</summary>
    public bool IsHost => Ggml.ggml_backend_buft_is_host(Handle) != 0;
}

/// <summary>Owns memory on a device.</summary>
internal sealed class DeviceBuffer : SafeHandle
{
    internal DeviceBuffer(nint buffer) : base(0, ownsHandle: true) => SetHandle(buffer);

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    internal nint Handle => handle;

    public long Bytes => (long)Ggml.ggml_backend_buffer_get_size(handle);

    /// <summary>Tells the device that the contents are weights: read often, written once.</summary>
    public DeviceBuffer AsWeights()
    {
        Ggml.ggml_backend_buffer_set_usage(handle, Ggml.GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        return this;
    }

    public void Clear() => Ggml.ggml_backend_buffer_clear(handle, 0);

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        Ggml.ggml_backend_buffer_free(handle);
        return true;
    }
}
