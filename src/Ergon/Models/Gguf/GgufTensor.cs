using System.Collections.Immutable;
using Ergon.Native;

namespace Ergon.Models.Gguf;

/// <summary>A tensor's description; its data lies in one of the model's files.</summary>
/// <param name="Name">Unique in the model; 1 to 63 printable ASCII characters.</param>
/// <param name="Type">How the elements are stored.</param>
/// <param name="Ne">Elements along each of ggml's four dimensions, the row first; 1 where unused.</param>
/// <param name="Part">Index into <see cref="GgufFile.Parts"/>.</param>
/// <param name="FileOffset">Where the data begins, in bytes from the start of that part.</param>
/// <param name="Bytes">Length of the data, padding excluded.</param>
internal sealed record GgufTensor(string Name, GgmlType Type, ImmutableArray<long> Ne, int Part, long FileOffset, long Bytes)
{
    /// <summary>Of all dimensions.</summary>
    public long Elements => Ne[0] * Ne[1] * Ne[2] * Ne[3];
}
