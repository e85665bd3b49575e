using Ergon.Units;

namespace Ergon.Energy;

/// <summary>What one request took.</summary>
/// <param name="Energy">Prefill, decode and idle; <see langword="null"/> when some of the request's time went unmeasured: unknown is never zero.</param>
/// <param name="Prefill">Its share of the passes that computed its prompt.</param>
/// <param name="Decode">Its share of the passes that appended its tokens.</param>
/// <param name="Idle">Its share of the draw that no pass explains while it was open.</param>
/// <param name="Elapsed">How long it was open.</param>
/// <param name="Tokens">Tokens that it generated.</param>
/// <param name="Source">The meters, joined by <c>+</c>: <c>measured:rapl</c>; <see langword="null"/> when there was none.</param>
/// <param name="Quality">The least trustworthy of its parts; <see langword="null"/> when there was none.</param>
/// <param name="Reason">Why there is no figure; of a modelled figure, why it was not measured.</param>
public sealed record Receipt(
    Joules? Energy, Joules? Prefill, Joules? Decode, Joules? Idle, TimeSpan Elapsed, int Tokens, string? Source, EnergyQuality? Quality, string? Reason)
{
    /// <summary>Mean power that the request is answerable for.</summary>
    public Watts? Power => Energy is { } energy && Elapsed > TimeSpan.Zero ? energy / (Seconds)Elapsed : null;

    /// <summary>Energy for each generated token; <see langword="null"/> without tokens.</summary>
    public Joules? PerToken => Energy is { } energy && Tokens > 0 ? energy / Tokens : null;
}
