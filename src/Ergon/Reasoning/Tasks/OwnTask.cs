using System.Text.RegularExpressions;

namespace Ergon.Reasoning.Tasks;

/// <summary>
/// Problems of one's own: lines of <c>{"prompt", "id"?, "answer"?, "pattern"?, "worked"?}</c>, the last the text that an example of it shows as its answer. The answer in a text is what its pattern's group
/// <c>answer</c> catches last (its whole match without that group), trimmed; without a pattern there or for all, the text's last line that is not empty.
/// </summary>
internal sealed class OwnTask : IReasoningTask
{
    private static readonly TimeSpan s_patternLimit = TimeSpan.FromSeconds(1);
    private readonly Dictionary<string, Regex> _patterns;
    private readonly Regex? _pattern;
    private readonly VerifierCommand? _verifier;

    private OwnTask(string name, IReadOnlyList<(Problem Problem, Regex? Pattern)> read, IReadOnlyList<MalformedLine> malformed, VerifierCommand? verifier, Regex? pattern)
    {
        (Name, Problems, Malformed, _verifier, _pattern) = (name, [.. read.Select(r => r.Problem)], malformed, verifier, pattern);
        _patterns = read.Where(r => r.Pattern is not null).ToDictionary(r => r.Problem.Id, r => r.Pattern!);
    }

    public string Name { get; }

    public IReadOnlyList<Problem> Problems { get; }

    /// <summary>What was left out.</summary>
    public IReadOnlyList<MalformedLine> Malformed { get; }

    /// <summary>Reads a file.</summary>
    /// <param name="path">Of <c>.jsonl</c>, <c>.json</c> or <c>.jsonl.gz</c>.</param>
    /// <param name="verifier">Judges the texts; <see langword="null"/> where the answers do.</param>
    /// <param name="onMalformed">What to do with a line that has no prompt, an invalid pattern, or, without a verifier, no answer.</param>
    /// <param name="pattern">Of the problems that have none.</param>
    /// <exception cref="ErgonException">The file is missing, the pattern is invalid, two problems have one id or, by <paramref name="onMalformed"/>, a line is malformed.</exception>
    public static OwnTask Load(string path, VerifierCommand? verifier = null, OnMalformed onMalformed = OnMalformed.Fail, string? pattern = null)
    {
        var common = Common(pattern);
        var (read, malformed) = JsonLines.Read(path, (line, number) =>
        {
            var answer = line.TryGetProperty("answer", out _) ? JsonLines.Text(line, "answer").Trim() : null;
            if (answer is null && verifier is null)
                throw new FormatException("it has no 'answer', and there is no verifier");
            var id = line.TryGetProperty("id", out _) ? JsonLines.Text(line, "id") : $"own/{number}";
            return (new Problem(id, JsonLines.Text(line, "prompt"), answer, Worked: line.TryGetProperty("worked", out _) ? JsonLines.Text(line, "worked") : null), line.TryGetProperty("pattern", out _) ? Pattern(JsonLines.Text(line, "pattern")) : null);
        }, onMalformed);
        return read.GroupBy(r => r.Item1.Id).FirstOrDefault(g => g.Count() > 1) is { } twice
            ? throw new ErgonException($"{path}: {twice.Count()} problems have the id '{twice.Key}'; give each its own.")
            : new OwnTask(Path.GetFileNameWithoutExtension(path), read, malformed, verifier, common);
    }

    /// <summary>One question without a known answer.</summary>
    /// <param name="prompt">What is asked.</param>
    /// <param name="pattern">Catches the answer; <see langword="null"/> for the last line that is not empty.</param>
    /// <param name="verifier">Judges the texts; <see langword="null"/> for none.</param>
    /// <exception cref="ErgonException">The pattern is invalid.</exception>
    public static OwnTask Of(string prompt, string? pattern, VerifierCommand? verifier) =>
        new("own", [(new Problem("asked", prompt), null)], [], verifier, Common(pattern));

    // Whoever writes the problems writes the prompts.
    public string PlainPrompt(Problem problem) => problem.Prompt;

    public IReadOnlyList<string> PlainEnds => [];

    /// <exception cref="ErgonException">The problem's pattern took longer than a second.</exception>
    public string? Extract(Problem problem, string text)
    {
        if ((_patterns.GetValueOrDefault(problem.Id) ?? _pattern) is not { } pattern)
            return text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault();
        try
        {
            if (pattern.Matches(text) is not { Count: > 0 } matches)
                return null;
            var caught = matches[^1].Groups["answer"] is { Success: true } group ? group.Value : matches[^1].Value;
            return caught.Trim() is { Length: > 0 } answer ? answer : null;
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new ErgonException($"The pattern of problem '{problem.Id}' took longer than {s_patternLimit.TotalSeconds} s on one answer; write one that does not backtrack so much.", e);
        }
    }

    public bool HasVerifier => _verifier is not null;

    public async ValueTask<bool?> VerifyAsync(Problem problem, string text, CancellationToken cancellation) =>
        _verifier is null ? null : await _verifier.RunAsync(problem, text, cancellation).ConfigureAwait(false);

    private static Regex? Common(string? pattern)
    {
        try
        {
            return pattern is null ? null : Pattern(pattern);
        }
        catch (FormatException e)
        {
            throw new ErgonException($"regex is '{pattern}', but {e.Message.TrimEnd('.')}; correct it.", e);
        }
    }

    private static Regex Pattern(string pattern)
    {
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant, s_patternLimit);
        }
        catch (ArgumentException e)
        {
            throw new FormatException($"its pattern is invalid ({e.Message.TrimEnd('.')})", e);
        }
    }
}
