using Ergon.Native.Tensors;

namespace Ergon.Devices;

/// <summary>Chooses the device for a whole model.</summary>
internal static class DeviceChoice
{
    /// <param name="name">The name asked for; <see langword="null"/> for the fastest kind that holds the model.</param>
    /// <param name="bytes">Memory that the model and its cache need.</param>
    /// <exception cref="ErgonException">No such device.</exception>
    public static NativeDevice Choose(string? name, long bytes)
    {
        var devices = NativeDevice.All();
        if (name is not null)
        {
            return devices.FirstOrDefault(d => string.Equals(d.Name, name, StringComparison.OrdinalIgnoreCase))
                ?? throw new ErgonException($"There is no device '{name}' here; there is {string.Join(", ", devices.Select(d => d.Name))}.");
        }
        // Accelerators (matrix libraries, NPUs) take single operations, not whole models.
        return devices.Where(d => d.Kind is NativeDeviceKind.Gpu or NativeDeviceKind.IntegratedGpu)
            .OrderBy(d => d.Kind)
            .FirstOrDefault(d => d.Memory().Free >= bytes)
            ?? devices.FirstOrDefault(d => d.Kind == NativeDeviceKind.Cpu)
            ?? throw new ErgonException("The native libraries bring no CPU backend for this processor; set ERGON_NATIVE to a folder that has one.");
    }
}
