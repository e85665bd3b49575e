using Ergon.Native.Tensors;

namespace Ergon.MachineTests;

/// <summary>A test that needs a GPU, or a CPU that plays one (Mesa's llvmpipe); skipped aloud where there is none.</summary>
internal sealed class GpuFactAttribute : FactAttribute
{
    public GpuFactAttribute() => Skip = Gpu is null
        ? "needs a GPU: ergon natives add vulkan, and a Vulkan driver (Debian: mesa-vulkan-drivers from bookworm-backports)"
        : null;

    public static NativeDevice? Gpu { get; } = NativeDevice.All().FirstOrDefault(d => d.Kind is NativeDeviceKind.Gpu or NativeDeviceKind.IntegratedGpu);
}
