using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Ergon.Native;

namespace Ergon.Devices.Profiles;

/// <summary>What a calibration found.</summary>
/// <param name="Key">Hardware, driver and library that it holds for.</param>
/// <param name="Profile">The device.</param>
/// <param name="MeterIdle">The idle draw of each meter that shows the device, in watts, by the meter's device.</param>
internal sealed record Calibrated(string Key, DeviceProfile Profile, IReadOnlyDictionary<string, double> MeterIdle);

/// <summary>Calibrations on disk, a file for each device of this machine.</summary>
/// <param name="folder">The folder; made when something is saved.</param>
internal sealed class CalibrationStore(string folder)
{
    /// <summary>The user's own, in the cache folder, or where ERGON_CALIBRATION says.</summary>
    public static CalibrationStore OfUser() => new(Environment.GetEnvironmentVariable("ERGON_CALIBRATION") is { Length: > 0 } own ? Path.GetFullPath(own) : UserFolder.Cache("calibration"));

    // Raised when calibrations measure something else than before.
    private const string Method = "2";

    /// <summary>What a calibration holds for: the device, what drives it, and the kernels. Anything else is measured anew.</summary>
    public static string KeyOf(DeviceInfo device, int cores, SystemFiles files)
    {
        // Drivers outside the kernel have a version of their own; the others are the kernel's.
        var driver = device.Kind == DeviceKind.Cpu ? "" : string.Join(' ', ((string[])["nvidia", "amdgpu", "i915", "xe"]).Select(m => files.Read($"sys/module/{m}/version").Text).OfType<string>().Prepend(files.Read("proc/sys/kernel/osrelease").Text ?? ""));
        return string.Join('|', Method, files.BoardModel, device.Kind == DeviceKind.Cpu ? $"{cores} cores" : "", device.Name, device.Description, device.TotalMemory, device.Backend, driver, $"{NativeVersion.LlamaCpp} {NativeVersion.Package}");
    }

    /// <summary>The file of a device, there or not.</summary>
    public string PathOf(string key) => Path.Combine(folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)))[..16] + ".json");

    /// <summary>What was found for this key; <see langword="null"/> where it was never measured.</summary>
    /// <exception cref="ErgonException">The file is damaged, or its profile contradicts itself.</exception>
    public Calibrated? Find(string key)
    {
        var path = PathOf(key);
        if (!File.Exists(path))
            return null;
        try
        {
            var found = JsonSerializer.Deserialize(File.ReadAllBytes(path), ProfileJson.Default.Calibrated) ?? throw new JsonException("it is empty");
            return found.Key == key ? found with { Profile = found.Profile.Validated() } : null;
        }
        catch (Exception e) when (e is JsonException or ErgonException or IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The calibration {path} cannot be used ({e.Message.TrimEnd('.')}); run 'ergon devices --calibrate' to replace it.", e);
        }
    }

    /// <summary>The best that is known of a device: its calibration, else the catalogue's or an estimate.</summary>
    /// <param name="device">The device.</param>
    /// <param name="files">The machine's file system.</param>
    /// <param name="problem">Told when a calibration is there and cannot be used.</param>
    public (DeviceProfile Profile, Calibrated? Calibrated) ProfileOf(DeviceInfo device, SystemFiles files, Action<string>? problem = null)
    {
        var cores = CpuTopology.PhysicalCores();
        try
        {
            if (Find(KeyOf(device, cores, files)) is { } calibrated)
                return (calibrated.Profile, calibrated);
        }
        catch (ErgonException e)
        {
            problem?.Invoke(e.Message);
        }
        return (EstimatedProfile.Of(device, cores, files), null);
    }

    /// <summary>Keeps a calibration, in place of an earlier one.</summary>
    /// <exception cref="ErgonException">The folder cannot be written.</exception>
    public void Save(Calibrated calibrated)
    {
        var path = PathOf(calibrated.Key);
        try
        {
            Directory.CreateDirectory(folder);
            // Moved in one step: who reads meanwhile finds the old one or the new one.
            var part = $"{path}.{Environment.ProcessId}.part";
            File.WriteAllBytes(part, JsonSerializer.SerializeToUtf8Bytes(calibrated, ProfileJson.Default.Calibrated));
            File.Move(part, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The calibration cannot be kept in '{folder}' ({e.Message.TrimEnd('.')}); set ERGON_CALIBRATION to a folder that can be written.", e);
        }
    }
}
