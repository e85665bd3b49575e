namespace Ergon;

/// <summary>
/// The root of every error that Ergon reports. The message is one sentence for the user:
/// it names the setting or file, its value, and the remedy.
/// </summary>
public class ErgonException : Exception
{
    /// <summary>Creates an error with a message for the user.</summary>
    public ErgonException(string message) : base(message) { }

    /// <summary>Creates an error with a message for the user and the failure that caused it.</summary>
    public ErgonException(string message, Exception innerException) : base(message, innerException) { }
}
