using Ergon.Native.Interop;

namespace Ergon.Native.Tensors;

/// <summary>Converts weights to ggml's storage types.</summary>
internal static unsafe class Quantizer
{
    /// <param name="type">A type that needs no importance matrix.</param>
    /// <param name="values">Rows of <paramref name="rowLength"/> values.</param>
    /// <param name="rowLength">Values a row; a multiple of the type's block size.</param>
    /// <returns>The rows' bytes, as they stand in a GGUF file.</returns>
    public static byte[] Quantize(GgmlType type, ReadOnlySpan<float> values, long rowLength)
    {
        NativeLibraries.EnsureLoaded();
        var traits = type.Traits();
        if (rowLength % traits.BlockSize != 0 || values.Length % rowLength != 0)
            throw new ArgumentException($"{traits.Name} has blocks of {traits.BlockSize} values; rows of {rowLength} do not fit.", nameof(rowLength));
        var bytes = new byte[values.Length / traits.BlockSize * traits.BlockBytes];
        fixed (float* source = values)
        fixed (byte* destination = bytes)
            Ggml.ggml_quantize_chunk((int)type, source, destination, 0, values.Length / rowLength, rowLength, null);
        return bytes;
    }
}
