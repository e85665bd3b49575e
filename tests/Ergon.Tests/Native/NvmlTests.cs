using System.Diagnostics;
using Ergon.Energy;
using Ergon.Native.Nvidia;
using Ergon.Tests.Energy;

namespace Ergon.Tests.Native;

/// <summary>The calls into NVML, on a library of our own with the same signatures.</summary>
public sealed class NvmlTests
{
    private const string Source = """
        #include <string.h>
        typedef void *dev;
        static unsigned long long energy = 1000000; static unsigned limit = 300000, low, high;
        int nvmlInit_v2(void) { return 0; }
        const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : code == 4 ? "Insufficient Permissions" : "?"; }
        int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) { *d = (dev)(long)(i + 1); return 0; }
        int nvmlDeviceGetName(dev d, char *s, unsigned n) { strncpy(s, d == (dev)1 ? "New" : "Old", n); return 0; }
        int nvmlDeviceGetUUID(dev d, char *s, unsigned n) { strncpy(s, d == (dev)1 ? "GPU-1" : "GPU-2", n); return 0; }
        int nvmlDeviceGetTotalEnergyConsumption(dev d, unsigned long long *mj) { if (d != (dev)1) return 3; energy += 45000; *mj = energy; return 0; }
        int nvmlDeviceGetPowerUsage(dev d, unsigned *mw) { *mw = d == (dev)1 ? 1 : 70000; return 0; }
        int nvmlDeviceGetTemperature(dev d, int sensor, unsigned *c) { if (sensor) return 3; *c = 61; return 0; }
        int nvmlDeviceGetCurrentClocksThrottleReasons(dev d, unsigned long long *r) { *r = 0x24; return 0; }
        int nvmlDeviceGetClockInfo(dev d, int type, unsigned *mhz) { if (type) return 3; *mhz = low ? low : 1980; return 0; }
        int nvmlDeviceGetMaxClockInfo(dev d, int type, unsigned *mhz) { *mhz = 1980; return 0; }
        int nvmlDeviceGetPowerManagementLimit(dev d, unsigned *mw) { *mw = limit; return 0; }
        int nvmlDeviceGetPowerManagementLimitConstraints(dev d, unsigned *min, unsigned *max) { *min = 200000; *max = 700000; return 0; }
        int nvmlDeviceSetPowerManagementLimit(dev d, unsigned mw) { if (d != (dev)1) return 4; limit = mw; return 0; }
        int nvmlDeviceSetGpuLockedClocks(dev d, unsigned min, unsigned max) { low = min; high = max; return 0; }
        int nvmlDeviceResetGpuLockedClocks(dev d) { low = high = 0; return 0; }
        """;

    [CompilerFact]
    public void Every_call_arrives_with_its_arguments_and_its_unit()
    {
        using var folder = new TemporaryFolder();
        var library = Compile(folder);
        var (nvml, fault) = Nvml.Open(library);
        Assert.Null(fault);
        Assert.Equal(["New", "Old"], nvml!.Devices.Select(d => d.Name));
        Assert.Equal(["GPU-1", "GPU-2"], nvml.Devices.Select(d => d.Uuid));
        var (gpu, old) = (nvml.Devices[0], nvml.Devices[1]);

        Assert.Equal(1_045_000UL, gpu.EnergyMillijoules().Value);
        Assert.Equal((null, "Not Supported"), (old.EnergyMillijoules().Value, old.EnergyMillijoules().Fault));
        Assert.Equal((70_000u, 61u, 0x24UL), (old.PowerMilliwatts().Value, gpu.Temperature().Value, gpu.ClocksEventReasons().Value));
        Assert.Equal((1980u, 1980u), (gpu.ClockMegahertz().Value, gpu.MaxClockMegahertz().Value));
        Assert.Equal((200_000u, 700_000u), gpu.PowerLimits().Value);

        Assert.Null(gpu.SetPowerLimit(250_000));
        Assert.Equal(250_000u, gpu.PowerLimitMilliwatts().Value);
        Assert.Equal("Insufficient Permissions", old.SetPowerLimit(250_000));
        Assert.Null(gpu.LockClocks(900, 1200));
        Assert.Equal(900u, gpu.ClockMegahertz().Value);
        Assert.Null(gpu.UnlockClocks());
        Assert.Equal(1980u, gpu.ClockMegahertz().Value);
    }

    [CompilerFact]
    public void The_counter_is_the_meter_of_a_new_gpu_and_power_that_of_an_old_one()
    {
        using var folder = new TemporaryFolder();
        using var machine = new CapturedMachine();
        var nvml = Nvml.Open(Compile(folder)).Library;
        var chosen = MeterSurvey.Choose(MeterSurvey.Find(machine.Files, machine.Run, nvml, machine.Diagnostics));
        Assert.Equal(["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"], chosen.Select(s => s.Path));
        var meters = MeterSet.OfMachine(machine.Files, machine.Run, nvml, machine.Time, machine.Diagnostics);
        var window = meters.Begin();
        machine.Time.Pass(0.5);
        var measured = meters.End(window);
        // 45 J by the counter, 70 W for half a second.
        Assert.Equal([45, 35], measured.Domains.Select(d => Math.Round(d.Energy!.Value.Value, 9)));
        Assert.Equal("measured:nvml", measured.Source);
        Assert.Equal([EnergyQuality.Counter, EnergyQuality.Sampled], measured.Domains.Select(d => d.Quality));
    }

    private static string Compile(TemporaryFolder folder)
    {
        var source = folder.File("nvml.c", System.Text.Encoding.UTF8.GetBytes(Source));
        var library = folder.File("libnvidia-ml-test.so");
        using var compiler = Process.Start(new ProcessStartInfo("cc", ["-shared", "-fPIC", "-o", library, source]) { RedirectStandardError = true })!;
        var said = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, said);
        return library;
    }

    private sealed class CompilerFactAttribute : FactAttribute
    {
        public CompilerFactAttribute()
        {
            var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
            if (OperatingSystem.IsWindows() || !folders.Any(f => File.Exists(Path.Combine(f, "cc"))))
                Skip = "there is no C compiler 'cc' to make a stand-in for NVIDIA's library";
        }
    }
}
