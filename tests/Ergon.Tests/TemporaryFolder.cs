namespace Ergon.Tests;

/// <summary>An empty folder that is gone afterwards.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("ergon-test-").FullName;

    /// <summary>The path of a file in it, written first where bytes are given.</summary>
    public string File(string name, byte[]? bytes = null)
    {
        var path = System.IO.Path.Combine(Path, name);
        if (bytes is not null)
            System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }

    public void Dispose()
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                Directory.Delete(Path, recursive: true);
                return;
            }
            catch (IOException) when (attempt < 5)
            {
                // Where the environment names this folder, tests beside this one may just have written to it.
                Thread.Sleep(20);
            }
        }
    }
}
