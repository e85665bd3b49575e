namespace Ergon.Tests.Models.Gguf;

internal sealed class TemporaryFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ergon-gguf-");

    public string File(string name, byte[]? bytes = null)
    {
        string path = Path.Combine(_folder.FullName, name);
        if (bytes is not null)
            System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
