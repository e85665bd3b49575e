using Ergon.Native.Tensors;

namespace Ergon.Devices;

/// <summary>What a device is.</summary>
public enum DeviceKind
{
    /// <summary>The processor.</summary>
    Cpu,

    /// <summary>A graphics processor with memory of its own.</summary>
    Gpu,

    /// <summary>A graphics processor that shares the processor's memory.</summary>
    IntegratedGpu,

    /// <summary>Another accelerator, such as an NPU or a matrix library.</summary>
    Accelerator,
}

/// <summary>A device that models can run on.</summary>
/// <param name="Name">The name to choose it by: <c>CPU</c>, <c>Vulkan0</c>, <c>CUDA1</c>.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Description">What it calls itself.</param>
/// <param name="Backend">The ggml backend that drives it.</param>
/// <param name="FreeMemory">Bytes free now; <see langword="null"/> where the backend does not know.</param>
/// <param name="TotalMemory">Bytes in all; <see langword="null"/> where the backend does not know.</param>
public sealed record DeviceInfo(string Name, DeviceKind Kind, string Description, string Backend, long? FreeMemory, long? TotalMemory)
{
    /// <summary>Every device of every backend, in the backends' order.</summary>
    /// <exception cref="Native.NativeException">The native libraries cannot be loaded.</exception>
    public static IReadOnlyList<DeviceInfo> All() => [.. NativeDevice.All().Select(Of)];

    internal static DeviceInfo Of(NativeDevice device)
    {
        var (free, total) = (FreeBytes(device), device.Memory().Total);
        var kind = device.Kind switch
        {
            // A card only by name: the processor computes it.
            NativeDeviceKind.Gpu when IsSoftware(device.Description) => DeviceKind.IntegratedGpu,
            NativeDeviceKind.Cpu => DeviceKind.Cpu,
            NativeDeviceKind.Gpu => DeviceKind.Gpu,
            NativeDeviceKind.IntegratedGpu => DeviceKind.IntegratedGpu,
            _ => DeviceKind.Accelerator,
        };
        return new DeviceInfo(device.Name, kind, device.Description, device.Backend, free > 0 ? free : null, total > 0 ? total : null);
    }

    /// <summary>Whether a graphics device is the processor's own work (Mesa's llvmpipe).</summary>
    internal static bool IsSoftware(string description) => description.Contains("llvmpipe", StringComparison.Ordinal);

    // ggml calls all of the computer's memory free.
    internal static long FreeBytes(NativeDevice device) => device.Kind == NativeDeviceKind.Cpu ? SystemMemory.Available() : device.Memory().Free;
}
