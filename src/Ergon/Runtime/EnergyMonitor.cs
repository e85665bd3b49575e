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
/// receipt in joules. Thread-safe. It may be disposed before or after the model.
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
    /// <summary>Where the interfaces of Microsoft.Extensions.AI have the <see cref="Receipt"/>: in <c>AdditionalProperties</c>.</summary>
    public const string ReceiptKey = "ergon.energy";

    private const int Everything = -1; // the sequence of a request for all that the model does
    private static readonly TimeSpan SettlingInterval = TimeSpan.FromSeconds(1), Patience = TimeSpan.FromSeconds(4), Pause = TimeSpan.FromMilliseconds(50), ModelledInterval = TimeSpan.FromMilliseconds(10);

    private readonly MeterSet _meters;
    private readonly MeterSampler _sampler;
    private readonly EnergyLedger _ledger;
    private readonly TimeProvider _time;
    private readonly Func<DeviceInfo, (DeviceProfile Profile, Calibrated? Calibrated)> _profiles;
    private readonly MeterDiagnostics? _diagnostics;
    private readonly Func<IReadOnlyList<Temperature>> _temperatures;
    private readonly ConcurrentDictionary<int, long> _requests = new(); // by sequence
    private readonly ConcurrentDictionary<string, MeteredDevice> _devices = new(); // by the name that segments report
    private readonly ConcurrentDictionary<string, RecentSums> _drawn = new(); // joules and seconds of each meter
    private IPassSource? _model;
    private GgmlType _weightType;
    private long _lastRequest, _settled, _tokens;
    private int _aside = Everything; // the last sequence that stands for work without passes

    // A device of the model, what is known of it, the meters that show it (real ones, or a modelled one), and the tokens
    // and rows of prompts that it computed.
    private sealed record MeteredDevice(DeviceKind Kind, DeviceProfile Profile, bool IsCalibrated, IReadOnlyList<IEnergyMeter> Meters, ModelledMeter? Modelled, RecentSums Work)
    {
        private readonly double[] _peaks = new double[Engine.MaxRows + 1]; // by rows; 0: not asked yet

        public long Read { get; set; } // when the modelled meter was read last

        // Each pass asks, and the profile searches.
        public double PeakAt(GgmlType type, int rows) => rows >= _peaks.Length ? Profile.PeakAt(type, rows) : _peaks[rows] > 0 ? _peaks[rows] : _peaks[rows] = Profile.PeakAt(type, rows);
    }

    internal EnergyMonitor(
        MeterSet meters, TimeProvider time, Func<DeviceInfo, (DeviceProfile Profile, Calibrated? Calibrated)> profiles, MeterDiagnostics? diagnostics = null, Func<IReadOnlyList<Temperature>>? temperatures = null)
    {
        (_meters, _time, _profiles, _diagnostics, _temperatures) = (meters, time, profiles, diagnostics, temperatures ?? (() => []));
        _ledger = new EnergyLedger(time, new Dictionary<string, Watts>());
        _settled = time.GetTimestamp();
        _meters.Measured = Note;
        // The processor works for every model, if only to feed it.
        Meter(DeviceInfo.All().First(d => d.Kind == DeviceKind.Cpu));
        _sampler = new MeterSampler(meters, time);
        _sampler.Start();
    }

    /// <summary>Begins to read every meter that this machine has and this process may read. A device without one is modelled by its profile.</summary>
    /// <param name="logger">Receives what is odd about sensors, each once.</param>
    public static EnergyMonitor OfMachine(ILogger? logger = null)
    {
        var (diagnostics, files, store, nvml) = (new MeterDiagnostics(logger), new SystemFiles(), CalibrationStore.OfUser(), Nvml.OfMachine.Library);
        return new EnergyMonitor(MeterSet.OfMachine(files, Command.Run, nvml, TimeProvider.System, diagnostics), TimeProvider.System,
            device => store.ProfileOf(device, files, problem => diagnostics.Say(device.Name, "calibration", problem)), diagnostics, () => Temperatures.Read(files, nvml));
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
    public ErgonModel Load(Func<ErgonModel> load) => LoadMetered(load);

    /// <summary>As for a model that generates; its texts are embedded by <see cref="EmbedAsync"/>.</summary>
    /// <param name="load">Loads it.</param>
    /// <exception cref="InvalidOperationException">A model is metered already.</exception>
    public EmbeddingModel Load(Func<EmbeddingModel> load) => LoadMetered(load);

    private T LoadMetered<T>(Func<T> load) where T : class, IPassSource
    {
        ArgumentNullException.ThrowIfNull(load);
        if (_model is not null)
            throw new InvalidOperationException("This monitor meters a model already; make one for each.");
        // Loading is reading: it weighs, and without a meter draws, what saturated memory does.
        var loading = _devices.Values.SelectMany(d => d.Meters.Select(m => _ledger.BeginLoading(m.Device, _time.GetTimestamp(), new Watts(d.Profile.MemoryPower.Value)))).ToArray();
        var began = _time.GetTimestamp();
        T model;
        try
        {
            _model = model = load();
        }
        finally
        {
            var ended = _time.GetTimestamp();
            foreach (var span in loading)
                _ledger.EndLoading(span, ended);
            foreach (var device in _devices.Values)
                Charge(device, new Watts(device.Profile.MemoryPower.Value) * (Seconds)_time.GetElapsedTime(began, ended));
        }
        foreach (var device in DeviceInfo.All().Where(d => model.Devices.Contains(d.Name)))
            Meter(device);
        _weightType = _model.Description.MainType;
        _model.PassCompleted += Book;
        return model;
    }

    /// <summary>Opens a request for the next generation of a session.</summary>
    /// <returns>The request, for <see cref="EndAsync"/>.</returns>
    public MeteredRequest Begin(Session session)
    {
        ArgumentNullException.ThrowIfNull(session);
        return Begin(session.Sequence);
    }

    /// <summary>Opens a request for all that the model does until it is ended, but for what is another request's: for work of many sessions that has one figure.</summary>
    /// <returns>The request, for <see cref="EndAsync"/>; one at a time.</returns>
    public MeteredRequest Begin() => Begin(Everything);

    /// <summary>Opens a request for the next generation of a session or, without one, for work that no pass does: it gets its part of what no pass explains.</summary>
    /// <returns>Closes it; takes the tokens that were generated.</returns>
    internal Func<int, Task<Receipt>> Open(Session? session)
    {
        var request = Begin(session?.Sequence ?? Interlocked.Decrement(ref _aside));
        return tokens => EndAsync(request, tokens);
    }

    /// <summary>The same as <see cref="Open"/> for all that the model does until it is closed; one at a time.</summary>
    internal Func<int, Task<Receipt>> OpenAll()
    {
        var request = Begin();
        return tokens => EndAsync(request, tokens);
    }

    private MeteredRequest Begin(int sequence)
    {
        var request = new MeteredRequest(Interlocked.Increment(ref _lastRequest), sequence);
        _ledger.Open(request.Id, _time.GetTimestamp());
        _requests[sequence] = request.Id;
        return request;
    }

    /// <summary>Embeds texts as one request. Safe for concurrent use.</summary>
    /// <param name="model">The model that this monitor loaded.</param>
    /// <param name="texts">As for <see cref="EmbeddingModel.EmbedTokensAsync(IReadOnlyList{int[]}, CancellationToken)"/>.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    /// <returns>A vector for each text, and what all took together; its passes are prefill, and it has no tokens.</returns>
    /// <exception cref="ErgonException">As for <see cref="EmbeddingModel.EmbedTokensAsync(IReadOnlyList{int[]}, CancellationToken)"/>, or the model was loaded without this monitor.</exception>
    public async Task<(IReadOnlyList<float[]> Vectors, Receipt Receipt)> EmbedAsync(EmbeddingModel model, IReadOnlyList<int[]> texts, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        var request = Knowing(model).Begin(model.NextCall());
        float[][] vectors;
        try
        {
            vectors = await model.EmbedTokensAsync(texts, request.Sequence, cancellation).ConfigureAwait(false);
        }
        catch
        {
            await EndAsync(request, tokens: 0).ConfigureAwait(false);
            throw;
        }
        return (vectors, await EndAsync(request, tokens: 0).ConfigureAwait(false));
    }

    /// <summary>This monitor, which books the passes of a model.</summary>
    /// <exception cref="ErgonException">It does not, because the model was loaded without it.</exception>
    internal EnergyMonitor Knowing(IPassSource model) => ReferenceEquals(_model, model) ? this
        : throw new ErgonException($"The model '{model.Description.Name}' was loaded without this EnergyMonitor, which knows none of its passes; load the model with the monitor's Load.");

    /// <summary>Closes a request, whether its generation was answered, cancelled or failed, and waits for the meters to cover it.</summary>
    /// <param name="request">From <see cref="Begin(Session)"/> or <see cref="Begin()"/>; closed once.</param>
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
            var receipt = await TryTakeAsync(request.Id).ConfigureAwait(false);
            if (receipt is not null)
                return receipt is { Quality: EnergyQuality.Modelled, Reason: null } ? receipt with { Reason = WhyModelled } : receipt;
            if (_time.GetElapsedTime(began) > Patience)
                return new Receipt(null, null, null, null, _time.GetElapsedTime(began), tokens, string.Join('+', Sources), null, "the meters told nothing new after the answer's end");
            await Task.Delay(Pause, _time).ConfigureAwait(false);
        }
    }

    private async Task<Receipt?> TryTakeAsync(long request)
    {
        try
        {
            // Between two passes no pass is unbooked.
            return await (_model ?? throw new InvalidOperationException("No model is metered.")).BetweenPassesAsync(Take).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            // Nor is any when the engine is gone.
            return Take();
        }

        Receipt? Take()
        {
            _ledger.Settle(_time.GetTimestamp());
            return _ledger.TryTake(request);
        }
    }

    /// <summary>What the model does and draws at present. Cheap, and it waits for no pass.</summary>
    internal EnergyStatus Status()
    {
        var now = _time.GetTimestamp();
        var temperatures = _temperatures();
        var totals = _ledger.Totals;
        return new EnergyStatus(Environment.ProcessId, _model?.Description.Name, [.. _devices.OrderBy(d => d.Key, StringComparer.Ordinal).Select(d => StatusOf(d.Key, d.Value, temperatures, now))], _requests.Count,
            new StatusTotals(totals.Total.Value, totals.Requests.Value, totals.Loading.Value, totals.Unattributed.Value, Interlocked.Read(ref _tokens)));
    }

    private DeviceStatus StatusOf(string name, MeteredDevice device, IReadOnlyList<Temperature> temperatures, long now)
    {
        var (tokens, rows, seconds) = device.Work.Read(now);
        var drawn = device.Meters.Select(m => _drawn.TryGetValue(m.Device, out var sums) ? sums.Read(now) : default).ToList();
        double? watts = drawn.TrueForAll(d => d.Second > 0) ? drawn.Sum(d => d.First / d.Second) : null;
        var reason = watts is null ? "nothing was measured in the last seconds" : device.Modelled is not null ? WhyModelled : null;
        return new DeviceStatus(name, watts, Temperatures.Of(device.Kind, temperatures)?.Value, tokens / seconds, rows / seconds,
            tokens > 0 ? watts / (tokens / seconds) : null, string.Join('+', device.Meters.Select(m => m.Source).Distinct()), reason);
    }

    // By the thread that reads, or the engine's as a modelled pass ends.
    private void Note(MeterInterval interval)
    {
        _ledger.Measure(interval);
        if (interval.Energy is { } energy && _drawn.TryGetValue(interval.Device, out var sums))
            sums.Add(interval.End, energy.Value, _time.GetElapsedTime(interval.Start, interval.End).TotalSeconds);
        // While no pass ends nobody divides what is drawn.
        var settled = Interlocked.Read(ref _settled);
        if (_model is not { } model || _time.GetElapsedTime(settled, interval.End) < 2 * SettlingInterval || Interlocked.CompareExchange(ref _settled, interval.End, settled) != settled)
            return;
        _ = SettleAsync(model);
    }

    private async Task SettleAsync(IPassSource model)
    {
        try
        {
            await model.BetweenPassesAsync(() =>
            {
                _ledger.Settle(_time.GetTimestamp());
                return true;
            }).ConfigureAwait(false);
        }
        catch (ObjectDisposedException)
        {
            // Then whoever ends a request settles.
        }
    }

    // What shows a device, once: its meters, or one that its profile makes.
    private void Meter(DeviceInfo device)
    {
        if (_devices.ContainsKey(device.Name))
            return;
        var (profile, calibrated) = _profiles(device);
        // What models one card shows no other.
        IEnergyMeter[] meters = [.. _meters.Meters.Where(m => m.Domain.Shows(device.Kind) && !(m is ModelledMeter && m.Domain == EnergyDomain.Gpu))];
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
            _drawn.TryAdd(meter.Device, new RecentSums(_time));
            if (calibrated?.MeterIdle.TryGetValue(meter.Device, out var idle) == true)
                _ledger.SetIdle(meter.Device, new Watts(idle));
        }
        _devices[device.Name] = new MeteredDevice(device.Kind, profile, calibrated is not null, meters, modelled, new RecentSums(_time));
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
        var now = _time.GetTimestamp();
        int prompt = 0, tokens = 0;
        foreach (var part in pass.Parts)
            (part.IsPrompt ? ref prompt : ref tokens) += part.Rows;
        Interlocked.Add(ref _tokens, tokens);
        double rows = prompt + tokens;
        for (var s = 0; s < pass.Segments.Count; s++)
        {
            var segment = pass.Segments[s];
            // A model that moved may run on a device that it was not loaded for.
            if (!_devices.TryGetValue(segment.Device, out var device) && DeviceInfo.All().FirstOrDefault(d => d.Name == segment.Device) is { } other)
            {
                Meter(other);
                device = _devices[segment.Device];
            }
            if (device is null)
                continue;
            if (IsFirstOfDevice(pass, s))
                device.Work.Add(now, tokens, prompt);
            var (arithmetic, memory) = EnergyModel.Observed(device.Profile, device.PeakAt(_weightType, segment.Rows), segment.Flops, segment.MemoryBytes, (Seconds)segment.Elapsed);
            var energy = arithmetic + memory;
            // Arithmetic goes by rows; the weights are read once for all, so that is shared by heads. What no request
            // asked for has a share as well, which is nobody's.
            var shares = new PassShare[pass.Parts.Count];
            for (var i = 0; i < shares.Length; i++)
                shares[i] = new PassShare(RequestOf(pass.Parts[i].Sequence), (arithmetic.Value * pass.Parts[i].Rows / rows) + (memory.Value / shares.Length), pass.Parts[i].IsPrompt);
            foreach (var meter in device.Meters)
                _ledger.Record(new PassRecord(meter.Device, segment.Began, segment.Ended, energy, shares));
            Charge(device, energy);
        }
        now = _time.GetTimestamp();
        if (_time.GetElapsedTime(Interlocked.Read(ref _settled), now) < SettlingInterval)
            return;
        Interlocked.Exchange(ref _settled, now);
        _ledger.Settle(Math.Min(now, pass.AllBefore));
    }

    private long RequestOf(int sequence) => _requests.TryGetValue(sequence, out var own) ? own : _requests.GetValueOrDefault(Everything);

    // A device may compute several segments of a pass, all of the same rows.
    private static bool IsFirstOfDevice(PassReport pass, int segment)
    {
        for (var i = 0; i < segment; i++)
        {
            if (pass.Segments[i].Device == pass.Segments[segment].Device)
                return false;
        }
        return true;
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
