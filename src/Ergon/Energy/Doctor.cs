using Ergon.Devices;
using Ergon.Devices.Clocks;
using Ergon.Energy.Sensors;
using Ergon.Native.Nvidia;

namespace Ergon.Energy;

/// <summary>One thing that a machine needs for metering or tuning.</summary>
/// <param name="Subject">What it is about: <c>meter</c>, <c>rapl</c>, <c>nvidia</c>, <c>tune: cpu clock</c>.</param>
/// <param name="IsFine">Whether nothing is missing.</param>
/// <param name="Text">What is so, in a sentence.</param>
/// <param name="Grant">The command that grants what is missing, for the system's owner to read and run; <see langword="null"/> where none can.</param>
public sealed record Finding(string Subject, bool IsFine, string Text, string? Grant);

/// <summary>What a machine can meter, and what is missing.</summary>
/// <param name="Meters">The sources that requests will be billed by; empty when energy can only be modelled.</param>
/// <param name="Findings">What was looked at.</param>
public sealed record Diagnosis(IReadOnlyList<string> Meters, IReadOnlyList<Finding> Findings);

/// <summary>
/// Finds what is missing to meter and tune a machine, and the narrowest command that grants it: membership in a group
/// or a udev rule for single files, never root for Ergon and no setuid. It changes nothing.
/// </summary>
/// <param name="files">The machine's file system.</param>
/// <param name="run">Starts programs.</param>
/// <param name="nvml">NVIDIA's library, or why there is none.</param>
/// <param name="user">Who runs Ergon.</param>
internal sealed class Doctor(SystemFiles files, CommandRunner run, (Nvml? Library, string? Fault) nvml, string user)
{
    private const string Group = "ergon";

    private readonly List<Finding> _findings = [];
    private IReadOnlyList<FoundSensor> _sensors = [];

    public Diagnosis Examine()
    {
        var diagnostics = new MeterDiagnostics();
        _sensors = MeterSurvey.Find(files, run, nvml.Library, diagnostics);
        var meters = MeterSurvey.Choose(_sensors).Select(sensor => $"measured:{sensor.Name}").Distinct().ToArray();
        _findings.Add(meters.Length > 0
            ? new Finding("meter", true, $"Energy is {string.Join(" + ", meters)}.", null)
            : new Finding("meter", false, "No meter can be read, so receipts are modelled from what is known of the device ('ergon devices --explain').", null));
        foreach (var problem in diagnostics.Problems)
            _findings.Add(new Finding("meter", false, $"{problem.Path}: {problem.Problem}.", null));
        Rapl();
        Jetson();
        RaspberryPi();
        Nvidia();
        Hwmon();
        Battery();
        foreach (var (subject, paths, rule) in Knobs())
            Tune(subject, paths, rule);
        if (nvml.Library is not null)
            _findings.Add(new Finding("tune: nvidia clock", user == "root", "The driver lets nobody but root hold a GPU's clock; 'ergon tune' leaves it alone otherwise.", user == "root" ? null : "sudo nvidia-smi --lock-gpu-clocks=MIN,MAX   # undo: sudo nvidia-smi --reset-gpu-clocks"));
        return new Diagnosis(meters, _findings);
    }

    private void Rapl()
    {
        var rapl = _sensors.Where(s => s.Sensor.Name == "rapl").ToList();
        if (rapl.FirstOrDefault(s => !s.Works) is { } failed)
        {
            var denied = failed.Fault == SystemFiles.Denied;
            _findings.Add(new Finding("rapl", false, $"The processor's energy counter {failed.FaultPath} cannot be read: {failed.Fault}."
                + (denied ? " Since CVE-2020-8694 it is root's; a group may read it where others on the machine are trusted." : ""),
                denied ? Rule("60-ergon-rapl", "powercap", "SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl:*\"", "g+r", ["energy_uj"]) : null));
        }
        else if (rapl.Count > 0)
        {
            _findings.Add(new Finding("rapl", true, $"The processor's energy counters can be read ({string.Join(", ", rapl.Select(s => s.Sensor.Device))}).", null));
        }
        else if (files.Read("proc/cpuinfo").Text is { } cpu && (cpu.Contains("GenuineIntel", StringComparison.Ordinal) || cpu.Contains("AuthenticAMD", StringComparison.Ordinal)))
        {
            // The flag is the hypervisor's own word to its guest.
            var isGuest = cpu.Split('\n').Any(line => line.StartsWith("flags", StringComparison.Ordinal) && line.Split(' ').Contains("hypervisor"));
            _findings.Add(isGuest
                ? new Finding("rapl", false, "This is a virtual machine, and its host shows it no energy counters; nothing inside the machine can grant them.", null)
                : new Finding("rapl", false, $"The kernel shows no {files.Full(RaplSensor.Folder)}: the driver of the processor's energy counters is not loaded.", "sudo modprobe intel_rapl_msr && echo intel_rapl_msr | sudo tee /etc/modules-load.d/ergon.conf"));
        }
    }

    private void Jetson()
    {
        if (!files.BoardModel.Contains("Jetson", StringComparison.Ordinal))
            return;
        var sensor = _sensors.FirstOrDefault(s => s.Sensor.Name == "ina3221");
        if (sensor is { Works: true })
            _findings.Add(new Finding("jetson", true, "The module's power monitor can be read.", null));
        else if (sensor is not null)
            _findings.Add(new Finding("jetson", false, $"The module's power monitor {sensor.FaultPath} cannot be read: {sensor.Fault}.", sensor.Fault == SystemFiles.Denied
                ? Rule("60-ergon-ina3221", "hwmon", "SUBSYSTEM==\"hwmon\", ATTR{name}==\"ina3221\"", "g+r", ["in1_input", "in2_input", "in3_input", "curr1_input", "curr2_input", "curr3_input"]) : null));
        InGroups("jetson", ["video", "render"], "the GPU");
    }

    private void RaspberryPi()
    {
        if (!RaspberryPiSensor.IsPi5(files))
            return;
        var sensor = _sensors.First(s => s.Sensor.Name == "pmic");
        if (sensor.Works)
        {
            _findings.Add(new Finding("raspberry pi", true, "The power management chip can be read.", null));
            return;
        }
        var isUbuntu = (files.Read("etc/os-release").Text ?? "").Split('\n').Contains("ID=ubuntu");
        if (sensor.Fault!.Contains("not installed", StringComparison.Ordinal))
            _findings.Add(new Finding("raspberry pi", false, $"The power management chip cannot be read: {sensor.Fault}.", isUbuntu ? "sudo apt install libraspberrypi-bin" : "sudo apt install raspi-utils"));
        else
            _findings.Add(new Finding("raspberry pi", false, $"The power management chip cannot be read: {sensor.Fault}.", null));
        InGroups("raspberry pi", ["video"], "the firmware (/dev/vcio)");
    }

    private void Nvidia()
    {
        if (nvml.Library is { } library)
        {
            _findings.Add(new Finding("nvidia", library.Devices.Count > 0, $"The driver shows {library.Devices.Count} GPU(s){string.Concat(library.Devices.Select(d => $", {d.Name}"))}.", null));
            return;
        }
        // A display controller of NVIDIA's.
        var isThere = files.Glob("sys/bus/pci/devices/*").Any(device => files.Read($"{device}/vendor").Text == "0x10de" && (files.Read($"{device}/class").Text ?? "").StartsWith("0x03", StringComparison.Ordinal));
        if (!isThere)
            return;
        var isUbuntu = (files.Read("etc/os-release").Text ?? "").Split('\n').Contains("ID=ubuntu");
        var hasDriver = files.Exists("proc/driver/nvidia/version");
        _findings.Add(new Finding("nvidia", false, $"There is an NVIDIA GPU, but {nvml.Fault}{(hasDriver ? ", although the kernel's driver is loaded (in a container: start it with --gpus all)" : "")}.",
            hasDriver && !isUbuntu ? "sudo apt install libnvidia-ml1" : isUbuntu ? "sudo ubuntu-drivers install" : "sudo apt install nvidia-driver"));
    }

    private void Hwmon()
    {
        foreach (var sensor in _sensors.Where(s => s.Sensor.Name is "amdgpu" or "intel-gpu"))
        {
            _findings.Add(sensor.Works
                ? new Finding(sensor.Sensor.Name, true, $"{sensor.Sensor.Path} can be read{(sensor.Sensor.IncludesCpu ? "; it is an APU's, so the processor is in it" : "")}.", null)
                : new Finding(sensor.Sensor.Name, false, $"{sensor.FaultPath} cannot be read: {sensor.Fault}.", sensor.Fault == SystemFiles.Denied
                    ? Rule($"60-ergon-{sensor.Sensor.Name}", "hwmon", $"SUBSYSTEM==\"hwmon\", ATTR{{name}}==\"{(sensor.Sensor.Name == "amdgpu" ? "amdgpu" : "i915|xe")}\"", "g+r", [Path.GetFileName(sensor.Sensor.Path)]) : null));
        }
    }

    private void Battery()
    {
        if (_sensors.FirstOrDefault(s => s.Sensor.Name == "battery") is { } battery)
            _findings.Add(new Finding("battery", battery.Works, battery.Works ? "The machine runs on its battery, which tells the draw of the whole machine." : $"{battery.FaultPath}: {battery.Fault}.",
                battery.Works || MeterSurvey.Choose(_sensors).Count > 0 ? null : "unplug the charger   # a battery measures only while it discharges"));
    }

    private IEnumerable<(string Subject, IReadOnlyList<string> Paths, Func<string> Grant)> Knobs()
    {
        yield return ("tune: cpu clock", files.Glob("sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq"),
            () => Rule("60-ergon-cpufreq", "cpu", "SUBSYSTEM==\"cpu\"", "g+w", ["cpufreq/scaling_min_freq", "cpufreq/scaling_max_freq"]));
        yield return ("tune: power limit", files.Glob($"{RaplSensor.Folder}/intel-rapl:*/constraint_0_power_limit_uw"),
            () => Rule("60-ergon-rapl-limit", "powercap", "SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl:*\"", "g+w", ["constraint_0_power_limit_uw"]));
        yield return ("tune: jetson gpu clock", [.. files.Glob("sys/class/devfreq/*/max_freq").Where(p => JetsonClock.IsGpu(files, Path.GetDirectoryName(p)!))],
            () => Rule("60-ergon-devfreq", "devfreq", "SUBSYSTEM==\"devfreq\"", "g+w", ["min_freq", "max_freq"]));
        yield return ("tune: amdgpu clock", files.Glob("sys/class/drm/card*/device/power_dpm_force_performance_level"),
            () => Rule("60-ergon-amdgpu-clock", "drm", "SUBSYSTEM==\"drm\", KERNEL==\"card[0-9]\"", "g+w", ["device/power_dpm_force_performance_level"]));
    }

    private void Tune(string subject, IReadOnlyList<string> paths, Func<string> grant)
    {
        if (paths.Count == 0)
            return;
        var fault = files.TryOpenForWriting(paths[0]);
        _findings.Add(fault is null
            ? new Finding(subject, true, $"{files.Full(paths[0])} can be set; 'ergon tune' does so only when it is allowed to.", null)
            : new Finding(subject, false, $"{files.Full(paths[0])} cannot be set: {fault}.", fault == SystemFiles.Denied ? grant() : null));
    }

    private void InGroups(string subject, IReadOnlyList<string> wanted, string what)
    {
        if (user == "root")
            return;
        // "video:x:44:ada,ben"
        var groups = (files.Read("etc/group").Text ?? "").Split('\n').Select(line => line.Trim().Split(':')).Where(f => f.Length == 4).ToLookup(f => f[0], f => f[3].Split(','), StringComparer.Ordinal);
        var missing = wanted.Where(g => groups.Contains(g) && !groups[g].Any(members => members.Contains(user))).ToArray();
        _findings.Add(missing.Length == 0
            ? new Finding(subject, true, $"{user} may use {what}.", null)
            : new Finding(subject, false, $"{user} is not in the group {string.Join(" and ", missing)}, which {what} wants.", $"sudo usermod -aG {string.Join(',', missing)} {user}   # then log in again"));
    }

    // %p is the device's path below /sys. A rule holds after a restart, when the kernel makes the files anew.
    private string Rule(string name, string subsystem, string match, string mode, IReadOnlyList<string> attributes)
    {
        var paths = string.Join(' ', attributes.Select(a => $"/sys%p/{a}"));
        return $"sudo groupadd -f {Group} && sudo usermod -aG {Group} {user}"
            + $" && echo '{match}, ACTION==\"add|change\", RUN+=\"/bin/chgrp {Group} {paths}\", RUN+=\"/bin/chmod {mode} {paths}\"' | sudo tee /etc/udev/rules.d/{name}.rules"
            + $" && sudo udevadm control --reload && sudo udevadm trigger --subsystem-match={subsystem} --action=add   # then log in again";
    }
}
