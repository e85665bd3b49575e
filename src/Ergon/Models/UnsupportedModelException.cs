namespace Ergon.Models;

/// <summary>A well-formed model that Ergon's own graph does not describe.</summary>
/// <param name="message">One sentence that says what is not described.</param>
public sealed class UnsupportedModelException(string message) : ErgonException(message);
