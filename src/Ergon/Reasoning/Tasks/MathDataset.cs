using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Ergon.Reasoning.Tasks;

/// <summary>Grade-school mathematics from a file: GSM8K's lines, and the JSON of MultiArith, SVAMP and their kin.</summary>
internal sealed partial class MathDataset : NumericTask
{
    private MathDataset(string name, (IReadOnlyList<Problem> Problems, IReadOnlyList<MalformedLine> Malformed) read) : base(name, read.Problems) => Malformed = read.Malformed;

    /// <summary>What was left out.</summary>
    public IReadOnlyList<MalformedLine> Malformed { get; }

    /// <summary>Reads a file of questions with a worked or a plain answer.</summary>
    /// <param name="name">Of the task.</param>
    /// <param name="path">A <c>.jsonl</c> of objects, or a <c>.json</c> with an array of them.</param>
    /// <param name="onMalformed">What to do with a line that has no question, or no number as its answer.</param>
    /// <exception cref="ErgonException">The file is missing or, by <paramref name="onMalformed"/>, malformed.</exception>
    public static MathDataset Load(string name, string path, OnMalformed onMalformed = OnMalformed.Fail) => new(name, JsonLines.Read(path, (line, number) =>
    {
        var (gold, worked) = Answer(line);
        return new Problem($"{name}/{number}", Question(line), gold, Worked: worked);
    }, onMalformed));

    // SVAMP tells its story in Body and asks in Question.
    private static string Question(JsonElement line) => line.TryGetProperty("Body", out _)
        ? $"{JsonLines.Text(line, "Body").Trim()} {JsonLines.Text(line, "Question").Trim()}"
        : JsonLines.Text(line, "question", "Question", "sQuestion", "problem").Trim();

    private static (string Gold, string Worked) Answer(JsonElement line)
    {
        foreach (var name in new[] { "answer", "Answer", "final_ans", "lSolutions" })
        {
            if (!line.TryGetProperty(name, out var value))
                continue;
            if (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 1)
                value = value[0];
            var text = value.ValueKind switch
            {
                JsonValueKind.String => value.GetString()!,
                // 1e3 is a number of JSON's too.
                JsonValueKind.Number when value.TryGetDecimal(out var number) => number.ToString(CultureInfo.InvariantCulture),
                _ => throw new FormatException($"'{name}' is a JSON {value.ValueKind}, not a number or a text"),
            };
            var isWorked = text.Contains("####", StringComparison.Ordinal);
            var gold = (isWorked ? NumericAnswers.Extract(text) : NumericAnswers.Canonical(text)) ?? throw new FormatException($"'{name}' has no number as its answer");
            return (gold, isWorked ? Calculation().Replace(text, "").Trim() : $"The answer is {gold}.");
        }
        throw new FormatException("it has no 'answer', 'Answer', 'final_ans' or 'lSolutions'");
    }

    // GSM8K's notes for a calculator, <<48/2=24>>, which stand before the result that the text has anyway.
    [GeneratedRegex("<<[^<>]*>>", RegexOptions.CultureInvariant)]
    private static partial Regex Calculation();
}
