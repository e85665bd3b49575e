using System.Collections.Concurrent;
using Ergon.Devices;
using Ergon.Energy;
using Ergon.Inference;
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
    // What passes weigh against each other, typical of today's silicon: 20 pJ an operation, 100 pJ a byte of memory.
    // No figure rests on the two but how the energy of an interval is divided.
    private const double JoulesPerFlop = 20e-12, JoulesPerByte = 100e-12;
    private static readonly Watts LoadingPower = new(10); // likewise
    private static readonly TimeSpan SettlingInterval = TimeSpan.FromSeconds(1), Patience = TimeSpan.FromSeconds(4), Pause = TimeSpan.FromMilliseconds(50);

    private readonly MeterSet _meters;
    private readonly MeterSampler _sampler;
    private readonly EnergyLedger _ledger;
    private readonly TimeProvider _time;
    private readonly MeterDiagnostics? _diagnostics;
    private readonly ConcurrentDictionary<int, long> _requests = new(); // by sequence
    private ErgonModel? _model;
    private long _lastRequest, _settled;

    internal EnergyMonitor(MeterSet meters, TimeProvider time, MeterDiagnostics? diagnostics = null)
    {
        (_meters, _time, _diagnostics) = (meters, time, diagnostics);
        // Idle powers come with calibrated profiles; until then all that is drawn while a pass runs is the pass's.
        _ledger = new EnergyLedger(time, new Dictionary<string, Watts>());
        _meters.Measured = _ledger.Measure;
        _sampler = new MeterSampler(meters, time);
        _sampler.Start();
    }

    /// <summary>Begins to read every meter that this machine has and this process may read.</summary>
    /// <param name="logger">Receives what is odd about sensors, each once.</param>
    public static EnergyMonitor OfMachine(ILogger? logger = null)
    {
        var diagnostics = new MeterDiagnostics(logger);
        return new EnergyMonitor(MeterSet.OfMachine(new SystemFiles(), Command.Run, Nvml.OfMachine.Library, TimeProvider.System, diagnostics), TimeProvider.System, diagnostics);
    }

    /// <summary>The meters in use, such as <c>measured:rapl</c>; none where no sensor can be read.</summary>
    public IReadOnlyList<string> Sources => [.. _meters.Meters.Select(m => m.Source).Distinct()];

    /// <summary>What meters met that a person should know.</summary>
    public IReadOnlyList<MeterProblem> Problems => _diagnostics?.Problems ?? [];

    /// <summary>Processor time that reading the meters has cost; <see langword="null"/> where the system does not tell.</summary>
    public TimeSpan? CpuTime => _sampler.CpuTime;

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
        var spans = _meters.Meters.Select(m => m.Device).Distinct().Select(device => _ledger.BeginLoading(device, _time.GetTimestamp(), LoadingPower)).ToArray();
        try
        {
            _model = load();
        }
        finally
        {
            foreach (var span in spans)
                _ledger.EndLoading(span, _time.GetTimestamp());
        }
        if (_meters.Meters.Count > 0)
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
                return receipt;
            if (_time.GetElapsedTime(began) > Patience)
                return new Receipt(null, null, null, null, _time.GetElapsedTime(began), tokens, string.Join('+', Sources), null, "the meters told nothing new after the answer's end");
            await Task.Delay(Pause, _time).ConfigureAwait(false);
        }
    }

    // On the engine's thread, as a pass ends.
    private void Book(PassReport pass)
    {
        var rows = (double)pass.Parts.Sum(p => p.Rows);
        foreach (var segment in pass.Segments)
        {
            double arithmetic = segment.Flops * JoulesPerFlop, memory = segment.MemoryBytes * JoulesPerByte;
            // Arithmetic goes by rows; the weights are read once for all, so that is shared by heads. What no request
            // asked for has a share as well, which is nobody's.
            PassShare[] shares =
            [
                .. pass.Parts.Select(p => new PassShare(_requests.GetValueOrDefault(p.Sequence), (arithmetic * p.Rows / rows) + (memory / pass.Parts.Count), p.IsPrompt)),
            ];
            foreach (var meter in _meters.Meters.Where(m => Shows(segment.Device, m.Domain)))
                _ledger.Record(new PassRecord(meter.Device, segment.Began, segment.Ended, new Joules(arithmetic + memory), shares));
        }
        var now = _time.GetTimestamp();
        if (_time.GetElapsedTime(_settled, now) < SettlingInterval)
            return;
        _settled = now;
        _ledger.Settle(now);
    }

    // Whether work of a device shows on a meter. A processor without a meter of its own is not seen by a card's.
    private bool Shows(string device, EnergyDomain domain)
    {
        var onCpu = device.StartsWith("CPU", StringComparison.Ordinal);
        return domain == EnergyDomain.Board || (domain == EnergyDomain.Gpu ? !onCpu : onCpu || !_meters.Meters.Any(m => m.Domain == EnergyDomain.Gpu));
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
