namespace Ergon.Native;

/// <summary>What one storage type costs: a row holds a whole number of blocks.</summary>
/// <param name="Name">ggml's own name, such as <c>q4_K</c>.</param>
/// <param name="BlockSize">Elements in one block.</param>
/// <param name="BlockBytes">Bytes of one block.</param>
internal readonly record struct GgmlTypeTraits(string Name, int BlockSize, int BlockBytes);

/// <summary>The sizes of ggml's types, known without loading the native library: a file is checked with
/// them before any native code sees it. A test compares the table with the library's own.</summary>
internal static class GgmlTypes
{
    /// <summary>One more than the largest type number.</summary>
    public const int Count = 43;

    private static readonly GgmlTypeTraits[] Table = BuildTable();

    /// <summary>False for a number that is not a type, or is one that ggml has removed.</summary>
    public static bool TryGetTraits(GgmlType type, out GgmlTypeTraits traits)
    {
        traits = (uint)type < Count ? Table[(int)type] : default;
        return traits.BlockSize != 0;
    }

    /// <summary>The type's sizes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such type.</exception>
    public static GgmlTypeTraits Traits(this GgmlType type) =>
        TryGetTraits(type, out var traits) ? traits : throw new ArgumentOutOfRangeException(nameof(type), type, "Not a ggml type.");

    private static GgmlTypeTraits[] BuildTable()
    {
        var table = new GgmlTypeTraits[Count];
        void Add(GgmlType type, string name, int blockSize, int blockBytes) =>
            table[(int)type] = new(name, blockSize, blockBytes);

        Add(GgmlType.F32, "f32", 1, 4);
        Add(GgmlType.F16, "f16", 1, 2);
        Add(GgmlType.Q4_0, "q4_0", 32, 18);
        Add(GgmlType.Q4_1, "q4_1", 32, 20);
        Add(GgmlType.Q5_0, "q5_0", 32, 22);
        Add(GgmlType.Q5_1, "q5_1", 32, 24);
        Add(GgmlType.Q8_0, "q8_0", 32, 34);
        Add(GgmlType.Q8_1, "q8_1", 32, 36);
        Add(GgmlType.Q2_K, "q2_K", 256, 84);
        Add(GgmlType.Q3_K, "q3_K", 256, 110);
        Add(GgmlType.Q4_K, "q4_K", 256, 144);
        Add(GgmlType.Q5_K, "q5_K", 256, 176);
        Add(GgmlType.Q6_K, "q6_K", 256, 210);
        Add(GgmlType.Q8_K, "q8_K", 256, 292);
        Add(GgmlType.IQ2_XXS, "iq2_xxs", 256, 66);
        Add(GgmlType.IQ2_XS, "iq2_xs", 256, 74);
        Add(GgmlType.IQ3_XXS, "iq3_xxs", 256, 98);
        Add(GgmlType.IQ1_S, "iq1_s", 256, 50);
        Add(GgmlType.IQ4_NL, "iq4_nl", 32, 18);
        Add(GgmlType.IQ3_S, "iq3_s", 256, 110);
        Add(GgmlType.IQ2_S, "iq2_s", 256, 82);
        Add(GgmlType.IQ4_XS, "iq4_xs", 256, 136);
        Add(GgmlType.I8, "i8", 1, 1);
        Add(GgmlType.I16, "i16", 1, 2);
        Add(GgmlType.I32, "i32", 1, 4);
        Add(GgmlType.I64, "i64", 1, 8);
        Add(GgmlType.F64, "f64", 1, 8);
        Add(GgmlType.IQ1_M, "iq1_m", 256, 56);
        Add(GgmlType.BF16, "bf16", 1, 2);
        Add(GgmlType.TQ1_0, "tq1_0", 256, 54);
        Add(GgmlType.TQ2_0, "tq2_0", 256, 66);
        Add(GgmlType.MXFP4, "mxfp4", 32, 17);
        Add(GgmlType.NVFP4, "nvfp4", 64, 36);
        Add(GgmlType.Q1_0, "q1_0", 128, 18);
        Add(GgmlType.Q2_0, "q2_0", 64, 18);
        return table;
    }
}
