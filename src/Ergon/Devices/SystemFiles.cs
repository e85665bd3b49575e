using System.Globalization;
using System.IO.Enumeration;

namespace Ergon.Devices;

/// <summary>What reading one of the kernel's files gave: its text, or why there is none.</summary>
/// <param name="Text">Without surrounding white space; <see langword="null"/> when it could not be read.</param>
/// <param name="Fault">Why not, without the path; <see langword="null"/> when it could.</param>
internal readonly record struct FileText(string? Text, string? Fault);

/// <summary>The kernel's small text files (sysfs, procfs, configuration) below a root folder, so that tests bring their own.</summary>
/// <param name="root">The root of the file system; paths are relative to it.</param>
internal sealed class SystemFiles(string root = "/")
{
    public const string Denied = "permission denied";
    public const string Missing = "no such file";

    /// <summary>The whole path, as a message shows it.</summary>
    public string Full(string path) => Path.Combine(root, path);

    /// <summary>What the board calls itself, such as <c>Raspberry Pi 5 Model B Rev 1.0</c>; empty where no device tree says it.</summary>
    public string BoardModel => Read("proc/device-tree/model").Text ?? Read("sys/firmware/devicetree/base/model").Text ?? "";

    /// <summary>What the processor calls itself; empty where the kernel does not tell.</summary>
    // "model name      : AMD EPYC"
    public string ProcessorName => (Read("proc/cpuinfo").Text ?? "").Split('\n').FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? "";

    public bool Exists(string path) => File.Exists(Full(path)) || Directory.Exists(Full(path));

    public FileText Read(string path)
    {
        var text = "";
        // The device tree's texts end with a NUL.
        var fault = Fault(() => text = File.ReadAllText(Full(path)).Trim().TrimEnd('\0'));
        return new FileText(fault is null ? text : null, fault);
    }

    /// <summary>A whole number, as the kernel writes them.</summary>
    public (long? Value, string? Fault) ReadNumber(string path)
    {
        var (text, fault) = Read(path);
        if (text is null)
            return (null, fault);
        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? (value, null) : (null, $"'{text}' is not a whole number");
    }

    /// <summary>Writes a value as the shell's <c>echo</c> would.</summary>
    /// <returns>Why it could not; <see langword="null"/> when it could.</returns>
    public string? Write(string path, string value) => Fault(() =>
    {
        // sysfs takes a value in one write, and creates no file.
        using var file = new FileStream(Full(path), FileMode.Truncate, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(System.Text.Encoding.ASCII.GetBytes(value + "\n"));
    });

    /// <summary>Whether a file could be written; nothing is.</summary>
    /// <returns>Why it could not; <see langword="null"/> when it could.</returns>
    // The kernel checks rights when a file is opened and acts only when something is written.
    public string? TryOpenForWriting(string path) => Fault(() => new FileStream(Full(path), FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0).Dispose());

    private static string? Fault(Action access)
    {
        try
        {
            access();
            return null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return Missing;
        }
        catch (UnauthorizedAccessException)
        {
            return Denied;
        }
        catch (IOException e)
        {
            // A driver that is asleep or gone answers EAGAIN, ENODATA, EIO.
            return e.Message;
        }
    }

    /// <summary>Existing paths that fit a pattern with <c>*</c> and <c>?</c> in its parts, sorted.</summary>
    public IReadOnlyList<string> Glob(string pattern)
    {
        IEnumerable<string> found = [""];
        foreach (var part in pattern.Split('/'))
            found = found.SelectMany(path => Children(path, part)).ToList();
        return [.. found.Order(StringComparer.Ordinal)];
    }

    private IEnumerable<string> Children(string path, string part)
    {
        if (!part.AsSpan().ContainsAny('*', '?'))
        {
            var child = Path.Combine(path, part);
            return Exists(child) ? [child] : [];
        }
        try
        {
            return [.. Directory.EnumerateFileSystemEntries(Full(path)).Select(Path.GetFileName).OfType<string>()
                .Where(name => FileSystemName.MatchesSimpleExpression(part, name, ignoreCase: false)).Select(name => Path.Combine(path, name))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
