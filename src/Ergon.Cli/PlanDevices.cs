using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Runtime.Plans;

namespace Ergon.Cli;

/// <summary>The devices that <c>--devices</c> names: the one place where names become profiles.</summary>
/// <param name="Profiles">In the order given.</param>
/// <param name="Local">The same, where they are devices of this machine; <see langword="null"/> of the catalogue's.</param>
internal sealed record PlanDevices(IReadOnlyList<DeviceProfile> Profiles, IReadOnlyList<LocalDevice>? Local)
{
    private const string Catalogue = "catalog:";

    /// <summary>Whether they are not here.</summary>
    public bool Simulated => Local is null;

    /// <summary>Profiles of names.</summary>
    /// <param name="text"><c>real</c>, names of devices here, or <c>catalog:NAME,NAME,...</c>, where the prefix may stand before each name.</param>
    /// <param name="threads">CPU threads where the whole processor is meant; <see langword="null"/>: one for each core.</param>
    /// <param name="terminal">Told of devices that were not calibrated.</param>
    /// <exception cref="ErgonException">Nothing is named, or a name is not known.</exception>
    public static PlanDevices Named(string? text, int? threads, Terminal terminal)
    {
        text ??= LocalDevice.Every;
        if (!text.StartsWith(Catalogue, StringComparison.OrdinalIgnoreCase))
        {
            var local = LocalDevice.Named(text, threads, CalibrationStore.OfUser(), new SystemFiles(), problem => terminal.Error.WriteLine($"ergon: {problem}"));
            foreach (var device in local.Where(d => !d.IsCalibrated).DistinctBy(d => d.Native.Name))
                terminal.Error.WriteLine($"{device.Native.Name} was not calibrated, so plans go by estimates ('ergon devices --calibrate' measures it in 10 s).");
            return new([.. local.Select(d => d.Profile)], local);
        }
        var names = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return new([.. names.Select(n => ProfileCatalogue.Named(n.StartsWith(Catalogue, StringComparison.OrdinalIgnoreCase) ? n[Catalogue.Length..].Trim() : n))], Local: null);
    }
}
