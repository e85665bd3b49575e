using System.Text.Json;
using System.Text.RegularExpressions;
using Ergon.Inference;

namespace Ergon.Reasoning.Tasks;

/// <summary>Questions with lettered options, as in ARC; the answer is a letter.</summary>
internal sealed partial class MultipleChoice : IReasoningTask
{
    private MultipleChoice(string name, (IReadOnlyList<Problem> Problems, IReadOnlyList<MalformedLine> Malformed) read) => (Name, Problems, Malformed) = (name, read.Problems, read.Malformed);

    public string Name { get; }

    public IReadOnlyList<Problem> Problems { get; }

    /// <summary>What was left out.</summary>
    public IReadOnlyList<MalformedLine> Malformed { get; }

    /// <summary>Reads lines of <c>{"question", "choices": [...], "answer": index from 0}</c>, or of ARC's own form with labels.</summary>
    /// <param name="name">Of the task.</param>
    /// <param name="path">The file.</param>
    /// <param name="onMalformed">What to do with a line without a question, two options or more, or an answer among them.</param>
    /// <exception cref="ErgonException">The file is missing or, by <paramref name="onMalformed"/>, malformed.</exception>
    public static MultipleChoice Load(string name, string path, OnMalformed onMalformed = OnMalformed.Fail) =>
        new(name, JsonLines.Read(path, (line, number) => Read($"{name}/{number}", line), onMalformed));

    private static Problem Read(string id, JsonElement line)
    {
        var labelled = line.TryGetProperty("answerKey", out _);
        var question = labelled && line.TryGetProperty("question", out var inner) && inner.ValueKind == JsonValueKind.Object ? inner : line;
        var choices = question.TryGetProperty("choices", out var given) ? given : throw new FormatException("it has no 'choices'");
        string[] options, labels = [];
        if (choices.ValueKind == JsonValueKind.Object)
            (options, labels) = (Texts(choices, "text"), Texts(choices, "label"));
        else if (labelled && choices.ValueKind == JsonValueKind.Array)
            (options, labels) = ([.. choices.EnumerateArray().Select(c => JsonLines.Text(c, "text"))], [.. choices.EnumerateArray().Select(c => JsonLines.Text(c, "label"))]);
        else
            options = Texts(question, "choices");
        if (options.Length is < 2 or > 26)
            throw new FormatException($"it has {options.Length} choices, but must have 2 to 26");
        var answer = labelled ? Array.IndexOf(labels, JsonLines.Text(line, "answerKey"))
            : line.TryGetProperty("answer", out var index) && index.ValueKind == JsonValueKind.Number && index.TryGetInt32(out var i) ? i : throw new FormatException("it has no 'answer' that is a whole number");
        if (answer < 0 || answer >= options.Length)
            throw new FormatException($"its answer is none of the {options.Length} choices");
        var text = JsonLines.Text(question, "question", "stem").Trim();
        return Lettered(id, text, options, Letter(answer));
    }

    private static Problem Lettered(string id, string question, IReadOnlyList<string> options, string? gold) =>
        new(id, $"{question}\n{string.Join('\n', options.Select((o, i) => $"{Letter(i)}. {o}"))}\nAnswer with the letter of the right option.", gold, options);

    /// <summary>One question without a known answer.</summary>
    /// <exception cref="ErgonException">There are not 2 to 26 options, or two are the same.</exception>
    public static MultipleChoice Of(string question, IReadOnlyList<string> options)
    {
        if (options.Count is < 2 or > 26)
            throw new ErgonException($"The number of options is {options.Count}, but must be 2 to 26; give each with --choice.");
        if (options.GroupBy(o => o).FirstOrDefault(g => g.Count() > 1 || g.Key.Trim().Length == 0) is { } bad)
            throw new ErgonException($"The option '{bad.Key}' is empty or stands twice; give each with a --choice of its own.");
        // The question is all that stands before the options, on one line, as it is scored by log-likelihood.
        return new MultipleChoice("choice", ([Lettered("asked", string.Join(' ', question.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), options, null)], []));
    }

    /// <summary>The letter a text settles on: the last one that "answer is" announces, otherwise one that opens the text or stands alone on its last line, otherwise the only option whose words the text repeats.</summary>
    public string? Extract(Problem problem, string text)
    {
        foreach (var match in Announced().Matches(text).Reverse().Concat(Opening().Matches(text)).Concat(Alone().Matches(text).Reverse()))
        {
            var letter = match.Groups["letter"].Value.ToUpperInvariant();
            if (letter[0] - 'A' < problem.Options.Count)
                return letter;
        }
        int[] said = [.. Enumerable.Range(0, problem.Options.Count).Where(i => text.Contains(problem.Options[i].TrimEnd('.'), StringComparison.OrdinalIgnoreCase))];
        // "oak" is also said by who says "oak tree": the longest one counts.
        int[] longest = [.. said.Where(i => !said.Any(j => j != i && problem.Options[j].Contains(problem.Options[i].TrimEnd('.'), StringComparison.OrdinalIgnoreCase)))];
        return longest is [var only] ? Letter(only) : null;
    }

    /// <summary>Chooses without drawing: the option that the model finds likeliest after the question, by the mean log-likelihood of its tokens.</summary>
    /// <returns>Its letter, and each option's share: the softmax of those means. Shares are no calibrated probabilities.</returns>
    /// <exception cref="ErgonException">As for <see cref="LogLikelihood.ScoreAsync"/>.</exception>
    /// <param name="problem">With options.</param>
    /// <param name="model">Scores them.</param>
    /// <param name="examples">Questions with the texts of their right options before it.</param>
    /// <param name="cancellation">Stops between two passes.</param>
    public static async Task<(string Answer, IReadOnlyList<double> Shares)> ChooseAsync(Problem problem, ErgonModel model, IReadOnlyList<Problem> examples, CancellationToken cancellation = default)
    {
        var (prompt, texts) = Scored(problem, examples);
        var scores = await LogLikelihood.ScoreAsync(model, prompt, texts, cancellation).ConfigureAwait(false);
        var best = scores.Max(s => s.PerToken);
        double[] weights = [.. scores.Select(s => Math.Exp(s.PerToken - best))];
        return (Letter(Array.IndexOf(weights, 1)), [.. weights.Select(w => w / weights.Sum())]);
    }

    /// <summary>The prompt and the texts after it that <see cref="ChooseAsync"/> compares.</summary>
    public static (string Prompt, IReadOnlyList<string> Texts) Scored(Problem problem, IReadOnlyList<Problem> examples) =>
        (string.Concat(examples.Select(e => $"{Asking(e)} {e.Options[e.Gold![0] - 'A']}\n\n")) + Asking(problem), [.. problem.Options.Select(o => $" {o}")]);

    private static string Asking(Problem problem) => $"Question: {problem.Prompt[..problem.Prompt.IndexOf('\n', StringComparison.Ordinal)]}\nAnswer:";

    private static string Letter(int index) => ((char)('A' + index)).ToString();

    private static string[] Texts(JsonElement of, string name) => of.TryGetProperty(name, out var list) && list.ValueKind == JsonValueKind.Array
        ? [.. list.EnumerateArray().Select(e => e.ValueKind == JsonValueKind.String ? e.GetString()! : throw new FormatException($"'{name}' holds a JSON {e.ValueKind}, not a text"))]
        : throw new FormatException($"it has no list '{name}'");

    [GeneratedRegex(@"answer(?:\s+is|\s*:)[\s*(]*(?:option\s*)?(?<letter>[A-Z])\b(?!')", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Announced();

    // "A." or "(A)" or "A" and nothing else on the line; not the article.
    [GeneratedRegex(@"\A[\s*(]*(?<letter>[A-Z])(?:[).:*]|\s*(?:\n|\z))", RegexOptions.CultureInvariant)]
    private static partial Regex Opening();

    [GeneratedRegex(@"(?:^|\n)[\s*(]*(?<letter>[A-Z])[).:*\s]*\z", RegexOptions.CultureInvariant)]
    private static partial Regex Alone();
}
