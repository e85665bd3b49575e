using System.Text.Json;

namespace Ergon.Models.Store;

/// <summary>Lists a repository's files by the Hub's API.</summary>
/// <param name="http">Carries the token to this endpoint only.</param>
/// <param name="endpoint">The Hub's address, or a mirror's (<c>HF_ENDPOINT</c>).</param>
internal sealed class HuggingFace(ModelHttp http, Uri endpoint)
{
    // The Hub lists 1000 files a page; model repositories stay far below.
    private const int MaxListingBytes = 16 << 20;

    /// <summary>The files of the chosen model with their addresses and hashes.</summary>
    /// <exception cref="ErgonException">No such repository, no right to read it, or no such quantization.</exception>
    public async Task<IReadOnlyList<RemoteFile>> FindAsync(ModelSource.HuggingFace source, CancellationToken cancellationToken)
    {
        var repository = source.Repository;
        using var answer = await http.GetAsync(
            new Uri(endpoint, $"api/models/{repository}/tree/main?recursive=true"), prepare: null, cancellationToken);
        List<TreeEntry> entries;
        try
        {
            await answer.Response.Content.LoadIntoBufferAsync(MaxListingBytes, cancellationToken);
            await using var body = await answer.Response.Content.ReadAsStreamAsync(cancellationToken);
            entries = JsonSerializer.Deserialize(body, StoreJson.Default.ListTreeEntry) ?? [];
        }
        catch (Exception e) when (e is JsonException or HttpRequestException or IOException)
        {
            throw new UnavailableException($"{endpoint} did not answer with the files of {repository}; check HF_ENDPOINT and the network.", e);
        }

        var files = entries
            .Where(e => e is { Type: "file", Path: not null } && e.Path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            .ToDictionary(e => e.Path!, StringComparer.Ordinal);
        var first = Quantization.Choose(files.Keys, source.Quantization, repository);
        return [.. Quantization.SplitsOf(first).Select(path => files.TryGetValue(path, out var entry)
            ? new RemoteFile(
                new Uri(endpoint, $"{repository}/resolve/main/{string.Join('/', path.Split('/').Select(Uri.EscapeDataString))}"),
                $"{repository}/{path}", entry.Size, entry.Lfs?.Oid)
            : throw new ErgonException($"The repository {repository} lacks '{path}', a part of the split model '{first}'."))];
    }
}

/// <summary>A file to fetch.</summary>
/// <param name="Address">Where it is.</param>
/// <param name="RelativePath">Where it goes, under the store's folder.</param>
/// <param name="Size">Bytes, when the listing told.</param>
/// <param name="Sha256">Lower-case hex, when the listing told.</param>
internal sealed record RemoteFile(Uri Address, string RelativePath, long? Size = null, string? Sha256 = null);

/// <summary>An entry of the Hub's tree listing.</summary>
internal sealed record TreeEntry(string? Type, string? Path, long? Size, LfsEntry? Lfs);

/// <summary>What the Hub says of a large file: <c>oid</c> is its sha256.</summary>
internal sealed record LfsEntry(string? Oid);
