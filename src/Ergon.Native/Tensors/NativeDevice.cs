using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>What kind of device a backend drives.</summary>
internal enum NativeDeviceKind
{
    Cpu = 0,
    Gpu = 1,
    IntegratedGpu = 2,
    Accelerator = 3,
    Meta = 4,
}

/// <summary>A device that a ggml backend found. Lives as long as the process.</summary>
internal sealed unsafe class NativeDevice
{
    private const string RepackedName = "CPU_REPACK";

    private NativeDevice(nint handle)
    {
        Handle = handle;
        Name = Marshal.PtrToStringUTF8(Ggml.ggml_backend_dev_name(handle)) ?? "";
        Description = Marshal.PtrToStringUTF8(Ggml.ggml_backend_dev_description(handle)) ?? "";
        Kind = (NativeDeviceKind)Ggml.ggml_backend_dev_type(handle);
        Registry = Ggml.ggml_backend_dev_backend_reg(handle);
        Backend = Marshal.PtrToStringUTF8(Ggml.ggml_backend_reg_name(Registry)) ?? "";
        BufferType = new BufferType(Ggml.ggml_backend_dev_buffer_type(handle));
    }

    internal nint Handle { get; }

    internal nint Registry { get; }

    /// <summary>The backend's own name: <c>CPU</c>, <c>Vulkan0</c>, <c>CUDA1</c>.</summary>
    public string Name { get; }

    public string Description { get; }

    /// <summary>The name of the backend that drives it: <c>CPU</c>, <c>Vulkan</c>, <c>CUDA</c>.</summary>
    public string Backend { get; }

    public NativeDeviceKind Kind { get; }

    /// <summary>The device's plain memory.</summary>
    public BufferType BufferType { get; }

    /// <summary>Every device of every backend, in the registry's order.</summary>
    public static IReadOnlyList<NativeDevice> All()
    {
        NativeLibraries.EnsureLoaded();
        return [.. Enumerable.Range(0, (int)Ggml.ggml_backend_dev_count()).Select(i => new NativeDevice(Ggml.ggml_backend_dev_get((nuint)i)))];
    }

    /// <summary>Free and total bytes of the device's memory; 0 where the backend does not know.</summary>
    public (long Free, long Total) Memory()
    {
        nuint free, total;
        Ggml.ggml_backend_dev_memory(Handle, &free, &total);
        return ((long)free, (long)total);
    }

    /// <summary>Memory that keeps weights in the order the CPU's matrix kernels like best; <see langword="null"/> where there is none.</summary>
    public BufferType? RepackedBufferType()
    {
        var getExtra = (delegate* unmanaged[Cdecl]<nint, nint*>)Procedure("ggml_backend_dev_get_extra_bufts");
        if (getExtra == null)
            return null;
        for (var type = getExtra(Handle); type != null && *type != 0; type++)
        {
            if (new BufferType(*type) is { Name: RepackedName } repacked)
                return repacked;
        }
        return null;
    }

    /// <summary>Whether the device computes the operation that produced <paramref name="tensor"/>.</summary>
    public bool Supports(Tensor tensor) => Ggml.ggml_backend_dev_supports_op(Handle, tensor.Handle) != 0;

    internal nint Procedure(string name) => Ggml.ggml_backend_reg_get_proc_address(Registry, name);
}
