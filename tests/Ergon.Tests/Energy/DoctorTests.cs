using System.Text.Json;
using Ergon.Cli;
using Ergon.Cli.Commands;
using Ergon.Energy;
using static Ergon.Tests.Energy.CapturedMachine;

namespace Ergon.Tests.Energy;

/// <summary>The right advice on eight machines.</summary>
public sealed class DoctorTests
{
    private const string NoLibrary = "the driver's library libnvidia-ml.so.1 is not installed";

    private static Diagnosis Examine(CapturedMachine machine, string user = "ada") => new Doctor(machine.Files, machine.Run, (null, NoLibrary), user).Examine();

    private static Finding Of(Diagnosis diagnosis, string subject) => Assert.Single(diagnosis.Findings, f => f.Subject == subject);

    [Fact]
    public void Rapl_that_is_root_s_gets_a_group_and_a_rule_for_the_one_file()
    {
        using var machine = Rapl().Deny($"{Package}/energy_uj").Deny($"{Package}/intel-rapl:0:2/energy_uj");
        var diagnosis = Examine(machine);
        Assert.Empty(diagnosis.Meters);
        Assert.False(Of(diagnosis, "meter").IsFine);
        var rapl = Of(diagnosis, "rapl");
        Assert.False(rapl.IsFine);
        Assert.Contains($"{Package}/energy_uj cannot be read: permission denied", rapl.Text, StringComparison.Ordinal);
        Assert.Equal("sudo groupadd -f ergon && sudo usermod -aG ergon ada"
            + " && echo 'SUBSYSTEM==\"powercap\", KERNEL==\"intel-rapl:*\", ACTION==\"add|change\", RUN+=\"/bin/chgrp ergon /sys%p/energy_uj\", RUN+=\"/bin/chmod g+r /sys%p/energy_uj\"' | sudo tee /etc/udev/rules.d/60-ergon-rapl.rules"
            + " && sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap --action=add   # then log in again", rapl.Grant);
    }

    [Fact]
    public void Rapl_that_can_be_read_needs_nothing()
    {
        using var machine = Rapl();
        var diagnosis = Examine(machine);
        Assert.Equal(["measured:rapl"], diagnosis.Meters);
        Assert.All(diagnosis.Findings, f => Assert.True(f.IsFine && f.Grant is null));
        Assert.Contains("package-0, dram-0", Of(diagnosis, "rapl").Text, StringComparison.Ordinal);
    }

    [Fact]
    public void On_a_jetson_the_groups_that_are_missing_are_named()
    {
        using var machine = OrinNano().Write("etc/group", "root:x:0:\nvideo:x:44:ben\nrender:x:110:ada,ben");
        var diagnosis = Examine(machine);
        Assert.Equal(["measured:ina3221"], diagnosis.Meters);
        var missing = Assert.Single(diagnosis.Findings, f => !f.IsFine);
        Assert.Contains("ada is not in the group video,", missing.Text, StringComparison.Ordinal);
        Assert.StartsWith("sudo usermod -aG video ada", missing.Grant, StringComparison.Ordinal);

        Assert.All(Examine(machine, "ben").Findings, f => Assert.True(f.IsFine));
        machine.Deny($"{Ina}/curr1_input");
        Assert.Contains(Examine(machine, "ben").Findings, f => f.Subject == "jetson" && f.Grant?.Contains("60-ergon-ina3221.rules", StringComparison.Ordinal) == true);
    }

    [Theory]
    [InlineData("ID=debian", "sudo apt install raspi-utils")]
    [InlineData("NAME=Ubuntu\nID=ubuntu", "sudo apt install libraspberrypi-bin")]
    public void A_pi_5_without_its_firmware_s_program_is_told_the_package(string release, string grant)
    {
        using var machine = Pi5().Write("etc/os-release", release);
        Assert.Equal(["measured:pmic"], Examine(machine).Meters);
        machine.Vcgencmd.Clear();
        var diagnosis = Examine(machine);
        Assert.Empty(diagnosis.Meters);
        var finding = Assert.Single(diagnosis.Findings, f => f.Subject == "raspberry pi" && !f.IsFine);
        Assert.Contains("'vcgencmd' is not installed", finding.Text, StringComparison.Ordinal);
        Assert.Equal(grant, finding.Grant);
    }

    [Fact]
    public void An_amd_card_that_can_be_read_needs_nothing()
    {
        using var machine = Amd(apu: false);
        var diagnosis = Examine(machine);
        Assert.Equal(["measured:amdgpu"], diagnosis.Meters);
        Assert.All(diagnosis.Findings, f => Assert.True(f.IsFine));
    }

    [Theory]
    [InlineData("ID=debian", false, "sudo apt install nvidia-driver")]
    [InlineData("ID=ubuntu", false, "sudo ubuntu-drivers install")]
    [InlineData("ID=debian", true, "sudo apt install libnvidia-ml1")]
    public void An_nvidia_gpu_without_its_driver_s_library_is_told_the_package(string release, bool kernel, string grant)
    {
        using var machine = new CapturedMachine().Write("etc/os-release", release).Write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de").Write("sys/bus/pci/devices/0000:01:00.0/class", "0x030000");
        if (kernel)
            machine.Write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14");
        var finding = Of(Examine(machine), "nvidia");
        Assert.False(finding.IsFine);
        Assert.Contains(NoLibrary, finding.Text, StringComparison.Ordinal);
        Assert.Equal(kernel, finding.Text.Contains("--gpus all", StringComparison.Ordinal));
        Assert.Equal(grant, finding.Grant);

        // Its sound controller alone is no GPU.
        machine.Write("sys/bus/pci/devices/0000:01:00.0/class", "0x040300");
        Assert.DoesNotContain(Examine(machine).Findings, f => f.Subject == "nvidia");
    }

    [Fact]
    public void In_a_virtual_machine_there_is_nothing_to_grant()
    {
        using var machine = new CapturedMachine().Write("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme hypervisor avx2");
        var diagnosis = Examine(machine);
        Assert.Empty(diagnosis.Meters);
        Assert.Contains("virtual machine", Of(diagnosis, "rapl").Text, StringComparison.Ordinal);
        Assert.All(diagnosis.Findings, f => Assert.Null(f.Grant));

        machine.Write("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme avx2");
        Assert.Contains("modprobe intel_rapl_msr", Of(Examine(machine), "rapl").Grant, StringComparison.Ordinal);
    }

    [Fact]
    public void A_laptop_on_mains_is_told_that_its_battery_measures_unplugged()
    {
        using var machine = Laptop("Charging");
        var finding = Of(Examine(machine), "battery");
        Assert.False(finding.IsFine);
        Assert.StartsWith("unplug the charger", finding.Grant, StringComparison.Ordinal);

        machine.Write($"{Battery}/status", "Discharging");
        Assert.Equal(["measured:battery"], Examine(machine).Meters);
        Assert.True(Of(Examine(machine), "battery").IsFine);
    }

    [Fact]
    public void A_knob_that_is_root_s_gets_a_rule_and_nothing_is_written_to_find_out()
    {
        const string policy = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq";
        using var machine = new CapturedMachine().Write(policy, 2_400_000);
        Assert.True(Of(Examine(machine), "tune: cpu clock").IsFine);
        Assert.Equal("2400000", machine.Files.Read(policy).Text);
        machine.Deny(policy);
        Assert.Contains("/sys%p/cpufreq/scaling_max_freq", Of(Examine(machine), "tune: cpu clock").Grant, StringComparison.Ordinal);
    }

    [Fact]
    public void No_advice_makes_anything_root_s_or_open_to_all()
    {
        CapturedMachine[] machines = [Rapl().Deny($"{Package}/energy_uj"), OrinNano().Deny($"{Ina}/in1_input"), Amd(apu: true).Deny($"{Card}/power1_average"), IntelGpu().Deny($"{Card}/energy1_input")];
        foreach (var machine in machines)
        {
            var grants = Examine(machine).Findings.Select(f => f.Grant).OfType<string>().ToArray();
            Assert.NotEmpty(grants);
            Assert.All(grants, grant => Assert.DoesNotMatch("u\\+s|setuid|0?777|a\\+[rw]|o\\+[rw]|NOPASSWD|chmod -R", grant));
            machine.Dispose();
        }
    }

    [Fact]
    public async Task The_command_prints_findings_with_their_commands_and_the_documented_json()
    {
        using var text = new StringWriter();
        DoctorCommand.Print(text, new Diagnosis([], [new Finding("rapl", false, "It is root's.", "sudo x"), new Finding("nvidia", true, "Fine.", null)]));
        Assert.Equal("missing  rapl: It is root's.\n         sudo x\nok       nvidia: Fine.\n", text.ToString());

        using var output = new StringWriter();
        using var terminal = new Terminal(TextReader.Null, output, TextWriter.Null);
        Assert.Equal(Exit.Ok, await CommandLine.RunAsync(["doctor", "--json"], terminal));
        using var json = JsonDocument.Parse(output.ToString());
        Assert.Equal(["meters", "findings"], json.RootElement.EnumerateObject().Select(p => p.Name));
        Assert.All(json.RootElement.GetProperty("findings").EnumerateArray(), f => Assert.Equal(["subject", "ok", "text", "grant"], f.EnumerateObject().Select(p => p.Name)));
    }
}
