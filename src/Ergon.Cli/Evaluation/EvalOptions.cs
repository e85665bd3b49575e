using System.CommandLine;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;

namespace Ergon.Cli.Evaluation;

/// <summary>How an option is chosen.</summary>
internal enum Choosing
{
    /// <summary>From generated text.</summary>
    Generate,

    /// <summary>By the log-likelihood of each option's text, a token.</summary>
    Likelihood,
}

/// <summary>The options of <c>ergon eval</c>.</summary>
internal sealed class EvalOptions
{
    private readonly Option<TaskName?> _task = Settings.Choice<TaskName>("--task", "The problems; words are generated, the others are read from --data");

    public EvalOptions()
    {
        _task.Required = true;
        Temperature.Aliases.Add("--temperature");
    }

    public Argument<string?> Model { get; } = new("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };

    public Option<string?> Data { get; } = Settings.Text("--data", "FILE", "The data set: .jsonl, .json or .jsonl.gz; a text for perplexity");

    public Option<int?> Items { get; } = Settings.Whole("--items", null, "Problems (chunks of a text), from the first [default: all; 500 of words]", 1, 1_000_000);

    public Option<int?> Samples { get; } = Settings.Whole("--samples", null, "Answers drawn for each problem [default: 1]", 1, 10_000);

    public Option<int?> Shots { get; } = Settings.Whole("--shots", null, "Worked examples before each problem [default: 0]", 0, 1000);

    public Option<string?> ShotsData { get; } = Settings.Text("--shots-data", "FILE", "Where the examples are from [default: the first problems of the data, which then are not asked; of words, those of the training split]");

    public Option<string?> Policy { get; } = Settings.Text("--policy", "NAME,...", $"When to stop, and which answer stands: {string.Join(", ", StoppingPolicies.Names)}; one may end a problem's draws, several or 'all' are compared on the same draws [default: majority]");

    public Option<float?> Delta { get; } = Settings.Number("--delta", "How often a certificate, or what a policy rests on, may be wrong [default: 0.05]", "above 0 and below 1", x => x is > 0 and < 1);

    public Option<float?> Temperature { get; } = Settings.Number("--temp", "Temperature [default: 0 for one sample, 0.8 for more]", "a number, 0 to 100", x => x is >= 0 and <= 100);

    public Option<int?> Seed { get; } = Settings.Whole("--seed", "-s", "Seed of generated problems and of the draws [default: 99, that of models/README.md]", 0);

    public Option<int?> MaxTokens { get; } = Settings.Whole("--max-tokens", "-n", "Tokens of an answer at most [default: what the context holds]", 1);

    public Option<int?> Rows { get; } = Settings.Whole("--rows", null, "Problems at a time [default: 8]", 1, 256);

    public Option<string?> Out { get; } = Settings.Text("--out", "FILE.jsonl", "Keep each draw as it comes; the same command then goes on after an interruption");

    public Option<string?> Report { get; } = Settings.Text("--report", "FILE.html", "Write a page with curves, policies, calibration and settings");

    public Option<Choosing?> Choose { get; } = Settings.Choice<Choosing>("--choose", "How an option is chosen (arc, choice): from generated text, or the one that the model finds likeliest [default: generate]");

    public Option<OnMalformed?> OnBadLine { get; } = Settings.Choice<OnMalformed>("--on-bad-line", "What to do with a malformed line of the data set [default: fail]");

    public Option<string?> Regex { get; } = Settings.Text("--regex", "PATTERN", "Catches the answer in a text, by its group 'answer' or as a whole, where a line has no pattern (--task own)");

    public Option<string?> Verifier { get; } = Settings.Text("--verifier", "COMMAND", "A program and its arguments that reads {\"id\",\"prompt\",\"answer\"} and ends with 0 for right, 1 for wrong (--task own)");

    public Option<float?> VerifierSeconds { get; } = Settings.Number("--verifier-seconds", "How long the verifier may take for one answer [default: 10]", "above 0, up to 3600", x => x is > 0 and <= 3600);

    public Option<float?> Price { get; } = Settings.Number("--price", "Dollars that the machine costs, for PPP", "a number above 0", x => x > 0);

    public Option<bool> Json { get; } = Settings.Json();

    public EngineSettings Engine { get; } = new();

    public Receipts Receipts { get; } = new();

    public void AddTo(Command command)
    {
        command.Arguments.Add(Model);
        foreach (var option in (Option[])[_task, Data, Items, Shots, ShotsData, Samples, Policy, Delta, Temperature, Seed, MaxTokens, Rows, Out, Report, Choose, OnBadLine, Regex, Verifier, VerifierSeconds, Price, Json])
            command.Options.Add(option);
        Engine.AddWithPlanTo(command);
        Receipts.AddTo(command);
    }

    /// <summary>The required <c>--task</c>.</summary>
    public TaskName Task(ParseResult parsed) => parsed.GetValue(_task)!.Value;
}
