using Ergon.Devices;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon devices</c>: what models can run on here.</summary>
internal static class DevicesCommand
{
    public static Verb Create(Terminal terminal)
    {
        var json = Settings.Json();
        return new Verb("devices", "List the devices that models can run on", "ergon devices", "ergon devices --json") { json }.Does(parsed =>
        {
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

    private static string Kind(DeviceKind kind) => kind switch
    {
        DeviceKind.Cpu => "cpu",
        DeviceKind.Gpu => "gpu",
        DeviceKind.IntegratedGpu => "igpu",
        _ => "accelerator",
    };
}
