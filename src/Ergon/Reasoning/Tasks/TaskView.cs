namespace Ergon.Reasoning.Tasks;

/// <summary>A task seen through another: all is the other's but what is overridden.</summary>
/// <param name="task">The other.</param>
/// <param name="problems">Those to ask.</param>
internal abstract class TaskView(IReasoningTask task, IReadOnlyList<Problem> problems) : IReasoningTask
{
    public string Name => task.Name;

    public IReadOnlyList<Problem> Problems => problems;

    public virtual IReadOnlyList<Problem> Examples => task.Examples;

    public virtual IReadOnlyList<string> PlainEnds => task.PlainEnds;

    public bool HasVerifier => task.HasVerifier;

    public virtual string PlainPrompt(Problem problem) => task.PlainPrompt(problem);

    public string? Extract(Problem problem, string text) => task.Extract(problem, text);

    public double? Evidence(Problem problem, string text) => task.Evidence(problem, text);

    public Func<string, bool>? Watch(Problem problem) => task.Watch(problem);

    public ValueTask<bool?> VerifyAsync(Problem problem, string text, CancellationToken cancellation) => task.VerifyAsync(problem, text, cancellation);

    public ValueTask<bool> IsRightAsync(Problem problem, string text, CancellationToken cancellation) => task.IsRightAsync(problem, text, cancellation);
}
