namespace Ergon.Models.Store;

/// <summary>A model on this machine.</summary>
/// <param name="Name">Its short name, as typed after <c>ergon run</c>.</param>
/// <param name="FullName">With the repository or host it came from.</param>
/// <param name="Path">Its file; the first one of a split model.</param>
/// <param name="Size">Bytes on disk, of all its files.</param>
/// <param name="IsComplete">False while a pull is under way or was stopped.</param>
/// <param name="IsShipped">Whether it comes with Ergon.</param>
/// <param name="Provenance">Where it was pulled from; null when that is not known.</param>
internal sealed record StoredModel(
    string Name, string FullName, string Path, long Size, bool IsComplete, bool IsShipped, Provenance? Provenance)
{
    private static readonly StringComparison Loosely = StringComparison.OrdinalIgnoreCase;

    /// <summary>Whether this is exactly its name, short, full or with the file's extension.</summary>
    public bool IsNamed(string name) =>
        Name.Equals(name, Loosely) || FullName.Equals(name, Loosely) || Quantization.NameOf(Path).Equals(name, Loosely)
        || System.IO.Path.GetFileName(Path).Equals(name, Loosely);

    /// <summary>Whether its name begins so.</summary>
    public bool StartsWith(string start) => Name.StartsWith(start, Loosely) || FullName.StartsWith(start, Loosely);
}

/// <summary>How far a pull is.</summary>
/// <param name="File">The file under way.</param>
/// <param name="Number">Which of the model's files it is, from 1.</param>
/// <param name="Count">How many files the model has.</param>
/// <param name="Received">Bytes of this file that are here.</param>
/// <param name="Total">Bytes of this file; null when the server does not tell.</param>
internal readonly record struct PullProgress(string File, int Number, int Count, long Received, long? Total);

/// <summary>The outcome of a pull.</summary>
/// <param name="Model">The model, complete.</param>
/// <param name="WasPresent">Whether it was here already, unchanged.</param>
internal sealed record PulledModel(StoredModel Model, bool WasPresent);
