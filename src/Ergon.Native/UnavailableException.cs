namespace Ergon;

/// <summary>Something outside Ergon did not serve: the network, a registry, a disk. The same call may succeed later.</summary>
public class UnavailableException : ErgonException
{
    /// <summary>Creates an error with a message for the user.</summary>
    public UnavailableException(string message) : base(message) { }

    /// <summary>Creates an error with a message for the user and the failure that caused it.</summary>
    public UnavailableException(string message, Exception innerException) : base(message, innerException) { }
}
