namespace Ergon.Models.Templates;

/// <summary>
/// A chat template that cannot be parsed or rendered: it leaves the supported subset, exceeds
/// a limit, meets data it does not expect, or refuses the conversation (<c>raise_exception</c>).
/// </summary>
public sealed class ChatTemplateException : ErgonException
{
    internal ChatTemplateException(string message, int line, int column)
        : base($"Chat template, line {line}, column {column}: {message}")
    {
        Line = line;
        Column = column;
    }

    /// <summary>Line in the template, from 1.</summary>
    public int Line { get; }

    /// <summary>Column in that line, in UTF-16 units, from 1.</summary>
    public int Column { get; }
}

/// <summary>A failure that does not know its place yet; parser and evaluator add it.</summary>
internal sealed class TemplateFault(string message) : Exception(message);
