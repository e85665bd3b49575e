using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Nvidia;

/// <summary>
/// NVIDIA's management library, which comes with the driver. It is opened when first asked for and stays open;
/// a machine without it is a value with a reason, never an exception.
/// </summary>
internal sealed class Nvml
{
    private static readonly Lazy<(Nvml? Library, string? Fault)> Machine = new(() => Open(OperatingSystem.IsWindows() ? "nvml.dll" : "libnvidia-ml.so.1"));

    private Nvml(IReadOnlyList<NvmlDevice> devices) => Devices = devices;

    /// <summary>The GPUs that the driver lets this process see.</summary>
    public IReadOnlyList<NvmlDevice> Devices { get; }

    /// <summary>The machine's library, or why there is none.</summary>
    public static (Nvml? Library, string? Fault) OfMachine => Machine.Value;

    /// <summary>Opens a library by its name or path.</summary>
    public static unsafe (Nvml? Library, string? Fault) Open(string name)
    {
        if (!NativeLibrary.TryLoad(name, out var handle))
            return (null, $"the driver's library {name} is not installed");
        var api = new NvmlApi(handle);
        if (api.nvmlInit_v2 == null || api.nvmlDeviceGetCount_v2 == null || api.nvmlDeviceGetHandleByIndex_v2 == null)
            return (null, $"{name} is no NVML of driver 300 or later");
        uint count = 0;
        var code = api.nvmlInit_v2();
        if (code == NvmlApi.NVML_SUCCESS)
            code = api.nvmlDeviceGetCount_v2(&count);
        if (code != NvmlApi.NVML_SUCCESS)
            return (null, $"{name} says: {Explain(api, code)}");
        var devices = new List<NvmlDevice>();
        for (uint i = 0; i < count; i++)
        {
            nint device;
            if (api.nvmlDeviceGetHandleByIndex_v2(i, &device) == NvmlApi.NVML_SUCCESS)
                devices.Add(new NvmlDevice(api, device, (int)i));
        }
        return (new Nvml(devices), null);
    }

    internal static unsafe string Explain(NvmlApi api, int code) =>
        (api.nvmlErrorString == null ? null : Marshal.PtrToStringUTF8((nint)api.nvmlErrorString(code))) ?? $"error {code}";
}
