using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ergon.Models.Store;

/// <summary>Where a pulled file came from.</summary>
/// <param name="Source">Its address, without query.</param>
/// <param name="ETag">The server's validator.</param>
/// <param name="Sha256">Of the whole file, lower-case hex; null while it is incomplete.</param>
internal sealed record Provenance(string Source, string? ETag, string? Sha256);

/// <summary>How the store reads and writes JSON.</summary>
[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(List<TreeEntry>))]
[JsonSerializable(typeof(Provenance))]
internal sealed partial class StoreJson : JsonSerializerContext;
