using System.Text.RegularExpressions;
using Ergon.Reasoning.Sandboxes;

namespace Ergon.Reasoning.Tasks;

/// <summary>HumanEval (Chen et al., arXiv 2107.03374): functions to write, judged by their unit tests in the sandbox. An answer is a Python module; two are equivalent only where their texts are equal.</summary>
internal sealed partial class HumanEval : IReasoningTask
{
    // Where a completion has left the function: what the paper stops at.
    private static readonly string[] s_ends = ["\nclass ", "\ndef ", "\n#", "\nif ", "\nprint", "\n```", "\nassert "];
    private readonly Dictionary<string, Function> _functions;
    private readonly PythonSandbox? _sandbox;

    private HumanEval(IReadOnlyList<(string Id, Function Function)> read, IReadOnlyList<MalformedLine> malformed, PythonSandbox? sandbox)
    {
        (Malformed, _sandbox) = (malformed, sandbox);
        _functions = read.ToDictionary(f => f.Id, f => f.Function);
        Problems = [.. read.Select(f => new Problem(f.Id, $"Complete this Python function. Answer with the whole function in one code block.\n```python\n{f.Function.Prompt.TrimEnd()}\n```"))];
    }

    public string Name => "humaneval";

    public IReadOnlyList<Problem> Problems { get; }

    /// <summary>What was left out.</summary>
    public IReadOnlyList<MalformedLine> Malformed { get; }

    /// <summary>Reads the data set.</summary>
    /// <param name="path">Of <c>HumanEval.jsonl.gz</c>.</param>
    /// <param name="sandbox">Runs the tests; <see langword="null"/> to extract alone, with no verdicts.</param>
    /// <param name="onMalformed">What to do with a line without prompt, tests or the function's name.</param>
    /// <exception cref="ErgonException">The file is missing or, by <paramref name="onMalformed"/>, malformed.</exception>
    public static HumanEval Load(string path, PythonSandbox? sandbox = null, OnMalformed onMalformed = OnMalformed.Fail)
    {
        var (read, malformed) = JsonLines.Read(path, (line, _) => (JsonLines.Text(line, "task_id"),
            new Function(JsonLines.Text(line, "prompt"), JsonLines.Text(line, "entry_point"), JsonLines.Text(line, "test"), JsonLines.Text(line, "canonical_solution"))), onMalformed);
        return new HumanEval(read, malformed, sandbox);
    }

    // The paper's own form: the model continues the function.
    public string PlainPrompt(Problem problem) => _functions[problem.Id].Prompt;

    public IReadOnlyList<string> PlainEnds => s_ends;

    /// <summary>The module in a text: its last code block that defines the function; the text itself where that defines it; otherwise the text as what follows the prompt, up to where it leaves the function.</summary>
    public string? Extract(Problem problem, string text)
    {
        var function = _functions[problem.Id];
        var definition = $"def {function.Name}(";
        string[] blocks = [.. Block().Matches(text).Select(m => m.Groups["code"].Value)];
        var code = blocks.LastOrDefault(b => b.Contains(definition, StringComparison.Ordinal));
        if (code is null && blocks.Length == 0 && text.Contains(definition, StringComparison.Ordinal))
            code = text;
        if (code is not null)
        {
            // Imports and functions that the prompt gave are often not said again.
            var given = function.Prompt[..function.Prompt.IndexOf(definition, StringComparison.Ordinal)];
            return $"{given}\n{code.TrimEnd()}\n";
        }
        var body = blocks.Length > 0 ? blocks[^1] : text;
        var end = s_ends.Select(e => body.IndexOf(e, StringComparison.Ordinal)).Where(i => i >= 0).DefaultIfEmpty(body.Length).Min();
        return string.IsNullOrWhiteSpace(body[..end]) ? null : $"{function.Prompt}{body[..end].TrimEnd()}\n";
    }

    public bool HasVerifier => _sandbox is not null;

    public async ValueTask<bool?> VerifyAsync(Problem problem, string text, CancellationToken cancellation)
    {
        if (_sandbox is null)
            return null;
        if (Extract(problem, text) is not { } code)
            return false;
        var function = _functions[problem.Id];
        // A program that ends itself before its tests has exit code 0 too, but not said the word.
        var word = Guid.NewGuid().ToString("N");
        var result = await _sandbox.RunAsync($"{code}\n{function.Test}\ncheck({function.Name})\nprint('{word}', flush=True)\n", cancellation).ConfigureAwait(false);
        return result is { ExitCode: 0, TimedOut: false } && result.Output.Contains(word, StringComparison.Ordinal);
    }

    /// <summary>The data set's own solution, as a completion of its prompt.</summary>
    internal string Solution(Problem problem) => _functions[problem.Id].Solution;

    private sealed record Function(string Prompt, string Name, string Test, string Solution);

    [GeneratedRegex(@"```(?:python|py)?[ \t]*\n(?<code>.*?)(?:\n```|\z)", RegexOptions.Singleline | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Block();
}
