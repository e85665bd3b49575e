using System.IO.Compression;
using System.Text.Json;

namespace Ergon.Reasoning.Tasks;

/// <summary>A line that is not what the data set promises.</summary>
/// <param name="Number">From 1; for an array, of the element.</param>
/// <param name="Reason">One clause.</param>
internal readonly record struct MalformedLine(int Number, string Reason);

/// <summary>What to do with a malformed line.</summary>
internal enum OnMalformed
{
    /// <summary>End with an error.</summary>
    Fail,

    /// <summary>Leave it out, and tell.</summary>
    Skip,
}

/// <summary>Data sets in JSON: one object a line, or one array of objects; <c>.gz</c> is unpacked.</summary>
internal static class JsonLines
{
    /// <summary>Reads every object with <paramref name="read"/>, which says what is wrong by throwing <see cref="FormatException"/>.</summary>
    /// <param name="path">The file.</param>
    /// <param name="read">Makes an item of an object and its number.</param>
    /// <param name="onMalformed">What to do with a line that cannot be read.</param>
    /// <exception cref="ErgonException">The file is missing, has no item, or a line is malformed and that is fatal.</exception>
    public static (IReadOnlyList<T> Items, IReadOnlyList<MalformedLine> Malformed) Read<T>(string path, Func<JsonElement, int, T> read, OnMalformed onMalformed = OnMalformed.Fail)
    {
        List<T> items = [];
        List<MalformedLine> malformed = [];
        foreach (var (number, text) in Objects(path))
        {
            try
            {
                using var line = JsonDocument.Parse(text);
                if (line.RootElement.ValueKind != JsonValueKind.Object)
                    throw new FormatException($"it is a JSON {line.RootElement.ValueKind}, not an object");
                items.Add(read(line.RootElement, number));
            }
            catch (Exception e) when (e is FormatException or JsonException)
            {
                if (onMalformed == OnMalformed.Fail)
                    throw new ErgonException($"{path}, line {number}: {e.Message.TrimEnd('.')}; correct it, or leave malformed lines out with --on-bad-line skip.", e);
                malformed.Add(new MalformedLine(number, e.Message));
            }
        }
        return items.Count > 0 ? (items, malformed)
            : throw new ErgonException(malformed.Count > 0 ? $"{path}: all of its {malformed.Count} lines are malformed, the first because {malformed[0].Reason}; it is not this task's data set." : $"{path} has no problem in it; download it again.");
    }

    /// <summary>What <paramref name="read"/> makes of the first object; the default where there is none or the first line is none.</summary>
    /// <exception cref="ErgonException">The file cannot be read.</exception>
    public static T? First<T>(string path, Func<JsonElement, T> read)
    {
        foreach (var (_, text) in Objects(path))
        {
            try
            {
                using var line = JsonDocument.Parse(text);
                return line.RootElement.ValueKind == JsonValueKind.Object ? read(line.RootElement) : default;
            }
            catch (JsonException)
            {
                // Whoever reads all lines says so.
                return default;
            }
        }
        return default;
    }

    /// <summary>A text of an object.</summary>
    /// <exception cref="FormatException">It has none of these names, or no text there.</exception>
    public static string Text(JsonElement line, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (line.TryGetProperty(name, out var value))
                return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw new FormatException($"'{name}' is a JSON {value.ValueKind}, not a text");
        }
        throw new FormatException($"it has no '{string.Join("' or '", names.ToArray())}'");
    }

    private static IEnumerable<(int Number, string Text)> Objects(string path)
    {
        using var reader = Open(path);
        if (path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
        {
            JsonDocument document;
            try
            {
                document = JsonDocument.Parse(reader.ReadToEnd());
            }
            catch (JsonException e)
            {
                throw new ErgonException($"{path} is not JSON: {e.Message.TrimEnd('.')}; a file with one object a line must end in .jsonl.", e);
            }
            using (document)
            {
                if (document.RootElement.ValueKind != JsonValueKind.Array)
                    throw new ErgonException($"{path} holds a JSON {document.RootElement.ValueKind}, but must hold an array of problems.");
                var number = 0;
                foreach (var element in document.RootElement.EnumerateArray())
                    yield return (++number, element.GetRawText());
            }
            yield break;
        }
        for (var number = 1; Line(reader, path) is { } text; number++)
        {
            if (!string.IsNullOrWhiteSpace(text))
                yield return (number, text);
        }
    }

    private static string? Line(StreamReader reader, string path)
    {
        try
        {
            return reader.ReadLine();
        }
        catch (InvalidDataException e)
        {
            throw new ErgonException($"{path} is not a valid gzip file; download it again.", e);
        }
    }

    private static StreamReader Open(string path)
    {
        try
        {
            var file = File.OpenRead(path);
            return new StreamReader(path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The data set {path} cannot be read: {e.Message.TrimEnd('.')}; give its path with --data.", e);
        }
    }
}
