namespace Ergon.Inference;

/// <summary>Rows that stand together in a pass, and the stretch of cells in which lies all that they look at.</summary>
/// <param name="FirstRow">The first row.</param>
/// <param name="Rows">How many.</param>
/// <param name="FirstCell">The first cell.</param>
/// <param name="Extent">How many cells.</param>
internal readonly record struct AttentionGroup(int FirstRow, int Rows, int FirstCell, int Extent)
{
    /// <summary>Elements of its mask.</summary>
    public int MaskLength => Rows * Extent;
}
