namespace Ergon.Inference;

/// <summary>Other devices for a model that runs.</summary>
/// <param name="Placements">For all stages.</param>
/// <param name="TiersArePhases">As <see cref="ModelOptions.TiersArePhases"/>.</param>
/// <param name="Adopted">Told on the engine's thread, once passes run there and before any does; throws nothing.</param>
internal sealed record DeviceChange(IReadOnlyList<Placement> Placements, bool TiersArePhases = false, Action? Adopted = null);
