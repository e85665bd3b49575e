using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Native.Nvidia;
using Ergon.Units;

namespace Ergon.Cli.Bench;

/// <summary>What a run takes in joules: by the meters that show the device, else by its profile over the run's passes.</summary>
internal sealed class BenchEnergy
{
    private static readonly TimeSpan MeterStep = TimeSpan.FromMilliseconds(100);

    private readonly MeterSet _meters;
    private readonly DeviceProfile _profile;
    private readonly GgmlType _weightType;

    /// <param name="model">On one device.</param>
    public BenchEnergy(ErgonModel model)
    {
        var (files, device) = (new SystemFiles(), DeviceInfo.All().First(d => d.Name == model.Devices[0]));
        _profile = CalibrationStore.OfUser().ProfileOf(device, files).Profile;
        _weightType = model.Description.MainType;
        var all = MeterSet.OfMachine(files, Command.Run, Nvml.OfMachine.Library, TimeProvider.System, new MeterDiagnostics());
        _meters = new MeterSet(all.Meters.Where(m => m.Domain.Shows(device.Kind)), TimeProvider.System);
        Source = _meters.Meters.Count > 0 ? string.Join('+', _meters.Meters.Select(m => m.Source).Distinct()) : $"modelled:{_profile.Name}";
    }

    /// <summary><c>measured:rapl</c>, <c>modelled:amd-epyc-2core</c>.</summary>
    public string Source { get; }

    /// <summary>Does something and tells its joules, idle power included; <see langword="null"/> where a meter missed a part of it.</summary>
    /// <param name="work">Gives the contender each segment's report.</param>
    public double? Of(Action<Action<SegmentReport>?> work)
    {
        if (_meters.Meters.Count > 0)
        {
            var window = _meters.Begin();
            // A power sensor is a mean over what is read meanwhile.
            using var sampling = new Timer(_ => _meters.ReadAll(), null, MeterStep, MeterStep);
            work(null);
            return _meters.End(window).Energy?.Value;
        }
        var (joules, began) = (0.0, TimeProvider.System.GetTimestamp());
        work(segment =>
        {
            var (arithmetic, memory) = EnergyModel.Observed(_profile, _profile.PeakAt(_weightType, segment.Rows), segment.Flops, segment.MemoryBytes, (Seconds)segment.Elapsed);
            joules += (arithmetic + memory).Value;
        });
        return joules + (_profile.IdlePower.Value * TimeProvider.System.GetElapsedTime(began).TotalSeconds);
    }
}
