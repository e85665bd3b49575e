using System.Text;

namespace Ergon.Cli;

/// <summary>What a command reads and writes. Results go to <see cref="Out"/>; all else to <see cref="Error"/>.</summary>
internal sealed class Terminal(TextReader input, TextWriter output, TextWriter error) : IDisposable
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    public TextReader In => input;

    public TextWriter Out => output;

    public TextWriter Error => error;

    /// <summary>Whether a person types the input.</summary>
    public bool IsInteractive { get; private init; }

    /// <summary>Whether progress may redraw its line on <see cref="Error"/>.</summary>
    public bool CanRedraw { get; private init; }

    /// <summary>Whether a table may be redrawn on <see cref="Out"/>.</summary>
    public bool CanShow { get; private init; }

    /// <summary>Ctrl-C; silent in tests.</summary>
    public Interrupt Interrupt { get; } = new();

    // Plain streams: what System.Console adds costs a start-up 10 ms and is not used.
    public static Terminal OfProcess() => new(
        new StreamReader(Console.OpenStandardInput(), Utf8),
        new StreamWriter(Console.OpenStandardOutput(), Utf8) { AutoFlush = true },
        new StreamWriter(Console.OpenStandardError(), Utf8) { AutoFlush = true })
    {
        IsInteractive = !Console.IsInputRedirected && !Console.IsErrorRedirected,
        CanRedraw = !Console.IsErrorRedirected && IsCapable,
        CanShow = !Console.IsOutputRedirected && IsCapable,
    };

    private static bool IsCapable => Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");

    /// <summary>Shows how far something is, on one line that is written over; nothing in a log.</summary>
    public void Status(string text, bool isLast)
    {
        if (CanRedraw)
            error.Write($"\r{text}{(isLast ? "\n" : " ")}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Interrupt.Dispose();
        output.Dispose();
        error.Dispose();
    }
}
