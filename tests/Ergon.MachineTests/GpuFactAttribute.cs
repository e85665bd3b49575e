using Ergon.Native.Tensors;

namespace Ergon.MachineTests;

/// <summary>A test that needs a GPU, or a CPU that plays one (Mesa's llvmpipe); skipped aloud where there is none.</summary>
internal sealed class GpuFactAttribute : FactAttribute
{
    public GpuFactAttribute() => Skip = WhyNot;

    public static NativeDevice? Gpu { get; } = NativeDevice.All().FirstOrDefault(d => d.Kind is NativeDeviceKind.Gpu or NativeDeviceKind.IntegratedGpu);

    internal static string? WhyNot => Gpu is null
        ? "needs a GPU: ergon natives add vulkan, and a Vulkan driver (Debian: mesa-vulkan-drivers from bookworm-backports)"
        : null;
}

/// <summary>The same for a test with cases.</summary>
internal sealed class GpuTheoryAttribute : TheoryAttribute
{
    public GpuTheoryAttribute() => Skip = GpuFactAttribute.WhyNot;
}
