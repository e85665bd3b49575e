using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ergon.Reasoning.Evaluation;

/// <summary>
/// The draws of an evaluation, kept in a file as they come, so that an evaluation that was interrupted, however abruptly, goes on without
/// making or counting a draw twice: the settings, then a line for each draw. A last line without its end is cut off, its draw made again. Thread-safe.
/// </summary>
internal sealed class EvaluationJournal : IDisposable
{
    private static readonly byte[] s_beginning = [.. """{"journal":"""u8];
    private readonly Lock _lock = new();
    private readonly Dictionary<(int Item, int Sample), EvaluatedDraw> _draws = [];
    private readonly FileStream? _file;

    private EvaluationJournal(FileStream? file) => _file = file;

    /// <summary>Draws that were in the file when it was opened.</summary>
    public int Found { get; private init; }

    /// <summary>How long the evaluation had worked when the file was opened, to its last draw, in seconds.</summary>
    public double Seconds { get; private init; }

    /// <summary>A journal in memory alone.</summary>
    public static EvaluationJournal InMemory() => new(null);

    /// <summary>Opens a file, or begins it.</summary>
    /// <param name="path">The file; no other process may have it open.</param>
    /// <param name="settings">Must be those in the file.</param>
    /// <exception cref="ErgonException">The file is of other settings, is no journal, or cannot be used.</exception>
    public static EvaluationJournal Open(string path, EvaluationSettings settings)
    {
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The journal {path} cannot be opened ({e.Message.TrimEnd('.')}); name a file with --out that no other evaluation is writing to.", e);
        }
        try
        {
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            // What a killed process left behind its last whole line.
            var end = Array.LastIndexOf(bytes, (byte)'\n') + 1;
            // A file of somebody else's is not emptied because it has no line.
            if (end == 0 && !(bytes.AsSpan().StartsWith(s_beginning) || s_beginning.AsSpan().StartsWith(bytes)))
                throw NoJournal(path);
            string[] lines = Encoding.UTF8.GetString(bytes, 0, end).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            if (end > 0)
                RequireSame(path, lines[0], settings);
            var draws = Read(path, lines);
            file.SetLength(end);
            file.Position = end;
            var journal = new EvaluationJournal(file) { Found = draws.Count, Seconds = draws.Select(d => d.At).DefaultIfEmpty(0).Max() };
            foreach (var draw in draws)
            {
                if (!journal._draws.TryAdd((draw.Item, draw.Sample), draw))
                    throw new ErgonException($"{path} has draw {draw.Sample} of problem {draw.Item} twice; it was not written by one evaluation: name another --out.");
            }
            if (end == 0)
                journal.Write(JsonSerializer.SerializeToUtf8Bytes(settings, EvaluationJson.Default.EvaluationSettings));
            return journal;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>What is in a file, which is left as it is.</summary>
    /// <returns>The settings, and the draws by problem and in order; a last line without its end is left out.</returns>
    /// <exception cref="ErgonException">The file is no journal, or cannot be read.</exception>
    public static (EvaluationSettings Settings, IReadOnlyList<EvaluatedDraw> Draws) Load(string path)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ErgonException($"The journal {path} cannot be read ({e.Message.TrimEnd('.')}); name a file of 'ergon eval --out'.", e);
        }
        var lines = text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries);
        try
        {
            var settings = JsonSerializer.Deserialize(lines is [var first, ..] ? first : "", EvaluationJson.Default.EvaluationSettings)!;
            return (settings, [.. Read(path, lines).OrderBy(d => d.Item).ThenBy(d => d.Sample)]);
        }
        catch (JsonException e)
        {
            throw new ErgonException($"{path} is no journal of 'ergon eval'; name a file that its --out wrote.", e);
        }
    }

    /// <summary>A draw, <see langword="null"/> before it is made.</summary>
    public EvaluatedDraw? Find(int item, int sample)
    {
        lock (_lock)
            return _draws.GetValueOrDefault((item, sample));
    }

    /// <summary>All draws, by problem and in order.</summary>
    public IReadOnlyList<EvaluatedDraw> Draws()
    {
        lock (_lock)
            return [.. _draws.Values.OrderBy(d => d.Item).ThenBy(d => d.Sample)];
    }

    /// <summary>Adds a draw; it is the system's when this returns, so that killing the process does not lose it.</summary>
    public void Add(EvaluatedDraw draw)
    {
        lock (_lock)
        {
            _draws.Add((draw.Item, draw.Sample), draw);
            if (_file is not null)
                Write(JsonSerializer.SerializeToUtf8Bytes(draw, EvaluationJson.Default.EvaluatedDraw));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    private void Write(byte[] line)
    {
        _file!.Write([.. line, (byte)'\n']);
        _file.Flush();
    }

    // Of the lines after the first.
    private static List<EvaluatedDraw> Read(string path, string[] lines)
    {
        List<EvaluatedDraw> draws = [];
        for (var i = 1; i < lines.Length; i++)
        {
            try
            {
                draws.Add(JsonSerializer.Deserialize(lines[i], EvaluationJson.Default.EvaluatedDraw) ?? throw new JsonException("it is null"));
            }
            catch (JsonException e)
            {
                throw new ErgonException($"{path}, line {i + 1}: it is no draw of an evaluation ({e.Message.TrimEnd('.')}); name another --out.", e);
            }
        }
        return draws;
    }

    private static void RequireSame(string path, string line, EvaluationSettings settings)
    {
        using var mine = JsonSerializer.SerializeToDocument(settings, EvaluationJson.Default.EvaluationSettings);
        JsonDocument theirs;
        try
        {
            theirs = JsonDocument.Parse(line);
        }
        catch (JsonException e)
        {
            throw NoJournal(path, e);
        }
        using (theirs)
        {
            if (theirs.RootElement.ValueKind != JsonValueKind.Object || !theirs.RootElement.TryGetProperty("journal", out _))
                throw NoJournal(path);
            foreach (var property in mine.RootElement.EnumerateObject())
            {
                // A journal of before there was such a setting is one without it.
                var there = theirs.RootElement.TryGetProperty(property.Name, out var value) ? value.GetRawText() : "null";
                if (there != property.Value.GetRawText())
                    throw new ErgonException($"{path} was begun with {property.Name.Replace('_', ' ')} {there}, but this evaluation has {property.Value.GetRawText()}; use the same settings to go on, or another --out.");
            }
        }
    }

    private static ErgonException NoJournal(string path, Exception? inner = null)
    {
        var message = $"{path} is there and is no journal of 'ergon eval'; name another --out.";
        return inner is null ? new ErgonException(message) : new ErgonException(message, inner);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(EvaluationSettings))]
[JsonSerializable(typeof(EvaluatedDraw))]
internal sealed partial class EvaluationJson : JsonSerializerContext;
