using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Ergon.Devices;
using Ergon.Devices.Clocks;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Native;
using Ergon.Native.Nvidia;
using Ergon.Native.Tensors;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon devices</c>: what models can run on here, how fast, how hot, at what power, and what is known about it.</summary>
internal static class DevicesCommand
{
    private static readonly TimeSpan PowerWindow = TimeSpan.FromMilliseconds(250);

    public static Verb Create(Terminal terminal)
    {
        var json = Settings.Json();
        var calibrate = new Option<bool>("--calibrate") { Description = "Measure the devices first, in about 10 s on an otherwise idle machine, and keep what was found" };
        var explain = new Option<string?>("--explain")
        {
            Description = "List every coefficient with its origin: of the devices here, of one NAME here or in the catalogue; 'all' lists the catalogue's names",
            HelpName = "NAME",
            Arity = ArgumentArity.ZeroOrOne,
        };
        return new Verb("devices", "List the devices that models can run on", "ergon devices", "ergon devices --calibrate", "ergon devices --json", "ergon devices --explain", "ergon devices --explain \"Raspberry Pi 5\"")
        { json, calibrate, explain }.Does((parsed, cancellation) =>
        {
            var name = parsed.GetValue(explain);
            if (parsed.GetValue(calibrate))
                Calibrate(terminal, cancellation);
            if (name == "all")
                Columns.Write(terminal.Out, [["NAME", "KIND", "POOL"], .. ProfileCatalogue.All.Select(p => new[] { p.Name, Kind(p.Kind), p.Pool })]);
            else if (parsed.GetResult(explain) is not null)
                Explain(terminal, name);
            else if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new DeviceList([.. Survey(terminal)]));
            else
                Print(terminal, Survey(terminal));
            return Task.FromResult(Exit.Ok);
        });
    }

    private static void Calibrate(Terminal terminal, CancellationToken cancellation)
    {
        var files = new SystemFiles();
        var store = CalibrationStore.OfUser();
        var began = Stopwatch.GetTimestamp();
        var calibrator = new Calibrator(files, MeterSet.OfMachine(files, Ergon.Devices.Command.Run, Nvml.OfMachine.Library, TimeProvider.System, new MeterDiagnostics()), Nvml.OfMachine.Library);
        // Accelerators take single operations, not whole models.
        var devices = NativeDevice.All().Where(d => d.Kind is not (NativeDeviceKind.Accelerator or NativeDeviceKind.Meta)).ToList();
        var found = calibrator.Measure(devices, new Immediate<(string What, double Share)>(p => terminal.Status($"calibrating {p.Share,4:P0} {p.What,-40}", isLast: false)), cancellation);
        foreach (var calibrated in found)
            store.Save(calibrated);
        var done = string.Create(CultureInfo.InvariantCulture, $"calibrated {string.Join(", ", devices.Select(d => d.Name))} in {Stopwatch.GetElapsedTime(began).TotalSeconds:F1} s; kept in {Path.GetDirectoryName(store.PathOf(found[0].Key))}");
        terminal.Status(done.PadRight(70), isLast: true);
        if (!terminal.CanRedraw)
            terminal.Error.WriteLine(done);
    }

    private static List<ListedDevice> Survey(Terminal terminal)
    {
        var files = new SystemFiles();
        var nvml = Nvml.OfMachine.Library;
        var store = CalibrationStore.OfUser();
        var meters = MeterSet.OfMachine(files, Ergon.Devices.Command.Run, nvml, TimeProvider.System, new MeterDiagnostics());
        var window = meters.Begin();
        var temperatures = Temperatures.Read(files, nvml);
        var knobs = ClockGuard.Knobs(files, nvml);
        if (meters.Meters.Count > 0)
            Thread.Sleep(PowerWindow);
        var drawn = meters.End(window);
        return [.. DeviceInfo.All().Select(device =>
        {
            var (profile, calibrated) = store.ProfileOf(device, files, problem => terminal.Error.WriteLine($"ergon: {problem}"));
            var domains = drawn.Domains.Where(d => d.Domain.Shows(device.Kind)).ToList();
            double? watts = domains.Count > 0 && domains.All(d => d.Energy is not null) ? domains.Sum(d => d.Energy!.Value.Value) / drawn.Elapsed.TotalSeconds : null;
            return new ListedDevice(device.Name, Kind(device.Kind), device.Description, device.Backend, device.FreeMemory, device.TotalMemory,
                profile.Name, calibrated is not null, profile.EffectiveBandwidth, profile.PeakAt(GgmlType.Q4_0, 1), profile.PeakAt(GgmlType.Q4_0, 512),
                Temperatures.Of(device.Kind, temperatures)?.Value, watts is { } w ? Math.Round(w, 3) : null, domains.Count > 0 ? string.Join('+', domains.Select(d => d.Source).Distinct()) : null,
                [.. knobs.Where(k => (k is NvidiaClock or NvidiaPowerLimit or AmdgpuClock) == (device.Kind == DeviceKind.Gpu)).Select(k => k.Name)]);
        })];
    }

    private static void Print(Terminal terminal, List<ListedDevice> devices)
    {
        Columns.Write(terminal.Out, [["NAME", "KIND", "MEMORY", "FREE", "READS", "Q4_0 x 1", "Q4_0 x 512", "TEMP", "POWER", "METER", "KNOBS", "DESCRIPTION"], .. devices.Select(d => new[]
        {
            d.Name, d.Kind, d.TotalBytes is { } total ? Amount.Bytes(total) : "?", d.FreeBytes is { } free ? Amount.Bytes(free) : "?",
            Amount.Scaled(d.BytesPerSecond) + "B/s", Amount.Scaled(d.FlopsOneRow) + "FLOP/s", Amount.Scaled(d.FlopsManyRows) + "FLOP/s",
            d.Celsius is { } t ? new Celsius(t).ToString() : "?", d.Watts is { } w ? new Watts(w).ToString() : "?", d.Meter ?? "none", d.Knobs.Count > 0 ? string.Join(", ", d.Knobs) : "none", d.Description,
        })]);
        foreach (var device in devices.Where(d => !d.Calibrated))
            terminal.Error.WriteLine($"{device.Name} was not calibrated: what it reads and computes is that of '{device.Profile}' ('ergon devices --calibrate' measures it in 10 s).");
        if (devices.Exists(d => d.Meter is null))
            terminal.Error.WriteLine("Where no meter can be read, energy is modelled; 'ergon doctor' says what is missing.");
    }

    private static void Explain(Terminal terminal, string? name)
    {
        var files = new SystemFiles();
        var here = DeviceInfo.All().Where(d => name is null || d.Name.Equals(name, StringComparison.OrdinalIgnoreCase)).Select(d => CalibrationStore.OfUser().ProfileOf(d, files, problem => terminal.Error.WriteLine($"ergon: {problem}")).Profile).ToList();
        List<DeviceProfile> profiles = here.Count > 0 ? here : [ProfileCatalogue.Named(name!)];
        foreach (var profile in profiles)
        {
            if (profiles.Count > 1)
                terminal.Out.WriteLine(profile.Name);
            Columns.Write(terminal.Out, [["COEFFICIENT", "VALUE", "ORIGIN", "SOURCE"], .. profile.Fields().Select(f => new[]
            {
                f.Field, f.Value.Value.ToString("G6", CultureInfo.InvariantCulture), f.Value.Origin.ToString(), f.Value.Source,
            })]);
        }
    }

    private static string Kind(DeviceKind kind) => kind switch
    {
        DeviceKind.Cpu => "cpu",
        DeviceKind.Gpu => "gpu",
        DeviceKind.IntegratedGpu => "igpu",
        _ => "accelerator",
    };
}
