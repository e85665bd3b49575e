using System.Text;
using System.Text.Json;

namespace Ergon.Devices.Clocks;

/// <summary>
/// The process that outlives whoever turns knobs. It is told each state before it is changed, writes it to a journal,
/// answers <c>ok</c>, and restores everything when its input ends: at an orderly end, a crash and kill -9 alike. If it
/// is killed too, the journal is there for the next one.
/// </summary>
internal static class ClockWatchdog
{
    public const string Ready = "ready";
    public const string Noted = "ok";

    /// <summary>Serves until <paramref name="input"/> ends.</summary>
    /// <param name="input">A <see cref="ClockState"/> as JSON a line.</param>
    /// <param name="output">Receives <see cref="Ready"/>, then <see cref="Noted"/> for each line.</param>
    /// <param name="error">Receives what could not be restored.</param>
    /// <param name="journal">The journal's path; a folder that is missing is made.</param>
    /// <param name="files">Where the states are.</param>
    /// <param name="writer">Restores them.</param>
    /// <returns>Whether all was restored.</returns>
    public static bool Run(TextReader input, TextWriter output, TextWriter error, string journal, SystemFiles files, ClockWriter writer)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(journal))!);
        FileStream file;
        try
        {
            // Held for as long as this process lives, whatever ends it: a second watchdog would restore over the first.
            file = new FileStream(journal, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            error.WriteLine($"another Ergon turns this machine's clocks ({e.Message})");
            return false;
        }
        using (file)
        {
            // A restart of the machine has restored everything already.
            var boot = files.Read("proc/sys/kernel/random/boot_id").Text ?? "";
            var left = Left(file, boot);
            if (left.Count > 0 && !Restore(left, writer, error))
                return false;
            file.SetLength(0);
            Append(file, boot);
            var states = new List<ClockState>();
            output.WriteLine(Ready);
            output.Flush();
            while (input.ReadLine() is { } line)
            {
                if (Parse(line) is not { } state)
                    break;
                Append(file, line);
                states.Add(state);
                output.WriteLine(Noted);
                output.Flush();
            }
            if (!Restore(states, writer, error))
                return false;
            file.SetLength(0);
            return true;
        }
    }

    private static List<ClockState> Left(FileStream file, string boot)
    {
        file.Position = 0;
        using var reader = new StreamReader(file, Encoding.UTF8, leaveOpen: true);
        // A last line that was cut off belongs to a change that was not made.
        return reader.ReadLine() == boot ? [.. reader.ReadToEnd().Split('\n').Select(Parse).OfType<ClockState>()] : [];
    }

    private static void Append(FileStream file, string line)
    {
        file.Seek(0, SeekOrigin.End);
        file.Write(Encoding.UTF8.GetBytes(line + "\n"));
        file.Flush(flushToDisk: true);
    }

    private static ClockState? Parse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, ClockJson.Default.ClockState);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    // Newest first, so that what was changed twice ends as it began.
    private static bool Restore(IReadOnlyList<ClockState> states, ClockWriter writer, TextWriter error)
    {
        var all = true;
        foreach (var state in states.Reverse())
        {
            if (writer.Apply(state) is { } fault)
            {
                error.WriteLine($"not restored: {fault}");
                all = false;
            }
        }
        return all;
    }
}
