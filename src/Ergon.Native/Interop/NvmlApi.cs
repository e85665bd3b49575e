using System.Runtime.InteropServices;

namespace Ergon.Native.Interop;

// The subset of nvml.h that Ergon calls, names verbatim. The library belongs to the driver and may be absent
// or older, so each function is looked up by itself instead of being imported.
internal sealed unsafe class NvmlApi
{
    internal const int NVML_SUCCESS = 0;
    internal const int NVML_ERROR_FUNCTION_NOT_FOUND = 13;
    internal const int NVML_TEMPERATURE_GPU = 0;
    internal const int NVML_CLOCK_GRAPHICS = 0;
    internal const int NVML_DEVICE_NAME_V2_BUFFER_SIZE = 96;

    internal readonly delegate* unmanaged[Cdecl]<int> nvmlInit_v2;
    internal readonly delegate* unmanaged[Cdecl]<int, byte*> nvmlErrorString;
    internal readonly delegate* unmanaged[Cdecl]<uint*, int> nvmlDeviceGetCount_v2;
    internal readonly delegate* unmanaged[Cdecl]<uint, nint*, int> nvmlDeviceGetHandleByIndex_v2;
    internal readonly delegate* unmanaged[Cdecl]<nint, byte*, uint, int> nvmlDeviceGetName;
    internal readonly delegate* unmanaged[Cdecl]<nint, byte*, uint, int> nvmlDeviceGetUUID;
    internal readonly delegate* unmanaged[Cdecl]<nint, ulong*, int> nvmlDeviceGetTotalEnergyConsumption;
    internal readonly delegate* unmanaged[Cdecl]<nint, uint*, int> nvmlDeviceGetPowerUsage;
    internal readonly delegate* unmanaged[Cdecl]<nint, int, uint*, int> nvmlDeviceGetTemperature;
    internal readonly delegate* unmanaged[Cdecl]<nint, ulong*, int> nvmlDeviceGetCurrentClocksEventReasons;
    internal readonly delegate* unmanaged[Cdecl]<nint, int, uint*, int> nvmlDeviceGetClockInfo;
    internal readonly delegate* unmanaged[Cdecl]<nint, int, uint*, int> nvmlDeviceGetMaxClockInfo;
    internal readonly delegate* unmanaged[Cdecl]<nint, uint*, int> nvmlDeviceGetPowerManagementLimit;
    internal readonly delegate* unmanaged[Cdecl]<nint, uint*, uint*, int> nvmlDeviceGetPowerManagementLimitConstraints;
    internal readonly delegate* unmanaged[Cdecl]<nint, uint, int> nvmlDeviceSetPowerManagementLimit;
    internal readonly delegate* unmanaged[Cdecl]<nint, uint, uint, int> nvmlDeviceSetGpuLockedClocks;
    internal readonly delegate* unmanaged[Cdecl]<nint, int> nvmlDeviceResetGpuLockedClocks;

    internal NvmlApi(nint library)
    {
        nvmlInit_v2 = (delegate* unmanaged[Cdecl]<int>)Export(library, nameof(nvmlInit_v2));
        nvmlErrorString = (delegate* unmanaged[Cdecl]<int, byte*>)Export(library, nameof(nvmlErrorString));
        nvmlDeviceGetCount_v2 = (delegate* unmanaged[Cdecl]<uint*, int>)Export(library, nameof(nvmlDeviceGetCount_v2));
        nvmlDeviceGetHandleByIndex_v2 = (delegate* unmanaged[Cdecl]<uint, nint*, int>)Export(library, nameof(nvmlDeviceGetHandleByIndex_v2));
        nvmlDeviceGetName = (delegate* unmanaged[Cdecl]<nint, byte*, uint, int>)Export(library, nameof(nvmlDeviceGetName));
        nvmlDeviceGetUUID = (delegate* unmanaged[Cdecl]<nint, byte*, uint, int>)Export(library, nameof(nvmlDeviceGetUUID));
        nvmlDeviceGetTotalEnergyConsumption = (delegate* unmanaged[Cdecl]<nint, ulong*, int>)Export(library, nameof(nvmlDeviceGetTotalEnergyConsumption));
        nvmlDeviceGetPowerUsage = (delegate* unmanaged[Cdecl]<nint, uint*, int>)Export(library, nameof(nvmlDeviceGetPowerUsage));
        nvmlDeviceGetTemperature = (delegate* unmanaged[Cdecl]<nint, int, uint*, int>)Export(library, nameof(nvmlDeviceGetTemperature));
        // The name before driver 535.
        nvmlDeviceGetCurrentClocksEventReasons = (delegate* unmanaged[Cdecl]<nint, ulong*, int>)Export(library, nameof(nvmlDeviceGetCurrentClocksEventReasons), "nvmlDeviceGetCurrentClocksThrottleReasons");
        nvmlDeviceGetClockInfo = (delegate* unmanaged[Cdecl]<nint, int, uint*, int>)Export(library, nameof(nvmlDeviceGetClockInfo));
        nvmlDeviceGetMaxClockInfo = (delegate* unmanaged[Cdecl]<nint, int, uint*, int>)Export(library, nameof(nvmlDeviceGetMaxClockInfo));
        nvmlDeviceGetPowerManagementLimit = (delegate* unmanaged[Cdecl]<nint, uint*, int>)Export(library, nameof(nvmlDeviceGetPowerManagementLimit));
        nvmlDeviceGetPowerManagementLimitConstraints = (delegate* unmanaged[Cdecl]<nint, uint*, uint*, int>)Export(library, nameof(nvmlDeviceGetPowerManagementLimitConstraints));
        nvmlDeviceSetPowerManagementLimit = (delegate* unmanaged[Cdecl]<nint, uint, int>)Export(library, nameof(nvmlDeviceSetPowerManagementLimit));
        nvmlDeviceSetGpuLockedClocks = (delegate* unmanaged[Cdecl]<nint, uint, uint, int>)Export(library, nameof(nvmlDeviceSetGpuLockedClocks));
        nvmlDeviceResetGpuLockedClocks = (delegate* unmanaged[Cdecl]<nint, int>)Export(library, nameof(nvmlDeviceResetGpuLockedClocks));
    }

    private static nint Export(nint library, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (NativeLibrary.TryGetExport(library, name, out var address))
                return address;
        }
        return 0;
    }
}
