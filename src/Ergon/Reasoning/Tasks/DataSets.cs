using System.Text.Json;
using Ergon.Reasoning.Sandboxes;

namespace Ergon.Reasoning.Tasks;

/// <summary>The tasks by name.</summary>
internal enum TaskName
{
    /// <summary>Generated word problems that no training saw.</summary>
    Words,

    /// <summary>GSM8K's lines.</summary>
    Gsm8k,

    /// <summary>ARC's lines.</summary>
    Arc,

    /// <summary>HumanEval's lines.</summary>
    HumanEval,

    /// <summary>The JSON of MultiArith, SVAMP and their kin.</summary>
    Math,

    /// <summary>Questions of one's own with options.</summary>
    Choice,

    /// <summary>Problems of one's own with a pattern or a verifier.</summary>
    Own,

    /// <summary>A text's perplexity: no problems, and opened by no method of this file.</summary>
    Perplexity,
}

/// <summary>Opens tasks by name.</summary>
internal static class DataSets
{
    /// <summary>Opens a task's data set.</summary>
    /// <param name="name">Of a task that has one.</param>
    /// <param name="path">The file.</param>
    /// <param name="onMalformed">What to do with a malformed line.</param>
    /// <param name="pattern">Finds the answers of <see cref="TaskName.Own"/> where a line has no pattern of its own.</param>
    /// <param name="verifier">Judges those of <see cref="TaskName.Own"/>.</param>
    /// <param name="sandbox">Runs the tests of <see cref="TaskName.HumanEval"/>.</param>
    /// <exception cref="ErgonException">The file is missing, of another task or, by <paramref name="onMalformed"/>, malformed.</exception>
    public static (IReasoningTask Task, IReadOnlyList<MalformedLine> Malformed) Open(
        TaskName name, string path, OnMalformed onMalformed, string? pattern = null, VerifierCommand? verifier = null, PythonSandbox? sandbox = null)
    {
        RequireOf(name, path);
        switch (name)
        {
            case TaskName.Gsm8k or TaskName.Math:
                var math = MathDataset.Load(NameOf(name), path, onMalformed);
                return (math, math.Malformed);
            case TaskName.Arc or TaskName.Choice:
                var choice = MultipleChoice.Load(NameOf(name), path, onMalformed);
                return (choice, choice.Malformed);
            case TaskName.HumanEval:
                var functions = HumanEval.Load(path, sandbox, onMalformed);
                return (functions, functions.Malformed);
            default:
                var own = OwnTask.Load(path, verifier, onMalformed, pattern);
                return (own, own.Malformed);
        }
    }

    /// <summary>As <c>--task</c> names it.</summary>
    public static string NameOf(TaskName name) => name.ToString().ToLowerInvariant();

    // A number may be an index of options, and a text anything: the first line says what it is.
    private static void RequireOf(TaskName name, string path)
    {
        var kinds = JsonLines.First(path, KindsOf);
        if (kinds is { Length: > 0 } && !kinds.Contains(name))
            throw new ErgonException($"{path} is not data of --task {NameOf(name)}, but looks like that of {string.Join(" or ", kinds.Select(NameOf))}; give the task its own data set, or the data set its task.");
    }

    private static TaskName[] KindsOf(JsonElement line)
    {
        return Has("entry_point") && Has("test") ? [TaskName.HumanEval]
            : Has("choices") || Is("question", JsonValueKind.Object) ? [TaskName.Arc, TaskName.Choice]
            : Has("question") && Is("answer", JsonValueKind.String) && line.GetProperty("answer").GetString()!.Contains("####", StringComparison.Ordinal) ? [TaskName.Gsm8k, TaskName.Math]
            : Has("sQuestion") || Has("Body") || Has("question") ? [TaskName.Math]
            : Has("prompt") ? [TaskName.Own]
            : [];

        bool Has(string key) => line.TryGetProperty(key, out _);

        bool Is(string key, JsonValueKind kind) => line.TryGetProperty(key, out var value) && value.ValueKind == kind;
    }
}
