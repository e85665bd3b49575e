using Ergon.Units;

namespace Ergon.Energy;

/// <summary>A request's part of a pass.</summary>
/// <param name="Request">The request.</param>
/// <param name="Weight">Its work, FLOP- and byte-weighted, in any unit that is the same within the pass; 0 or more.</param>
/// <param name="IsPrefill">Whether the rows were its prompt's.</param>
internal readonly record struct PassShare(long Request, double Weight, bool IsPrefill);

/// <summary>What a device did from one moment to another.</summary>
/// <param name="Device">The meter's device that the work shows on.</param>
/// <param name="Start">A timestamp of the ledger's clock.</param>
/// <param name="End">Likewise.</param>
/// <param name="Modelled">What the cost model says it took beyond idling; it weighs passes against each other and is no figure itself.</param>
/// <param name="Shares">Whose work it was; work of none is nobody's (a warm-up).</param>
internal sealed record PassRecord(string Device, long Start, long End, Joules Modelled, IReadOnlyList<PassShare> Shares);
