namespace Ergon.Models.Gguf;

/// <summary>Where one metadata value lies; text and array elements stay in the file until asked for.</summary>
/// <param name="Type">The value's type.</param>
/// <param name="ElementType">Of an array; otherwise the same as <paramref name="Type"/>.</param>
/// <param name="Count">Elements of an array, bytes of a string, otherwise 1.</param>
/// <param name="Offset">Where the value begins in the file, after its type number.</param>
/// <param name="DataOffset">Where a string's text or an array's first element begins; otherwise <paramref name="Offset"/>.</param>
/// <param name="End">One past the value's last byte.</param>
/// <param name="Bits">A scalar's bytes, little-endian, zero-extended.</param>
internal readonly record struct GgufEntry(
    GgufValueType Type, GgufValueType ElementType, long Count, long Offset, long DataOffset, long End, ulong Bits)
{
    public string TypeName => Type == GgufValueType.Array ? $"arr[{ElementType.Name()}]" : Type.Name();
}
