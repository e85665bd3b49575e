using System.Globalization;
using Ergon.Devices;
using Ergon.Devices.Profiles;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon devices</c>: what models can run on here.</summary>
internal static class DevicesCommand
{
    public static Verb Create(Terminal terminal)
    {
        var json = Settings.Json();
        var explain = Settings.Text("--explain", "NAME", "List every coefficient of a device in the catalogue with its origin; 'all' lists the names");
        return new Verb("devices", "List the devices that models can run on", "ergon devices", "ergon devices --json", "ergon devices --explain \"Raspberry Pi 5\"") { json, explain }.Does(parsed =>
        {
            if (parsed.GetValue(explain) is { } profile)
            {
                Explain(terminal, profile);
                return Exit.Ok;
            }
            var devices = DeviceInfo.All();
            if (parsed.GetValue(json))
            {
                CliJson.Write(terminal.Out, new DeviceList([.. devices.Select(d => new ListedDevice(d.Name, Kind(d.Kind), d.Description, d.Backend, d.FreeMemory, d.TotalMemory))]));
                return Exit.Ok;
            }
            Columns.Write(terminal.Out, [["NAME", "KIND", "MEMORY", "FREE", "DESCRIPTION"], .. devices.Select(d => new[]
            {
                d.Name, Kind(d.Kind), d.TotalMemory is { } total ? Amount.Bytes(total) : "?", d.FreeMemory is { } free ? Amount.Bytes(free) : "?", d.Description,
            })]);
            return Exit.Ok;
        });
    }

    private static void Explain(Terminal terminal, string name)
    {
        if (name == "all")
            Columns.Write(terminal.Out, [["NAME", "KIND", "POOL"], .. ProfileCatalogue.All.Select(p => new[] { p.Name, Kind(p.Kind), p.Pool })]);
        else
            Columns.Write(terminal.Out, [["COEFFICIENT", "VALUE", "ORIGIN", "SOURCE"], .. ProfileCatalogue.Named(name).Fields().Select(f => new[]
            {
                f.Field, f.Value.Value.ToString("G6", CultureInfo.InvariantCulture), f.Value.Origin.ToString(), f.Value.Source,
            })]);
    }

    private static string Kind(DeviceKind kind) => kind switch
    {
        DeviceKind.Cpu => "cpu",
        DeviceKind.Gpu => "gpu",
        DeviceKind.IntegratedGpu => "igpu",
        _ => "accelerator",
    };
}
