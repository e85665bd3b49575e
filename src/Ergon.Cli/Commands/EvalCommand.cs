using System.CommandLine;
using System.CommandLine.Parsing;
using Ergon.Cli.Evaluation;
using Ergon.Inference;
using Ergon.Models.Store;
using Ergon.Reasoning;
using Ergon.Reasoning.Evaluation;
using Ergon.Reasoning.Sandboxes;
using Ergon.Reasoning.Tasks;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon eval</c>: a model's accuracy on a task, and what it takes.</summary>
internal static class EvalCommand
{
    // Enough to fill a pass without making any one answer slow.
    private const int DefaultRows = 8;
    private const int DefaultItems = 500; // of generated problems, of which there is no end
    private const int DefaultContext = 512; // of words and perplexity
    private const float SamplingTemperature = 0.8f;
    private const int ShownLines = 3;
    private static readonly TimeSpan VerifierLimit = TimeSpan.FromSeconds(10);

    public static Verb Create(Terminal terminal)
    {
        var o = new EvalOptions();
        var verb = new Verb("eval", "Measure a model's accuracy on a task, pass@k, and what that takes in joules",
            "ergon eval words-m --task words --items 500",
            "ergon eval model.gguf --task gsm8k --data gsm8k/test.jsonl --items 200 --samples 8 --policy all --out gsm8k.journal --report gsm8k.html",
            "ergon eval model.gguf --task gsm8k --data gsm8k/test.jsonl --shots 8 --shots-data gsm8k/train.jsonl",
            "ergon eval model.gguf --task arc --data arc-challenge-test.jsonl --json",
            "ergon eval model.gguf --task own --data mine.jsonl --verifier \"python3 check.py\" --samples 4 --policy first-verified",
            "ergon eval model.gguf --task perplexity --data wiki.test.raw");
        o.AddTo(verb);
        return verb.Does((parsed, cancellation) => o.Task(parsed) == TaskName.Perplexity ? PerplexityAsync(o, parsed, terminal, cancellation) : RunAsync(o, parsed, terminal, cancellation));
    }

    private static async Task<int> RunAsync(EvalOptions o, ParseResult parsed, Terminal terminal, CancellationToken cancellation)
    {
        var name = o.Task(parsed);
        var samples = parsed.GetValue(o.Samples) ?? 1;
        var temperature = parsed.GetValue(o.Temperature) ?? (samples == 1 ? 0 : SamplingTemperature);
        var seed = (ulong?)parsed.GetValue(o.Seed) ?? WordProblems.EvaluationSeed;
        // What can be wrong is found before a model is loaded.
        if (samples > 1 && temperature == 0)
            throw new ErgonException($"--samples is {samples} at temperature 0, where all would be the same; use --temp 0.8, or one sample.");
        var scores = parsed.GetValue(o.Choose) == Choosing.Likelihood;
        if (scores && (name is not (TaskName.Arc or TaskName.Choice) || samples > 1))
            throw new ErgonException(samples > 1 ? $"--samples is {samples}, but --choose likelihood gives the same option each time; use one sample." : $"--choose is 'likelihood', but --task {DataSets.NameOf(name)} has no options; leave it out.");
        if (scores && parsed.GetValue(o.Policy) is { } given)
            throw new ErgonException($"--policy is '{given}', but --choose likelihood draws nothing to choose from; leave one of the two out.");
        var verifier = Verifier(o, parsed, name);
        var delta = Math.Round((double)(parsed.GetValue(o.Delta) ?? 0.05f), 6);
        IReadOnlyList<NamedPolicy> Policies(int? options) => scores ? [NamedPolicy.Likelihood] : NamedPolicy.Parse(parsed.GetValue(o.Policy) ?? "majority", delta, options, hasVerifier: verifier is not null || name == TaskName.HumanEval);
        _ = Policies(null);
        var bad = parsed.GetValue(o.OnBadLine) ?? OnMalformed.Fail;
        var data = parsed.GetValue(o.Data);
        RequireData(name, data, parsed.GetValue(o.Regex));
        RequireShots(o, parsed, name);
        if (parsed.GetValue(o.Report) is { } page)
            EvalReport.RequireWritable(page);
        var sandbox = name == TaskName.HumanEval ? await PythonSandbox.OpenAsync(cancellation: cancellation) : null;
        var (asked, malformed) = name == TaskName.Words ? (new WordProblemTask(parsed.GetValue(o.Items) ?? DefaultItems, seed), [])
            : DataSets.Open(name, data!, bad, parsed.GetValue(o.Regex), verifier, sandbox);
        var task = WithExamples(o, parsed, asked, name, seed, bad);
        foreach (var line in malformed.Take(ShownLines))
            terminal.Error.WriteLine($"{data}, line {line.Number} is left out: {line.Reason}");
        if (malformed.Count > ShownLines)
            terminal.Error.WriteLine($"{data}: {malformed.Count} lines are left out in all.");
        var items = Math.Min(parsed.GetValue(o.Items) ?? int.MaxValue, task.Problems.Count);
        int? options = task.Problems.All(p => p.Options.Count > 1) ? task.Problems.Max(p => p.Options.Count) : null;
        var policies = Policies(options);
        // One policy that stops early is let do so; several are compared on the same draws.
        var live = policies is [{ DrawsAll: false } only] ? only : null;

        using var monitor = o.Receipts.Monitor(parsed);
        using var status = Receipts.Status(monitor, terminal);
        var rows = scores ? options!.Value + 1 : Math.Min(parsed.GetValue(o.Rows) ?? DefaultRows, items);
        using var loaded = o.Engine.Load(parsed, terminal, parsed.GetValue(o.Model), rows, name == TaskName.Words ? DefaultContext : null, cancellation, monitor);
        if (loaded.ChatTemplate is null && !scores)
            terminal.Error.WriteLine("The model has no chat template: it continues each question as plain text.");
        var settings = Settings(o, parsed, loaded, name) with
        {
            Items = items,
            Samples = samples,
            Temperature = temperature,
            Seed = seed,
            Scores = scores,
            MaxTokens = parsed.GetValue(o.MaxTokens),
            Shots = task.Examples.Count > 0 ? task.Examples.Count : null,
            ShotsData = task.Examples.Count > 0 && parsed.GetValue(o.ShotsData) is { } shown ? Fingerprint.Of(shown) : null,
            Policy = live?.Name,
            AbandonsFalse = live is { AbandonsFalse: true },
            Delta = live is null ? null : delta,
            OnBadLine = bad.ToString().ToLowerInvariant(),
            Answers = parsed.GetValue(o.Regex) is { } regex ? $"regex {regex}" : parsed.GetValue(o.Verifier) is { } command ? $"verifier {command}" : null,
        };
        using var journal = Journal(o, parsed, terminal, settings);
        var isJson = parsed.GetValue(o.Json);
        var evaluation = new Reasoning.Evaluation.Evaluation(loaded, task, settings, live?.Policy, journal, monitor is null ? null : scores ? Scoring(monitor) : monitor.Open);
        try
        {
            await evaluation.RunAsync(new EvalProgress(terminal, items, isJson), cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested && parsed.GetValue(o.Out) is not null)
        {
            return Interrupted(o, parsed, terminal, settings, journal);
        }
        if (evaluation.Skipped.Count == items)
            throw new ErgonException($"None of {Amount.Count(items, "prompt")} leaves room for an answer{(settings.MaxTokens is { } most ? $" of {most} tokens" : "")} in a context of {loaded.ContextLength}; use a larger --ctx{(settings.Shots is { } shots ? $", or fewer than {shots} --shots" : "")}.");
        var figures = new EvalFigures(EvaluatedProblem.Of(journal.Draws(), samples, item => task.Problems[item].Gold), settings, policies, live is not null, parsed.GetValue(o.Price));
        var result = figures.Result(loaded, evaluation.Skipped.Count, malformed.Count, verifier?.Failures ?? 0);
        if (isJson)
            CliJson.Write(terminal.Out, result);
        else
            EvalText.Write(terminal.Out, result);
        if (verifier is { Failures: > 0 })
            terminal.Error.WriteLine($"The verifier gave no verdict on {Amount.Count(verifier.Failures, "answer")} ({verifier.LastFailure}); they count as not passed.");
        if (figures.Receipt is { } receipt)
            terminal.Error.WriteLine(Receipts.Line(receipt));
        if (parsed.GetValue(o.Report) is { } report)
        {
            EvalReport.Write(report, new ReportData(result, loaded.Description.Name, settings, live is not null, Path.GetFileName(data)));
            terminal.Error.WriteLine($"The report is {report}.");
        }
        return Exit.Ok;
    }

    private static async Task<int> PerplexityAsync(EvalOptions o, ParseResult parsed, Terminal terminal, CancellationToken cancellation)
    {
        foreach (var option in (Option[])[o.Samples, o.Shots, o.ShotsData, o.Policy, o.Delta, o.Temperature, o.Seed, o.MaxTokens, o.Report, o.Regex, o.Verifier, o.Rows])
        {
            if (parsed.GetResult(option) is { Implicit: false })
                throw new ErgonException($"{option.Name} is of tasks with answers, but --task perplexity draws none; leave it out.");
        }
        RequireData(TaskName.Perplexity, parsed.GetValue(o.Data), null);
        var text = TextInput.ReadFile(parsed.GetValue(o.Data)!, "--data");
        using var monitor = o.Receipts.Monitor(parsed);
        using var status = Receipts.Status(monitor, terminal);
        using var loaded = o.Engine.Load(parsed, terminal, parsed.GetValue(o.Model), sessions: 1, DefaultContext, cancellation, monitor);
        var tokens = Perplexity.Tokens(loaded, text);
        var chunks = Math.Min(parsed.GetValue(o.Items) ?? int.MaxValue, tokens.Length / loaded.ContextLength);
        var settings = Settings(o, parsed, loaded, TaskName.Perplexity) with { Items = chunks };
        using var journal = Journal(o, parsed, terminal, settings);
        var isJson = parsed.GetValue(o.Json);
        PerplexityResult measured;
        try
        {
            measured = await PerplexityEvaluation.RunAsync(loaded, tokens, chunks, journal, monitor is null ? null : Scoring(monitor),
                new Immediate<(PerplexityResult SoFar, int Chunks)>(p => PerplexityCommand.Report(terminal, p, isJson)), cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested && parsed.GetValue(o.Out) is not null)
        {
            return Interrupted(o, parsed, terminal, settings, journal);
        }
        var seconds = journal.Draws().Max(d => d.At);
        var receipt = EvalFigures.Sum(journal.Draws(), seconds);
        if (isJson)
            CliJson.Write(terminal.Out, EvalText.Of(measured, loaded, receipt, seconds));
        else
            terminal.Out.WriteLine(PerplexityCommand.Line(measured));
        if (receipt is not null)
            terminal.Error.WriteLine(Receipts.Line(receipt, measured.Chunks, "chunk"));
        return Exit.Ok;
    }

    // What every task's draws depend on; the rest is greedy and single.
    private static EvaluationSettings Settings(EvalOptions o, ParseResult parsed, ErgonModel model, TaskName name) => new()
    {
        Task = DataSets.NameOf(name),
        Data = parsed.GetValue(o.Data) is { } data ? Fingerprint.Of(data) : null,
        Model = model.Description.Name,
        ModelFingerprint = parsed.GetValue(o.Out) is null ? "" : Fingerprint.Of(ModelStore.OfUser().Resolve(parsed.GetValue(o.Model) ?? ModelStore.DefaultModel)),
        Items = 1,
        Samples = 1,
        Temperature = 0,
        Seed = 0,
        Context = model.ContextLength,
        KvType = model.KvType.ToString().ToLowerInvariant(),
        Engine = EngineSettings.NameOf(model.Engine),
        OnBadLine = "fail",
    };

    private static EvaluationJournal Journal(EvalOptions o, ParseResult parsed, Terminal terminal, EvaluationSettings settings)
    {
        if (parsed.GetValue(o.Out) is not { } file)
            return EvaluationJournal.InMemory();
        var journal = EvaluationJournal.Open(file, settings);
        if (journal.Found > 0)
            terminal.Error.WriteLine($"{file}: goes on after {Lines(journal.Found, settings)}.");
        return journal;
    }

    private static string Lines(int count, EvaluationSettings settings) => Amount.Count(count, settings.Task == DataSets.NameOf(TaskName.Perplexity) ? "chunk" : "draw");

    private static int Interrupted(EvalOptions o, ParseResult parsed, Terminal terminal, EvaluationSettings settings, EvaluationJournal journal)
    {
        terminal.Error.WriteLine($"Interrupted; {Lines(journal.Draws().Count, settings)} are in {parsed.GetValue(o.Out)}, and the same command goes on after them.");
        return Exit.Interrupted;
    }

    // Scoring has sequences of its own, so that its passes are all that the model does.
    private static Metering Scoring(EnergyMonitor monitor) => _ => monitor.OpenAll();

    private static VerifierCommand? Verifier(EvalOptions o, ParseResult parsed, TaskName name)
    {
        if (parsed.GetValue(o.Verifier) is not { } command)
            return null;
        if (name != TaskName.Own)
            throw new ErgonException($"--verifier is '{command}', but --task {DataSets.NameOf(name)} judges its answers itself; use --task own.");
        string[] words = [.. CommandLineParser.SplitCommandLine(command)];
        return words.Length == 0 ? throw new ErgonException("--verifier is empty, but must be a program and its arguments.")
            : new VerifierCommand(words, parsed.GetValue(o.VerifierSeconds) is { } seconds ? TimeSpan.FromSeconds(seconds) : VerifierLimit);
    }

    private static IReasoningTask WithExamples(EvalOptions o, ParseResult parsed, IReasoningTask task, TaskName name, ulong seed, OnMalformed bad)
    {
        if (parsed.GetValue(o.Shots) is not (> 0 and var count))
            return task;
        return new FewShot(task, name == TaskName.Words ? WordProblemTask.ToShow(count, seed)
            : parsed.GetValue(o.ShotsData) is { } other ? FewShot.First(count, DataSets.Open(name, other, bad, parsed.GetValue(o.Regex)).Task, other, isAsked: false)
            : FewShot.First(count, task, parsed.GetValue(o.Data)!, isAsked: true));
    }

    private static void RequireShots(EvalOptions o, ParseResult parsed, TaskName name)
    {
        if (parsed.GetValue(o.Shots) is > 0 and var count && name == TaskName.HumanEval)
            throw new ErgonException($"--shots is {count}, but the prompts of --task humaneval are code to go on with; leave it out.");
        if (parsed.GetValue(o.ShotsData) is not { } data)
            return;
        if (parsed.GetValue(o.Shots) is not > 0)
            throw new ErgonException($"--shots-data is '{data}', but there is no --shots; say how many examples, or leave it out.");
        if (name == TaskName.Words)
            throw new ErgonException($"--shots-data is '{data}', but the examples of --task words are generated; leave it out.");
    }

    private static void RequireData(TaskName name, string? data, string? pattern)
    {
        if (name == TaskName.Words && data is not null)
            throw new ErgonException($"--data is '{data}', but the problems of --task words are generated; leave it out, or name another task.");
        if (name != TaskName.Words && data is null)
            throw new ErgonException($"--task {DataSets.NameOf(name)} needs its data set, but there is no --data; name its file.");
        if (pattern is not null && name != TaskName.Own)
            throw new ErgonException($"--regex is '{pattern}', but --task {DataSets.NameOf(name)} finds its answers itself; use --task own.");
    }
}
