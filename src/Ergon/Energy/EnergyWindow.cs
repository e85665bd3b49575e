using Ergon.Units;

namespace Ergon.Energy;

/// <summary>What one meter measured during a window, idle draw included.</summary>
/// <param name="Device">What was measured: <c>package-0</c>, <c>gpu-0</c>, <c>board</c>.</param>
/// <param name="Domain">What part of the machine that is.</param>
/// <param name="Energy"><see langword="null"/> when some of the window went unmeasured.</param>
/// <param name="Source">The meter: <c>measured:rapl</c>.</param>
/// <param name="Quality">How the figure came about.</param>
/// <param name="Reason">Why there is no figure.</param>
public sealed record DomainEnergy(string Device, EnergyDomain Domain, Joules? Energy, string Source, EnergyQuality Quality, string? Reason);

/// <summary>What a machine drew during a window, idle draw included.</summary>
/// <param name="Energy">The sum over <paramref name="Domains"/>, which do not contain each other. Subtract a baseline window
/// for the workload's own share. <see langword="null"/> when a meter did not cover the window: unmeasured is never zero.</param>
/// <param name="Elapsed">Monotonic time covered.</param>
/// <param name="Domains">Each meter's part.</param>
/// <param name="Reason">Why there is no sum.</param>
public sealed record EnergyWindow(Joules? Energy, TimeSpan Elapsed, IReadOnlyList<DomainEnergy> Domains, string? Reason)
{
    /// <summary>Mean power.</summary>
    public Watts? Power => Energy is { } energy && Elapsed > TimeSpan.Zero ? energy / (Seconds)Elapsed : null;

    /// <summary>The meters' sources, joined by <c>+</c>; <see langword="null"/> when there is no meter.</summary>
    public string? Source => Domains.Count == 0 ? null : string.Join('+', Domains.Select(d => d.Source).Distinct());

    /// <summary>The least trustworthy of the parts; <see langword="null"/> when there is no meter.</summary>
    public EnergyQuality? Quality => Domains.Count == 0 ? null : Domains.Max(d => d.Quality);
}
