using System.Runtime.InteropServices;
using Ergon.Native.Interop;

namespace Ergon.Native.Nvidia;

/// <summary>What a call gave: a value, or why there is none.</summary>
internal readonly record struct NvmlResult<T>(T? Value, string? Fault) where T : struct;

/// <summary>One GPU as NVML sees it. Lives as long as the process; any thread may call it.</summary>
internal sealed unsafe class NvmlDevice
{
    private readonly NvmlApi _api;
    private readonly nint _handle;

    internal NvmlDevice(NvmlApi api, nint handle, int index)
    {
        (_api, _handle, Index) = (api, handle, index);
        Name = Text(api.nvmlDeviceGetName) ?? $"NVIDIA GPU {index}";
        Uuid = Text(api.nvmlDeviceGetUUID) ?? $"{index}";
    }

    public int Index { get; }

    public string Name { get; }

    /// <summary>Names the board across restarts.</summary>
    public string Uuid { get; }

    /// <summary>Millijoules since the driver was loaded; from Volta on.</summary>
    public NvmlResult<ulong> EnergyMillijoules() => Get(_api.nvmlDeviceGetTotalEnergyConsumption);

    /// <summary>Milliwatts, refreshed by the driver in about 100 ms.</summary>
    public NvmlResult<uint> PowerMilliwatts() => Get(_api.nvmlDeviceGetPowerUsage);

    /// <summary>Degrees Celsius of the die.</summary>
    public NvmlResult<uint> Temperature() => Get(_api.nvmlDeviceGetTemperature, NvmlApi.NVML_TEMPERATURE_GPU);

    /// <summary>The bits of <c>nvmlClocksEventReason*</c>.</summary>
    public NvmlResult<ulong> ClocksEventReasons() => Get(_api.nvmlDeviceGetCurrentClocksEventReasons);

    /// <summary>The graphics clock in MHz.</summary>
    public NvmlResult<uint> ClockMegahertz() => Get(_api.nvmlDeviceGetClockInfo, NvmlApi.NVML_CLOCK_GRAPHICS);

    /// <summary>The highest graphics clock in MHz.</summary>
    public NvmlResult<uint> MaxClockMegahertz() => Get(_api.nvmlDeviceGetMaxClockInfo, NvmlApi.NVML_CLOCK_GRAPHICS);

    /// <summary>The power limit in force, milliwatts.</summary>
    public NvmlResult<uint> PowerLimitMilliwatts() => Get(_api.nvmlDeviceGetPowerManagementLimit);

    /// <summary>The lowest and highest power limit that the board takes, milliwatts.</summary>
    public NvmlResult<(uint Min, uint Max)> PowerLimits()
    {
        if (_api.nvmlDeviceGetPowerManagementLimitConstraints == null)
            return new(null, Nvml.Explain(_api, NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND));
        uint min, max;
        var code = _api.nvmlDeviceGetPowerManagementLimitConstraints(_handle, &min, &max);
        return code == NvmlApi.NVML_SUCCESS ? new((min, max), null) : new(null, Nvml.Explain(_api, code));
    }

    /// <summary>Sets the power limit. Needs administrator's rights.</summary>
    /// <returns>Why it could not; <see langword="null"/> when it could.</returns>
    public string? SetPowerLimit(uint milliwatts) => Done(_api.nvmlDeviceSetPowerManagementLimit == null
        ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : _api.nvmlDeviceSetPowerManagementLimit(_handle, milliwatts));

    /// <summary>Holds the graphics clock between two values. Needs administrator's rights; from Volta on.</summary>
    /// <returns>Why it could not; <see langword="null"/> when it could.</returns>
    public string? LockClocks(uint minMegahertz, uint maxMegahertz) => Done(_api.nvmlDeviceSetGpuLockedClocks == null
        ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : _api.nvmlDeviceSetGpuLockedClocks(_handle, minMegahertz, maxMegahertz));

    /// <summary>Lets the graphics clock go. Needs administrator's rights.</summary>
    /// <returns>Why it could not; <see langword="null"/> when it could.</returns>
    public string? UnlockClocks() => Done(_api.nvmlDeviceResetGpuLockedClocks == null
        ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : _api.nvmlDeviceResetGpuLockedClocks(_handle));

    private string? Done(int code) => code == NvmlApi.NVML_SUCCESS ? null : Nvml.Explain(_api, code);

    private NvmlResult<ulong> Get(delegate* unmanaged[Cdecl]<nint, ulong*, int> call)
    {
        ulong value = 0;
        var code = call == null ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : call(_handle, &value);
        return code == NvmlApi.NVML_SUCCESS ? new(value, null) : new(null, Nvml.Explain(_api, code));
    }

    private NvmlResult<uint> Get(delegate* unmanaged[Cdecl]<nint, uint*, int> call)
    {
        uint value = 0;
        var code = call == null ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : call(_handle, &value);
        return code == NvmlApi.NVML_SUCCESS ? new(value, null) : new(null, Nvml.Explain(_api, code));
    }

    private NvmlResult<uint> Get(delegate* unmanaged[Cdecl]<nint, int, uint*, int> call, int which)
    {
        uint value = 0;
        var code = call == null ? NvmlApi.NVML_ERROR_FUNCTION_NOT_FOUND : call(_handle, which, &value);
        return code == NvmlApi.NVML_SUCCESS ? new(value, null) : new(null, Nvml.Explain(_api, code));
    }

    private string? Text(delegate* unmanaged[Cdecl]<nint, byte*, uint, int> call)
    {
        var buffer = stackalloc byte[NvmlApi.NVML_DEVICE_NAME_V2_BUFFER_SIZE];
        return call != null && call(_handle, buffer, NvmlApi.NVML_DEVICE_NAME_V2_BUFFER_SIZE) == NvmlApi.NVML_SUCCESS ? Marshal.PtrToStringUTF8((nint)buffer) : null;
    }
}
