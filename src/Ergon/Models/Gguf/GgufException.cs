namespace Ergon.Models.Gguf;

/// <summary>A GGUF file is malformed or incomplete, or holds something that the runtime refuses.
/// The message is one sentence: the file, the field, its byte offset, what was found and what was
/// expected, and the remedy where there is one.</summary>
public sealed class GgufException : ErgonException
{
    /// <summary>The file as a whole is at fault.</summary>
    internal GgufException(string path, string problem)
        : base($"{path} {problem}.") => Path = path;

    /// <summary>One field of the file is at fault.</summary>
    internal GgufException(string path, string field, long offset, string problem)
        : base($"{path}: {field} at byte {offset} {problem}.") => (Path, Field, Offset) = (path, field, offset);

    /// <summary>The operating system refused to open or read the file.</summary>
    internal GgufException(string path, string problem, Exception innerException)
        : base($"{path} {problem}.", innerException) => Path = path;

    /// <summary>The file at fault; of a split model, that part.</summary>
    public string Path { get; }

    /// <summary>The field at fault, such as <c>general.alignment</c> or <c>tensor 'output.weight' type</c>;
    /// <see langword="null"/> when the file as a whole is.</summary>
    public string? Field { get; }

    /// <summary>Where in the file the field begins, in bytes; -1 without a field.</summary>
    public long Offset { get; } = -1;
}
