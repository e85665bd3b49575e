namespace Ergon.Tests;

/// <summary>An empty folder that is gone afterwards.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("ergon-test").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
