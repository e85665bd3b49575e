using System.Collections.Concurrent;
using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Native.Nvidia;
using Ergon.Units;
using Microsoft.Extensions.Logging;

namespace Ergon.Runtime;

/// <summary>
/// Reads the machine's meters in the background, books what a model's passes were for, and gives each answer its
/// receipt in joules. Thread-safe.
/// </summary>
/// <example><code>
/// using var monitor = EnergyMonitor.OfMachine();
/// using var model = monitor.Load(() => ErgonModel.Load("model.gguf"));
/// using var session = model.CreateSession();
/// var request = monitor.Begin(session);
/// await foreach (var token in session.GenerateAsync(prompt)) { }
/// var receipt = await monitor.EndAsync(request, session.Statistics?.CompletionTokens ?? 0);
/// </code></example>
public sealed class EnergyMonitor : IDisposable
{
    private static readonly TimeSpan SettlingInterval = TimeSpan.FromSeconds(1), Patience = TimeSpan.FromSeconds(4), Pause = TimeSpan.FromMilliseconds(50), ModelledInterval = TimeSpan.FromMilliseconds(10);

    private readonly MeterSet _meters;
    private readonly MeterSampler _sampler;
    private readonly EnergyLedger _ledger;
    private readonly TimeProvider _time;
    private readonly Func<DeviceInfo, (DeviceProfile Profile, Calibrated? Calibrated)> _profiles;
    private readonly MeterDiagnostics? _diagnostics;
    private readonly ConcurrentDictionary<int, long> _requests = new(); // by sequence
    private readonly Dictionary<string, MeteredDevice> _devices = []; // by the name that segments report
    private ErgonModel? _model;
    private GgmlType _weightType;
    private long _lastRequest, _settled;

    // A device of the model, what is known of it, and the meters that show it: real ones, or a modelled one.
    private sealed record MeteredDevice(DeviceProfile Profile, bool IsCalibrated, IReadOnlyList<IEnergyMeter> Meters, ModelledMeter? Modelled)
    {
        public long Read { get; set; } // when the modelled meter was read last
    }

    internal EnergyMonitor(MeterSet meters, TimeProvider time, Func<DeviceInfo, (DeviceProfile Profile, Calibrated? Calibrated)> profiles, MeterDiagnostics? diagnostics = null)
    {
        (_meters, _time, _profiles, _diagnostics) = (meters, time, profiles, diagnostics);
        _ledger = new EnergyLedger(time, new Dictionary<string, Watts>());
        _meters.Measured = _ledger.Measure;
        // The processor works for every model, if only to feed it.
        Meter(DeviceInfo.All().First(d => d.Kind == DeviceKind.Cpu));
        _sampler = new MeterSampler(meters, time);
        _sampler.Start();
    }

    /// <summary>Begins to read every meter that this machine has and this process may read. A device without one is modelled by its profile.</summary>
    /// <param name="logger">Receives what is odd about sensors, each once.</param>
    public static EnergyMonitor OfMachine(ILogger? logger = null)
    {
        var (diagnostics, files, store) = (new MeterDiagnostics(logger), new SystemFiles(), CalibrationStore.OfUser());
        return new EnergyMonitor(MeterSet.OfMachine(files, Command.Run, Nvml.OfMachine.Library, TimeProvider.System, diagnostics), TimeProvider.System,
            device => store.ProfileOf(device, files, problem => diagnostics.Say(device.Name, "calibration", problem)), diagnostics);
    }

    /// <summary>The meters in use, such as <c>measured:rapl</c> or <c>modelled:amd-epyc-2core</c>.</summary>
    public IReadOnlyList<string> Sources => [.. _meters.Meters.Select(m => m.Source).Distinct()];

    /// <summary>What meters met that a person should know.</summary>
    public IReadOnlyList<MeterProblem> Problems => _diagnostics?.Problems ?? [];

    /// <summary>Processor time that reading the meters has cost; <see langword="null"/> where the system does not tell.</summary>
    public TimeSpan? CpuTime => _sampler.CpuTime;

    private string? WhyModelled => _devices.Values.Any(d => d is { Modelled: not null, IsCalibrated: false })
        ? $"{(_meters.WhyNone is { } none ? none + "; " : "")}estimated, because 'ergon devices --calibrate' was not run" : _meters.WhyNone;

    /// <summary>What the ledger has divided so far.</summary>
    internal LedgerTotals Totals => _ledger.Totals;

    /// <summary>Loads the model whose generations are to be metered; what that draws is no request's.</summary>
    /// <param name="load">Loads it.</param>
    /// <exception cref="InvalidOperationException">A model is metered already.</exception>
    public ErgonModel Load(Func<ErgonModel> load)
    {
        ArgumentNullException.ThrowIfNull(load);
        if (_model is not null)
            throw new InvalidOperationException("This monitor meters a model already; make one for each.");
        // Loading is reading: it weighs, and without a meter draws, what saturated memory does.
        var loading = _devices.Values.SelectMany(d => d.Meters.Select(m => _ledger.BeginLoading(m.Device, _time.GetTimestamp(), new Watts(d.Profile.MemoryPower.Value)))).ToArray();
        var began = _time.GetTimestamp();
        try
        {
            _model = load();
        }
        finally
        {
            var ended = _time.GetTimestamp();
            foreach (var span in loading)
                _ledger.EndLoading(span, ended);
            foreach (var device in _devices.Values)
                Charge(device, new Watts(device.Profile.MemoryPower.Value) * (Seconds)_time.GetElapsedTime(began, ended));
        }
        foreach (var device in DeviceInfo.All().Where(d => _model.Devices.Contains(d.Name)))
            Meter(device);
        _weightType = _model.Description.MainType;
        _model.PassCompleted += Book;
        return _model;
    }

    /// <summary>Opens a request for the next generation of a session.</summary>
    /// <returns>The request, for <see cref="EndAsync"/>.</returns>
    public MeteredRequest Begin(Session session)
    {
        ArgumentNullException.ThrowIfNull(session);
        var request = new MeteredRequest(Interlocked.Increment(ref _lastRequest), session.Sequence);
        _ledger.Open(request.Id, _time.GetTimestamp());
        _requests[request.Sequence] = request.Id;
        return request;
    }

    /// <summary>Closes a request, whether its generation was answered, cancelled or failed, and waits for the meters to cover it.</summary>
    /// <param name="request">From <see cref="Begin"/>; closed once.</param>
    /// <param name="tokens">Tokens that were generated.</param>
    public async Task<Receipt> EndAsync(MeteredRequest request, int tokens)
    {
        ArgumentNullException.ThrowIfNull(request);
        _ledger.Close(request.Id, _time.GetTimestamp(), tokens);
        _requests.TryRemove(KeyValuePair.Create(request.Sequence, request.Id));
        var began = _time.GetTimestamp();
        while (true)
        {
            // Here: some meters start a program, and meanwhile passes go on.
            _meters.ReadAll();
            // Between two passes no pass is unbooked.
            var receipt = await (_model ?? throw new InvalidOperationException("No model is metered.")).InvokeAsync(_ =>
            {
                _ledger.Settle(_time.GetTimestamp());
                return _ledger.TryTake(request.Id);
            }).ConfigureAwait(false);
            if (receipt is not null)
                return receipt is { Quality: EnergyQuality.Modelled, Reason: null } ? receipt with { Reason = WhyModelled } : receipt;
            if (_time.GetElapsedTime(began) > Patience)
                return new Receipt(null, null, null, null, _time.GetElapsedTime(began), tokens, string.Join('+', Sources), null, "the meters told nothing new after the answer's end");
            await Task.Delay(Pause, _time).ConfigureAwait(false);
        }
    }

    // What shows a device, once: its meters, or one that its profile makes.
    private void Meter(DeviceInfo device)
    {
        if (_devices.ContainsKey(device.Name))
            return;
        var (profile, calibrated) = _profiles(device);
        IEnergyMeter[] meters = [.. _meters.Meters.Where(m => m.Domain.Shows(device.Kind))];
        var modelled = meters.OfType<ModelledMeter>().FirstOrDefault();
        if (meters.Length == 0)
        {
            var domain = device.Kind == DeviceKind.Gpu ? EnergyDomain.Gpu : EnergyDomain.Package;
            modelled = new ModelledMeter(device.Name, domain, profile.Name, new Watts(profile.IdlePower.Value), _time);
            _meters.Add(modelled);
            _ledger.SetIdle(modelled.Device, new Watts(profile.IdlePower.Value));
            meters = [modelled];
        }
        foreach (var meter in meters)
        {
            if (calibrated?.MeterIdle.TryGetValue(meter.Device, out var idle) == true)
                _ledger.SetIdle(meter.Device, new Watts(idle));
        }
        _devices.Add(device.Name, new MeteredDevice(profile, calibrated is not null, meters, modelled));
    }

    private void Charge(MeteredDevice device, Joules energy)
    {
        if (device.Modelled is not { } modelled)
            return;
        modelled.Charge(energy);
        // An interval that ends with the work leaves none of its energy to what comes after. Within an interval passes share
        // by what they were charged, so of short ones several make one.
        var now = _time.GetTimestamp();
        if (_time.GetElapsedTime(device.Read, now) < ModelledInterval)
            return;
        device.Read = now;
        _meters.Read(modelled);
    }

    // On the engine's thread, as a pass ends.
    private void Book(PassReport pass)
    {
        var rows = 0.0;
        foreach (var part in pass.Parts)
            rows += part.Rows;
        foreach (var segment in pass.Segments)
        {
            if (!_devices.TryGetValue(segment.Device, out var device))
                continue;
            var time = (Seconds)segment.Elapsed;
            var memory = EnergyModel.Observed(device.Profile, _weightType, segment.Rows, 0, segment.MemoryBytes, time).Value;
            var arithmetic = EnergyModel.Observed(device.Profile, _weightType, segment.Rows, segment.Flops, 0, time).Value;
            // Arithmetic goes by rows; the weights are read once for all, so that is shared by heads. What no request
            // asked for has a share as well, which is nobody's.
            var shares = new PassShare[pass.Parts.Count];
            for (var i = 0; i < shares.Length; i++)
                shares[i] = new PassShare(_requests.GetValueOrDefault(pass.Parts[i].Sequence), (arithmetic * pass.Parts[i].Rows / rows) + (memory / shares.Length), pass.Parts[i].IsPrompt);
            foreach (var meter in device.Meters)
                _ledger.Record(new PassRecord(meter.Device, segment.Began, segment.Ended, new Joules(arithmetic + memory), shares));
            Charge(device, new Joules(arithmetic + memory));
        }
        var now = _time.GetTimestamp();
        if (_time.GetElapsedTime(_settled, now) < SettlingInterval)
            return;
        _settled = now;
        _ledger.Settle(Math.Min(now, pass.AllBefore));
    }

    /// <summary>Stops reading the meters.</summary>
    public void Dispose()
    {
        if (_model is not null)
            _model.PassCompleted -= Book;
        _sampler.Dispose();
    }
}

/// <summary>A request that an <see cref="EnergyMonitor"/> meters.</summary>
public sealed record MeteredRequest
{
    internal MeteredRequest(long id, int sequence) => (Id, Sequence) = (id, sequence);

    internal long Id { get; }

    internal int Sequence { get; }
}
