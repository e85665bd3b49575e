namespace Ergon.Reasoning.Tasks;

/// <summary>
/// A task whose problems are asked after worked examples: as turns of a chat where the model has a template, otherwise as texts before the prompt, parted by
/// a blank line. No problem is asked that is one of the examples, by its prompt, wherever either came from.
/// </summary>
internal sealed class FewShot : TaskView
{
    private readonly string _plain;

    /// <param name="task">Whose problems are asked.</param>
    /// <param name="examples">Shown, in this order; each with a right answer.</param>
    /// <exception cref="ErgonException">An example has no answer to show, or no problem is left to ask.</exception>
    public FewShot(IReasoningTask task, IReadOnlyList<Problem> examples) : base(task, Others(task, examples))
    {
        Examples = examples;
        _plain = string.Concat(examples.Select(e => $"{Joined(task.PlainPrompt(e), Answer(e))}\n\n"));
    }

    public override IReadOnlyList<Problem> Examples { get; }

    // Where nothing ends a continuation, what parts the examples does.
    public override IReadOnlyList<string> PlainEnds => base.PlainEnds is { Count: > 0 } ends ? ends : ["\n\n"];

    /// <summary>The first problems of a task, to be shown as examples of another or of itself.</summary>
    /// <param name="count">How many.</param>
    /// <param name="of">Whose; where it is the one that asks, it must have more.</param>
    /// <param name="from">Where they come from, for the error.</param>
    /// <param name="isAsked">Whether problems of the same task are asked.</param>
    /// <exception cref="ErgonException">There are too few.</exception>
    public static IReadOnlyList<Problem> First(int count, IReasoningTask of, string from, bool isAsked) =>
        of.Problems.Count >= count + (isAsked ? 1 : 0) ? [.. of.Problems.Take(count)]
            : throw new ErgonException($"--shots is {count}, but {from} has {of.Problems.Count} problem{(of.Problems.Count == 1 ? "" : "s")}{(isAsked ? ", of which one at least must be asked" : "")}; use fewer, or name a file with more in --shots-data.");

    /// <summary>What an example shows as its answer.</summary>
    public static string Answer(Problem example) => example.Worked ?? example.Gold!;

    /// <summary>A prompt and what comes after it, parted by a space where nothing parts them.</summary>
    public static string Joined(string prompt, string answer) => prompt.Length == 0 || char.IsWhiteSpace(prompt[^1]) ? prompt + answer : $"{prompt} {answer}";

    public override string PlainPrompt(Problem problem) => _plain + base.PlainPrompt(problem);

    private static Problem[] Others(IReasoningTask task, IReadOnlyList<Problem> examples)
    {
        if (examples.FirstOrDefault(e => (e.Worked ?? e.Gold) is null) is { } bare)
            throw new ErgonException($"shots is {examples.Count}, but problem '{bare.Id}' has no answer to show; give it a 'worked' or an 'answer', or use fewer shots.");
        var shown = examples.Select(e => e.Prompt).ToHashSet(StringComparer.Ordinal);
        return task.Problems.Where(p => !shown.Contains(p.Prompt)).ToArray() is { Length: > 0 } others ? others
            : throw new ErgonException($"shots is {examples.Count}, but every one of the task's {task.Problems.Count} problems is among them; use fewer, or examples of another file.");
    }
}
