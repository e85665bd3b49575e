using System.Globalization;

namespace Ergon.Reasoning.Tasks;

/// <summary>Problems whose answer is a number, and whose worked sums are evidence.</summary>
internal abstract class NumericTask(string name, IReadOnlyList<Problem> problems) : IReasoningTask
{
    public string Name => name;

    public IReadOnlyList<Problem> Problems => problems;

    public virtual string? Extract(Problem problem, string text) => NumericAnswers.Extract(text);

    public virtual double? Evidence(Problem problem, string text) => Arithmetic.Evidence(text);

    public virtual Func<string, bool>? Watch(Problem problem) => new StepWatch().Append;
}

/// <summary>The generated word problems that no training saw.</summary>
/// <param name="items">How many.</param>
/// <param name="seed">Of the problems.</param>
/// <param name="isChecked">Whether worked steps are evidence; false makes it like the many tasks where nobody can check them.</param>
internal sealed class WordProblemTask(int items, ulong seed = WordProblems.EvaluationSeed, bool isChecked = true) : NumericTask("words",
    [.. WordProblems.HeldOut(seed).Take(items).Select((p, i) => new Problem($"words/{seed}/{i}", p.Question, p.Answer.ToString(CultureInfo.InvariantCulture)))])
{
    /// <summary>Problems that training may have seen, so that none of them is ever asked, with their worked answers.</summary>
    public static IReadOnlyList<Problem> ToShow(int count, ulong seed) =>
        [.. WordProblems.ForTraining(seed).Take(count).Select((p, i) => new Problem($"words/{seed}/training/{i}", p.Question, p.Answer.ToString(CultureInfo.InvariantCulture), Worked: p.WorkedAnswer))];

    public override double? Evidence(Problem problem, string text) => isChecked ? base.Evidence(problem, text) : null;

    public override Func<string, bool>? Watch(Problem problem) => isChecked ? base.Watch(problem) : null;

    // Trained to write the mark: a text without it has not come to its answer.
    public override string? Extract(Problem problem, string text) => text.Contains("####", StringComparison.Ordinal) ? base.Extract(problem, text) : null;
}
