using System.Text;

namespace Ergon.Cli;

/// <summary>Texts that a command takes from files and from its input.</summary>
internal static class TextInput
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The text of a UTF-8 file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="setting">Named in errors.</param>
    /// <exception cref="ErgonException">It cannot be read, or is not text.</exception>
    public static string ReadFile(string path, string setting)
    {
        try
        {
            return File.ReadAllText(path, Strict);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            var reason = e switch
            {
                _ when Directory.Exists(path) => "is a folder",
                FileNotFoundException or DirectoryNotFoundException => "does not exist",
                DecoderFallbackException => "is not UTF-8 text",
                _ => $"cannot be read ({e.Message.TrimEnd('.')})",
            };
            throw new ErgonException($"{setting} names '{path}', which {reason}; name a text file.", e);
        }
    }
}
