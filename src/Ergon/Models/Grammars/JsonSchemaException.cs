namespace Ergon.Models.Grammars;

/// <summary>A JSON schema that has no grammar: a keyword that is not supported, a value that is wrong, or a limit.</summary>
public sealed class JsonSchemaException : ErgonException
{
    internal JsonSchemaException(string pointer, string reason)
        : base($"JSON schema at '#{pointer}': {reason}") => Location = pointer;

    /// <summary>JSON pointer of the offending keyword, empty for the root.</summary>
    public string Location { get; }
}
