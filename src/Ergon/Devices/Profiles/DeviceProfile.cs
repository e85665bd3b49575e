using System.Globalization;
using System.Text.Json.Serialization;
using Ergon.Native;

namespace Ergon.Devices.Profiles;

/// <summary>Where a coefficient comes from.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Origin>))]
internal enum Origin
{
    /// <summary>By a calibration on this very device.</summary>
    Measured,

    /// <summary>From a cited datasheet or a cited measurement of others.</summary>
    Catalogue,

    /// <summary>Computed from other coefficients; the source says how.</summary>
    Derived,

    /// <summary>Nobody's number: the source gives the reasoning.</summary>
    Estimate,
}

/// <summary>A number with its origin.</summary>
/// <param name="Value">In SI units: W, FLOP/s, B/s, s, B, °C, K/W, J/K.</param>
/// <param name="Origin">Its kind of origin.</param>
/// <param name="Source">A citation, or the reasoning.</param>
internal sealed record Coefficient(double Value, Origin Origin, string Source);

/// <summary>Peak arithmetic in products with weights of a type at a number of rows.</summary>
/// <param name="Type">The weights' type.</param>
/// <param name="Rows">Rows of the activations: 1 (vectors) or 512 (matrices).</param>
/// <param name="Flops">FLOP/s.</param>
/// <param name="Tile">Rows that the kernel takes at once; those left over go one by one.</param>
internal sealed record PeakRate(GgmlType Type, int Rows, Coefficient Flops, int Tile = 1);

/// <summary>How fast products of few rows go through weights that no cache holds; arithmetic that reading does not hide is in it.</summary>
/// <param name="Type">The weights' type.</param>
/// <param name="Rows">Rows of the activations.</param>
/// <param name="Bytes">Bytes of weights per second.</param>
internal sealed record StreamRate(GgmlType Type, int Rows, Coefficient Bytes);

/// <summary>Arithmetic of attention.</summary>
/// <param name="Cache">How keys and values are stored.</param>
/// <param name="HeadLength">Values of a head.</param>
/// <param name="Rows">Rows of queries.</param>
/// <param name="Flops">FLOP/s; products that the mask hides are not counted.</param>
internal sealed record AttentionRate(GgmlType Cache, int HeadLength, int Rows, Coefficient Flops);

/// <summary>A clock that the device can run at.</summary>
/// <param name="Frequency">In hertz.</param>
/// <param name="Voltage">In volts.</param>
/// <param name="Source">Of both.</param>
internal sealed record ClockLevel(double Frequency, double Voltage, string Source);

/// <summary>The way from a device to another.</summary>
/// <param name="To">The other profile's name.</param>
/// <param name="Bandwidth">B/s.</param>
/// <param name="Latency">Seconds before the first byte.</param>
/// <param name="EnergyPerByte">J/B, at both ends together.</param>
internal sealed record LinkProfile(string To, Coefficient Bandwidth, Coefficient Latency, Coefficient EnergyPerByte);

/// <summary>What a model of time, energy and temperature needs to know about a device, each number with its origin.</summary>
internal sealed record DeviceProfile
{
    public required string Name { get; init; }
    public required DeviceKind Kind { get; init; }

    /// <summary>What such a device, its processor or its board calls itself: a regular expression for a line; <see langword="null"/> where it stands for no kind of device.</summary>
    public string? Calls { get; init; }

    /// <summary>Devices with the same name of a pool share their memory.</summary>
    public required string Pool { get; init; }

    /// <summary>FLOP/s by type and rows; a type that is not here counts as the nearest in bits.</summary>
    public required IReadOnlyList<PeakRate> Peaks { get; init; }

    /// <summary>FLOP/s of attention by cache, head and rows; where none is here, <see cref="Peaks"/> hold for it too.</summary>
    public IReadOnlyList<AttentionRate> Attention { get; init => field = value ?? []; } = [];

    /// <summary>Weights a second by type and rows; where none is here, weights are read as fast as anything else.</summary>
    public IReadOnlyList<StreamRate> Streams { get; init => field = value ?? []; } = [];

    /// <summary>Memory bandwidth on paper, in bytes per second.</summary>
    public required Coefficient Bandwidth { get; init; }

    /// <summary>What one core of a processor reads at most, in bytes per second; <see langword="null"/>: as much as all.</summary>
    public Coefficient? CoreBandwidth { get; init; }

    /// <summary>The share of <see cref="Bandwidth"/> that real reading reaches, the only fitted number; 1 where bandwidth was measured.</summary>
    public required Coefficient Efficiency { get; init; }

    /// <summary>Seconds from one kernel to the next.</summary>
    public required Coefficient Launch { get; init; }

    /// <summary>Seconds that a graph takes beside its kernels; <see langword="null"/>: none is known.</summary>
    public Coefficient? Dispatch { get; init; }

    /// <summary>Memory that models may take, in bytes.</summary>
    public required Coefficient Capacity { get; init; }

    /// <summary>Power while nothing runs, leakage at <see cref="ReferenceTemperature"/> included.</summary>
    public required Coefficient IdlePower { get; init; }

    /// <summary>Power with arithmetic and memory both saturated, at the reference temperature.</summary>
    public required Coefficient MaxPower { get; init; }

    /// <summary>P_c: what saturated arithmetic adds.</summary>
    public required Coefficient ComputePower { get; init; }

    /// <summary>P_m: what saturated memory adds.</summary>
    public required Coefficient MemoryPower { get; init; }

    /// <summary>P_leak at <see cref="ReferenceTemperature"/>.</summary>
    public required Coefficient LeakagePower { get; init; }

    /// <summary>beta of P_leak(T) = P_leak(T0) exp(beta (T - T0)), per kelvin.</summary>
    public required Coefficient LeakageGrowth { get; init; }

    public required Coefficient ReferenceTemperature { get; init; }

    /// <summary>R_th, from the silicon to the air, K/W.</summary>
    public required Coefficient ThermalResistance { get; init; }

    /// <summary>C_th, J/K.</summary>
    public required Coefficient ThermalCapacitance { get; init; }

    /// <summary>Above this the device throttles.</summary>
    public required Coefficient LimitTemperature { get; init; }

    /// <summary>In US dollars; <see langword="null"/> where it is not sold alone.</summary>
    public Coefficient? Price { get; init; }

    /// <summary>c0: the share of the memory from which on time grows; <see langword="null"/> where no knee was measured.</summary>
    public Coefficient? MemoryKnee { get; init; }

    /// <summary>kappa: how fast it grows there.</summary>
    public Coefficient? MemoryPenalty { get; init; }

    /// <summary>The share of the memory that must stay free; <see langword="null"/>: a tenth.</summary>
    public Coefficient? MemoryReserve { get; init; }

    /// <summary>Ways to other devices; a device that is not here is not reached.</summary>
    public IReadOnlyList<LinkProfile> Links { get; init => field = value ?? []; } = [];

    /// <summary>Slowest first; the last is the one that the peaks are for.</summary>
    // Generated readers set what a file leaves out to null.
    public IReadOnlyList<ClockLevel> Clocks { get; init => field = value ?? []; } = [];

    /// <summary>Idle power without leakage, in watts, so that leakage is counted once.</summary>
    [JsonIgnore]
    public double StaticPower => IdlePower.Value - LeakagePower.Value;

    /// <summary>Bytes per second that reading reaches.</summary>
    [JsonIgnore]
    public double EffectiveBandwidth => Bandwidth.Value * Efficiency.Value;

    /// <summary>FLOP/s of products with weights of a type.</summary>
    public double PeakAt(GgmlType type, int rows)
    {
        var own = Nearest(Peaks, type, p => p.Type).ToList();
        double Rate(int count) => At(count, own.Select(p => (p.Rows, p.Flops.Value)));
        var left = rows % own[0].Tile;
        return left == 0 || left == rows ? Rate(left == rows ? 1 : rows) : rows / (((rows - left) / Rate(rows - left)) + (left / Rate(1)));
    }

    /// <summary>FLOP/s of attention with heads of that length over a cache of a type.</summary>
    public double AttentionAt(GgmlType cache, int headLength, int rows)
    {
        if (Attention.Count == 0)
            return PeakAt(cache, rows);
        // A head shorter than a vector register costs as much as one that fills it, so the next length says more than a mean of both.
        var own = Nearest(Attention, cache, a => a.Cache).GroupBy(a => a.HeadLength).MinBy(g => Math.Abs(Math.Log2((double)g.Key / headLength)))!;
        return At(rows, own.Select(a => (a.Rows, a.Flops.Value)));
    }

    /// <summary>Bytes per second of going through weights of a type for so many rows; of more rows than were measured, arithmetic decides.</summary>
    public double StreamAt(GgmlType type, int rows) => Streams.Count == 0 ? EffectiveBandwidth : At(rows, Nearest(Streams, type, s => s.Type).Select(s => (s.Rows, s.Bytes.Value)));

    private static IEnumerable<T> Nearest<T>(IReadOnlyList<T> rates, GgmlType type, Func<T, GgmlType> typeOf)
    {
        var bits = Bits(type);
        return rates.GroupBy(typeOf).OrderBy(g => g.Key == type ? 0 : 1).ThenBy(g => Math.Abs(Bits(g.Key) - bits)).First();
    }

    // Between two measured numbers linear in the logarithm of the rows; Ergon's own definition.
    private static double At(int rows, IEnumerable<(int Rows, double Flops)> rates)
    {
        var own = rates.OrderBy(r => r.Rows).ToArray();
        var high = Array.FindIndex(own, r => r.Rows >= rows);
        if (high <= 0)
            return own[high < 0 ? ^1 : 0].Flops;
        var (below, above) = (own[high - 1], own[high]);
        var share = Math.Log((double)rows / below.Rows) / Math.Log((double)above.Rows / below.Rows);
        return below.Flops + (share * (above.Flops - below.Flops));
    }

    /// <summary>The profile of some of a processor's cores: arithmetic and its power in proportion, memory as far as so many cores can read.</summary>
    public DeviceProfile WithCores(int used, int all)
    {
        var share = (double)used / all;
        Coefficient Part(Coefficient c) => c with { Value = c.Value * share, Origin = Origin.Derived, Source = $"{used}/{all} of: {c.Source}" };
        var compute = Part(ComputePower);
        return this with
        {
            Name = $"{Name} ({used} of {all} cores)",
            Peaks = [.. Peaks.Select(p => p with { Flops = Part(p.Flops) })],
            Attention = [.. Attention.Select(a => a with { Flops = Part(a.Flops) })],
            Streams = [.. Streams.Select(s => s with { Bytes = CoreBandwidth is { } one ? s.Bytes with { Value = s.Bytes.Value * Math.Min(1, one.Value * used / EffectiveBandwidth), Origin = Origin.Derived } : s.Bytes })],
            Bandwidth = CoreBandwidth is { } core && core.Value * used < EffectiveBandwidth ? Bandwidth with { Value = core.Value * used / Efficiency.Value, Origin = Origin.Derived, Source = $"{used} x {core.Source}" } : Bandwidth,
            ComputePower = compute,
            MaxPower = MaxPower with { Value = MaxPower.Value - ComputePower.Value + compute.Value, Origin = Origin.Derived },
        };
    }

    /// <summary>The profile of cores as a device beside the processor's other cores: their share of idle power and of the cooling.</summary>
    /// <param name="share">Of all cores; arithmetic and memory are the cores' already (<see cref="WithCores"/>).</param>
    public DeviceProfile AsCluster(double share)
    {
        Coefficient Part(Coefficient c, double by) => c with { Value = c.Value * by, Origin = Origin.Derived, Source = string.Create(CultureInfo.InvariantCulture, $"{by:G3} of: {c.Source}") };
        var idle = Part(IdlePower, share);
        // Cores that read as much as all of them draw more than their share, and are cooled as much.
        var (most, own) = (MaxPower.Value + (ComputePower.Value * ((1 / share) - 1)), MaxPower.Value - IdlePower.Value + idle.Value);
        return this with
        {
            IdlePower = idle,
            LeakagePower = Part(LeakagePower, share),
            MaxPower = MaxPower with { Value = own, Origin = Origin.Derived },
            ThermalResistance = Part(ThermalResistance, most / own),
            ThermalCapacitance = Part(ThermalCapacitance, own / most),
        };
    }

    /// <summary>The profile of a device that takes longer than this one says, or less.</summary>
    /// <param name="few">Times as long for a few rows, by which memory is busy.</param>
    /// <param name="many">Times as long for 32 rows or more, by which arithmetic is.</param>
    /// <param name="why">The source of the numbers.</param>
    public DeviceProfile Slowed(double few, double many, string why)
    {
        Coefficient By(Coefficient c, double factor) => c with { Value = c.Value * factor, Origin = Origin.Derived, Source = why };
        double Of(int rows) => 1 / (rows < ManyRows ? few : many);
        return this with
        {
            Peaks = [.. Peaks.Select(p => p with { Flops = By(p.Flops, Of(p.Rows)) })],
            Attention = [.. Attention.Select(a => a with { Flops = By(a.Flops, Of(a.Rows)) })],
            Streams = [.. Streams.Select(s => s with { Bytes = By(s.Bytes, Of(s.Rows)) })],
            Bandwidth = By(Bandwidth, 1 / few),
            CoreBandwidth = CoreBandwidth is { } core ? By(core, 1 / few) : null,
            Launch = By(Launch, few),
        };
    }

    /// <summary>From so many rows on arithmetic decides, as a rule.</summary>
    public const int ManyRows = 32;

    /// <summary>Refuses numbers that are missing or contradict each other.</summary>
    /// <exception cref="ErgonException">One sentence: field, value, remedy.</exception>
    public DeviceProfile Validated()
    {
        if (string.IsNullOrWhiteSpace(Name))
            throw new ErgonException("A device profile has the name '', which must not be empty; name the device.");
        foreach (var (field, c, least) in Fields())
        {
            if (!double.IsFinite(c.Value) || (least ? c.Value <= 0 : c.Value < 0))
                throw Wrong(field, c.Value, least ? "must be a number above 0" : "must be a number from 0 on");
            if (string.IsNullOrWhiteSpace(c.Source))
                throw new ErgonException($"The profile of '{Name}' has no source for {field}; cite one, or say why it is an estimate.");
        }
        if (Peaks.Count == 0)
            throw new ErgonException($"The profile of '{Name}' has no peaks; give FLOP/s for at least one weight type at 1 and at 512 rows.");
        if (Peaks.FirstOrDefault(p => p.Rows < 1) is { } peak)
            throw Wrong("peaks.rows", peak.Rows, "must be 1 or more");
        if (Attention.FirstOrDefault(a => a.Rows < 1 || a.HeadLength < 1) is { } attention)
            throw Wrong("attention.rows", Math.Min(attention.Rows, attention.HeadLength), "must be 1 or more, as its headLength");
        if (Efficiency.Value > 1)
            throw Wrong("efficiency", Efficiency.Value, "must be at most 1, because nothing reads faster than its memory");
        if (Peaks.FirstOrDefault(p => p.Tile < 1) is { } tiled)
            throw Wrong("peaks.tile", tiled.Tile, "must be 1 or more");
        if (MemoryReserve?.Value >= 1)
            throw Wrong("memoryReserve", MemoryReserve.Value, "must be below 1, because nothing could be resident");
        if ((MemoryKnee is null) != (MemoryPenalty is null))
            throw new ErgonException($"The profile of '{Name}' has one of memoryKnee and memoryPenalty; give both, or neither where no knee was measured.");
        if (Links.GroupBy(l => l.To).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new ErgonException($"The profile of '{Name}' has links to '{twice.Key}' twice; leave one out.");
        if (LeakagePower.Value > IdlePower.Value)
            throw Wrong("leakagePower", LeakagePower.Value, $"must be at most idlePower, {Text(IdlePower.Value)}, of which it is a part");
        if (IdlePower.Value >= MaxPower.Value)
            throw Wrong("idlePower", IdlePower.Value, $"must be less than maxPower, {Text(MaxPower.Value)}");
        if (IdlePower.Value + ComputePower.Value + MemoryPower.Value is var sum && Math.Abs(sum - MaxPower.Value) > 0.02 * MaxPower.Value)
            throw Wrong("maxPower", MaxPower.Value, $"must be idlePower + computePower + memoryPower, {Text(sum)}, within 2 %");
        if (ReferenceTemperature.Value >= LimitTemperature.Value)
            throw Wrong("referenceTemperature", ReferenceTemperature.Value, $"must be below limitTemperature, {Text(LimitTemperature.Value)}");
        for (var i = 0; i < Clocks.Count; i++)
        {
            if (!(Clocks[i].Frequency > 0 && Clocks[i].Voltage > 0) || (i > 0 && Clocks[i].Frequency <= Clocks[i - 1].Frequency))
                throw Wrong($"clocks[{i}].frequency", Clocks[i].Frequency, "must rise from level to level, with a voltage above 0");
        }
        return this;
    }

    /// <summary>Every coefficient by name, and whether it must be above 0.</summary>
    public IEnumerable<(string Field, Coefficient Value, bool Positive)> Fields()
    {
        foreach (var p in Peaks)
            yield return ($"peaks[{p.Type}, {p.Rows}]", p.Flops, true);
        foreach (var a in Attention)
            yield return ($"attention[{a.Cache}, {a.HeadLength}, {a.Rows}]", a.Flops, true);
        foreach (var s in Streams)
            yield return ($"streams[{s.Type}, {s.Rows}]", s.Bytes, true);
        yield return ("bandwidth", Bandwidth, true);
        if (CoreBandwidth is { } core)
            yield return ("coreBandwidth", core, true);
        yield return ("efficiency", Efficiency, true);
        yield return ("launch", Launch, false);
        if (Dispatch is { } dispatch)
            yield return ("dispatch", dispatch, false);
        yield return ("capacity", Capacity, true);
        yield return ("idlePower", IdlePower, true);
        yield return ("maxPower", MaxPower, true);
        yield return ("computePower", ComputePower, true);
        yield return ("memoryPower", MemoryPower, true);
        yield return ("leakagePower", LeakagePower, false);
        yield return ("leakageGrowth", LeakageGrowth, false);
        yield return ("referenceTemperature", ReferenceTemperature, false);
        yield return ("thermalResistance", ThermalResistance, true);
        yield return ("thermalCapacitance", ThermalCapacitance, true);
        yield return ("limitTemperature", LimitTemperature, true);
        if (Price is { } price)
            yield return ("price", price, true);
        if (MemoryKnee is { } knee)
            yield return ("memoryKnee", knee, true);
        if (MemoryPenalty is { } penalty)
            yield return ("memoryPenalty", penalty, false);
        if (MemoryReserve is { } reserve)
            yield return ("memoryReserve", reserve, false);
        foreach (var link in Links)
        {
            yield return ($"links[{link.To}].bandwidth", link.Bandwidth, true);
            yield return ($"links[{link.To}].latency", link.Latency, false);
            yield return ($"links[{link.To}].energyPerByte", link.EnergyPerByte, false);
        }
    }

    private ErgonException Wrong(string field, double value, string rule) =>
        new($"The profile of '{Name}' has {field} = {Text(value)}, which {rule}; correct it, or calibrate the device anew.");

    private static double Bits(GgmlType type) => 8.0 * type.Traits().BlockBytes / type.Traits().BlockSize;

    private static string Text(double value) => value.ToString("G6", CultureInfo.InvariantCulture);
}
