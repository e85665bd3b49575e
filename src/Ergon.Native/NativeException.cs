namespace Ergon.Native;

/// <summary>A failure that the native libraries reported, or libraries that cannot be used.</summary>
/// <param name="message">One sentence for the user.</param>
/// <param name="code">The native status code; 0 where there is none.</param>
public sealed class NativeException(string message, int code = 0) : ErgonException(message)
{
    /// <summary>The native status code; 0 where there is none.</summary>
    public int Code { get; } = code;
}
