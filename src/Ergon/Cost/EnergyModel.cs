using Ergon.Devices.Profiles;
using Ergon.Units;

namespace Ergon.Cost;

/// <summary>What a stage does to a device: its time, the power while it runs, and the share of the roofline. All by Ergon's own definitions.</summary>
/// <param name="Time">max(F/pi, Q/b) + launch, with the penalty of a full memory; b of weights by their type and rows where that was measured.</param>
/// <param name="Dasi">min(1, I/I*).</param>
/// <param name="DynamicPower">P_d, leakage not included.</param>
internal readonly record struct StageDraw(Seconds Time, double Dasi, Watts DynamicPower);

/// <summary>The outcome of looking for a steady temperature.</summary>
/// <param name="Temperature"><see langword="null"/> where there is none below the limit.</param>
/// <param name="Leakage">P_leak at that temperature.</param>
/// <param name="Limit">Why there is none; <see langword="null"/> where there is one.</param>
internal readonly record struct SteadyState(Celsius? Temperature, Watts Leakage, string? Limit);

/// <summary>Time, power, heat and energy of stages on a device. Pure: the definitions of docs/energy.md, which are Ergon's own.</summary>
internal static class EnergyModel
{
    /// <summary>DASI = min(1, (F/Q) / (pi/b)), the share of peak arithmetic that the roofline allows; 1 without traffic, 0 without arithmetic. Ergon's own definition.</summary>
    public static double Dasi(double flops, double bytes, double peak, double bandwidth) =>
        flops == 0 ? 0 : bytes == 0 ? 1 : Math.Min(1, flops / bytes * bandwidth / peak);

    /// <summary>
    /// A stage on a device: t = max(F/pi, Q/b) (1 + kappa (CPQ - c0)^2) + launch x operations, and
    /// P_d = P_c (F/(t pi)) (f/f_max)(V/V_max)^2 + P_m (Q/(t b)); pi scales with the clock, b does not. Ergon's own definition.
    /// </summary>
    /// <param name="device">Its profile.</param>
    /// <param name="stage">What runs.</param>
    /// <param name="clock">The index of a clock level; <see langword="null"/> for the one of the peaks.</param>
    /// <param name="slowdown">From <see cref="MemoryPool.Slowdown"/>.</param>
    public static StageDraw Draw(DeviceProfile device, StageCost stage, int? clock = null, double slowdown = 1)
    {
        var (f, v) = clock is { } c && device.Clocks.Count > 0 ? (device.Clocks[c].Frequency / device.Clocks[^1].Frequency, device.Clocks[c].Voltage / device.Clocks[^1].Voltage) : (1, 1);
        double peak = (stage.HeadLength > 0 ? device.AttentionAt(stage.Type, stage.HeadLength, stage.Rows) : device.PeakAt(stage.Type, stage.Rows)) * f, bandwidth = device.EffectiveBandwidth;
        var reading = (stage.WeightBytes / device.StreamAt(stage.Type, stage.Rows)) + ((stage.Traffic - stage.WeightBytes) / bandwidth);
        var time = (Math.Max(stage.Flops / peak, reading) * slowdown) + (device.Launch.Value * stage.Operations);
        if (time == 0)
            return default;
        var power = (device.ComputePower.Value * stage.Flops / (time * peak) * f * v * v) + (device.MemoryPower.Value * stage.Traffic / (time * bandwidth));
        return new StageDraw(new Seconds(time), Dasi(stage.Flops, stage.Traffic, peak, bandwidth), new Watts(power));
    }

    /// <summary>The time of stages that run one after another as one graph.</summary>
    public static Seconds PassTime(DeviceProfile device, IEnumerable<StageDraw> stages) => stages.Aggregate(new Seconds(device.Dispatch?.Value ?? 0), (t, s) => t + s.Time);

    /// <summary>
    /// What work that was seen took beyond idling: E = P_c min(t, F/pi) + P_m min(t, Q/b), the dynamic power of a stage over the time
    /// that it really took. Nothing is busy for longer than that time. Ergon's own definition.
    /// </summary>
    /// <param name="device">Its profile.</param>
    /// <param name="peak">pi, FLOP/s: its <see cref="DeviceProfile.PeakAt"/> for the weights' type and the pass's rows.</param>
    /// <param name="flops">F.</param>
    /// <param name="bytes">Q.</param>
    /// <param name="time">t.</param>
    /// <returns>The two terms.</returns>
    public static (Joules Arithmetic, Joules Memory) Observed(DeviceProfile device, double peak, double flops, double bytes, Seconds time) => (
        new(device.ComputePower.Value * Math.Min(time.Value, flops / peak)), new(device.MemoryPower.Value * Math.Min(time.Value, bytes / device.EffectiveBandwidth)));

    /// <summary>P_leak(T) = P_leak(T0) exp(beta (T - T0)). Ergon's own definition.</summary>
    public static Watts Leakage(DeviceProfile device, Celsius temperature) =>
        new(device.LeakagePower.Value * Math.Exp(device.LeakageGrowth.Value * (temperature.Value - device.ReferenceTemperature.Value)));

    /// <summary>Phi = P_d / (P_d + P_leak(T)), the share of busy power that does work; <see langword="null"/> at no load, where it is 0/0. Ergon's own definition.</summary>
    public static double? Phi(Watts dynamic, Watts leakage) => dynamic.Value == 0 ? null : dynamic / (dynamic + leakage);

    /// <summary>
    /// One step of C_th dT/dt = P - (T - T_amb)/R_th at constant power, exact for any length: towards T_amb + P R_th with the
    /// time constant R_th C_th. Ergon's own definition.
    /// </summary>
    public static Celsius Step(DeviceProfile device, Celsius now, Celsius ambient, Watts power, Seconds time)
    {
        double end = ambient.Value + (power.Value * device.ThermalResistance.Value), tau = device.ThermalResistance.Value * device.ThermalCapacitance.Value;
        return new Celsius(end + ((now.Value - end) * Math.Exp(-time.Value / tau)));
    }

    /// <summary>
    /// The lower fixed point of T = T_amb + R_th (P + P_leak(T)) by <see cref="HeatModel.Steady"/>. Ergon's own definition.
    /// </summary>
    /// <param name="device">Its profile.</param>
    /// <param name="power">Static and dynamic power, leakage not included.</param>
    /// <param name="ambient">Of the air.</param>
    public static SteadyState Steady(DeviceProfile device, Watts power, Celsius ambient)
    {
        if (HeatModel.Of(device).Steady(power.Value, ambient.Value) is { } steady)
            return new(new Celsius(steady), Leakage(device, new Celsius(steady)), null);
        var limit = new Celsius(device.LimitTemperature.Value);
        // Without growth of leakage the temperature would be this: over the limit by itself, or driven there by leakage.
        var alone = ambient.Value + (device.ThermalResistance.Value * (power.Value + device.LeakagePower.Value));
        var why = alone > limit.Value ? "the power is more than the cooling takes" : "thermal runaway: leakage grows faster than the cooling";
        return new(null, Leakage(device, limit), $"'{device.Name}' has no steady temperature below limitTemperature {limit.Value} °C at {power.Value:F1} W ({why})");
    }

    /// <summary>What a seam costs: latency + bytes / bandwidth, and joules a byte; <see langword="null"/> where the device has no link to the other. Ergon's own definition.</summary>
    public static (Seconds Time, Joules Energy)? Seam(DeviceProfile from, string to, Bytes bytes) =>
        from.Links.FirstOrDefault(l => l.To == to) is not { } link ? null
        : (new Seconds(link.Latency.Value + (bytes.Value / link.Bandwidth.Value)), new Joules(bytes.Value * link.EnergyPerByte.Value));

    /// <summary>
    /// The energy equation for stages that run one after another on one device that stays at a temperature:
    /// E = sum of t (P_d + P_leak(T)) + P_static makespan + P_leak(T) idle time. Ergon's own definition.
    /// </summary>
    public static Joules Energy(DeviceProfile device, IEnumerable<StageDraw> stages, Celsius temperature, Seconds makespan)
    {
        var leakage = Leakage(device, temperature);
        var (busy, energy) = (Seconds.Zero, Joules.Zero);
        foreach (var s in stages)
        {
            busy += s.Time;
            energy += (s.DynamicPower + leakage) * s.Time;
        }
        // Sums of the same times differ in the last bits.
        if (busy.Value > makespan.Value * (1 + 1e-9))
            throw new ArgumentException($"The makespan is {makespan}, less than the {busy} that the stages take.", nameof(makespan));
        return energy + (new Watts(device.StaticPower) * makespan) + (leakage * new Seconds(Math.Max(0, makespan.Value - busy.Value)));
    }
}

/// <summary>A device's heat in plain numbers, for searches that ask for many steady temperatures.</summary>
/// <param name="Resistance">R_th, K/W.</param>
/// <param name="Leakage">P_leak at <paramref name="Reference"/>, W.</param>
/// <param name="Growth">beta, 1/K.</param>
/// <param name="Reference">T0, °C.</param>
/// <param name="Limit">The temperature not to pass, °C.</param>
internal readonly record struct HeatModel(double Resistance, double Leakage, double Growth, double Reference, double Limit)
{
    /// <summary>Of a profile.</summary>
    public static HeatModel Of(DeviceProfile device) => new(
        device.ThermalResistance.Value, device.LeakagePower.Value, device.LeakageGrowth.Value, device.ReferenceTemperature.Value, device.LimitTemperature.Value);

    /// <summary>P_leak at a temperature, W.</summary>
    public double LeakageAt(double celsius) => Leakage * Math.Exp(Growth * (celsius - Reference));

    /// <summary>The lower fixed point of T = T_amb + R_th (P + P_leak(T)); <see langword="null"/> where none lies at or below the limit.</summary>
    /// <param name="power">Static and dynamic power, W.</param>
    /// <param name="ambient">Of the air, °C.</param>
    public double? Steady(double power, double ambient)
    {
        // Newton on T_amb + R (P + P_leak(T)) - T, which is convex: tangents lie below it, so steps that start left of
        // the lower root never pass it, and a step past the limit means that no root lies below.
        for (var t = ambient; t <= Limit;)
        {
            var leakage = LeakageAt(t);
            var slope = (Resistance * Growth * leakage) - 1;
            var gap = ambient + (Resistance * (power + leakage)) - t;
            if (Math.Abs(gap) < 1e-9)
                return t;
            if (slope >= 0)
                return null;
            t -= gap / slope;
        }
        return null;
    }
}

/// <summary>Memory that one or more devices share.</summary>
/// <param name="Capacity">Bytes in all.</param>
/// <param name="Reserve">The share that must stay free.</param>
/// <param name="Knee">c0: from this share on, time grows.</param>
/// <param name="Kappa">How fast.</param>
internal readonly record struct MemoryPool(Bytes Capacity, double Reserve = 0.1, double Knee = 0.9, double Kappa = 0)
{
    /// <summary>The memory of a profile; without a measured knee, time does not grow up to the reserve.</summary>
    public static MemoryPool Of(DeviceProfile device)
    {
        var reserve = device.MemoryReserve?.Value ?? 0.1;
        return new(new Bytes((long)device.Capacity.Value), reserve, device.MemoryKnee?.Value ?? 1 - reserve, device.MemoryPenalty?.Value ?? 0);
    }

    /// <summary>CPQ = what all devices of the pool hold (weights, KV, activations, runtime) / capacity. Ergon's own definition.</summary>
    public double Cpq(params IEnumerable<Bytes> resident) => resident.Aggregate(Bytes.Zero, (a, b) => a + b) / Capacity;

    /// <summary>1 + kappa (CPQ - c0)^2 above the knee, else 1; <see langword="null"/> above 1 - reserve: infeasible. Ergon's own definition.</summary>
    public double? Slowdown(double cpq) => cpq > 1 - Reserve ? null : cpq <= Knee ? 1 : 1 + (Kappa * (cpq - Knee) * (cpq - Knee));
}
