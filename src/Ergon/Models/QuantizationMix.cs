using Ergon.Native;

namespace Ergon.Models;

/// <summary>
/// Which type each matrix of a file gets, by the rules of <c>llama-quantize</c>: output matrices keep more bits
/// than the rest, and Q4_K_M gives more to the values and to the feed-forward's second matrix of some layers.
/// </summary>
/// <param name="Name">As on the command line.</param>
/// <param name="FileType">llama.cpp's number for the mix, <c>general.file_type</c>.</param>
/// <param name="Type">The type of all matrices that no rule names.</param>
internal sealed record QuantizationMix(string Name, uint FileType, GgmlType Type)
{
    public static IReadOnlyList<QuantizationMix> All { get; } =
    [
        new("f32", 0, GgmlType.F32),
        new("f16", 1, GgmlType.F16),
        new("q4_0", 2, GgmlType.Q4_0),
        new("q8_0", 7, GgmlType.Q8_0),
        new("q4_k_m", 15, GgmlType.Q4_K),
    ];

    /// <summary>The type of one matrix.</summary>
    /// <param name="role">What the matrix is for; a tied embedding counts as <see cref="WeightRole.Output"/>.</param>
    /// <param name="layer">Its layer.</param>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="rowLength">Elements a row.</param>
    public GgmlType Of(WeightRole role, int layer, int layers, long rowLength)
    {
        var wanted = (Type, role) switch
        {
            (GgmlType.F32 or GgmlType.F16 or GgmlType.Q8_0, _) => Type,
            (_, WeightRole.Output) => rowLength % Type.Traits().BlockSize == 0 ? GgmlType.Q6_K : GgmlType.Q8_0,
            (GgmlType.Q4_K, WeightRole.Value or WeightRole.FusedQkv or WeightRole.Down) when GetsMoreBits(layer, layers) => GgmlType.Q6_K,
            _ => Type,
        };
        if (rowLength % wanted.Traits().BlockSize == 0)
            return wanted;
        // Rows that hold no whole superblocks of 256 get the next larger type with blocks of 32.
        return wanted switch
        {
            GgmlType.Q4_K => GgmlType.Q5_0,
            GgmlType.Q6_K => GgmlType.Q8_0,
            _ => GgmlType.F16,
        };
    }

    // The first and the last eighth of the layers, and every third between.
    private static bool GetsMoreBits(int layer, int layers) =>
        layer < layers / 8 || layer >= 7 * layers / 8 || (layer - (layers / 8)) % 3 == 2;
}
