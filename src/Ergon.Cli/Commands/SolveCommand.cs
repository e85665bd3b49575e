using System.CommandLine;
using System.Diagnostics;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Inference;
using Ergon.Models.Store;
using Ergon.Reasoning;
using Ergon.Reasoning.Cascades;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon solve</c>: one question, answered by repeated sampling until enough is known.</summary>
internal static class SolveCommand
{
    private const string Likelihood = "likelihood";
    private const int DefaultSamples = 16, WidestWave = 8, FullWave = 16, Patience = 2;

    public static Verb Create(Terminal terminal)
    {
        var words = new Argument<string[]>(RunCommand.Arguments)
        {
            Description = "A model (a path, a pulled name; default: the embedded words-l) and what to ask it; - reads the question from stdin",
            Arity = new ArgumentArity(0, 2),
        };
        var file = Settings.Text("--file", "FILE", "Read the question from a file");
        var task = Settings.Choice<Form>("--task", "What an answer is: words: the number after ####; math: a number; choice: one of the --choice options; own: what --regex catches, else the last line [default: words without a MODEL, else math]");
        var samples = Settings.Whole("--samples", null, $"Draws at most [default: {DefaultSamples}]", 1, 10_000);
        var policy = Settings.Text("--policy", "NAME", $"When to stop, and which answer stands: {string.Join(", ", StoppingPolicies.Names)}; for choice also {Likelihood}, which draws nothing [default: cascade]");
        var delta = Settings.Number("--delta", "How often a certificate, or what a policy rests on, may be wrong [default: 0.05]", "above 0 and below 1", x => x is > 0 and < 1);
        var budget = Settings.Number("--budget-joules", "Joules at most: after the first, which shows what one takes, no draw begins that would exceed them", "above 0", x => x > 0);
        var worth = Settings.Number("--worth", "What a right answer is worth to the cascade, in full budgets of the largest model [default: 4]", "above 0", x => x > 0);
        var escalate = new Option<string[]>("--escalate") { Description = "A larger model to ask where the answer is not sure enough; may be given several times, the smallest first", HelpName = "MODEL" };
        var choices = new Option<string[]>("--choice") { Description = "An option to choose from; give each one", HelpName = "TEXT" };
        var regex = Settings.Text("--regex", "PATTERN", "Catches the answer in a text, by its group 'answer' or as a whole");
        var verifier = Settings.Text("--verifier", "COMMAND", "A program, and arguments divided by spaces, that reads {\"id\",\"prompt\",\"answer\"} and ends with 0 for right, 1 for wrong");
        var seconds = Settings.Number("--verifier-seconds", "How long the verifier may take for one answer [default: 10; 60 for a URL]", "above 0, up to 3600", x => x is > 0 and <= 3600);
        var state = Settings.Text("--state", "FILE", "What the cascade has learned; made where it is absent, kept up to date where right answers become known [default: what comes with Ergon]");
        var wave = Settings.Whole("--wave", null, $"Draws at once [default: as many as are expected to take the fewest joules, chosen anew after each draw, {WidestWave} at most, or {FullWave} where the policy draws all]", 1, 255);
        var temperature = Settings.Number("--temp", "Temperature [default: 0.8]", "a number, 0 to 100", x => x is >= 0 and <= 100);
        var most = Settings.Whole("--max-tokens", "-n", "Tokens of a draw at most [default: as many as the context holds]", 1);
        var seed = Settings.Whole("--seed", "-s", "Make draws repeatable, to the last bit with --wave given [default: 99]", 0);
        var json = Settings.Json();
        var (engine, receipts, scoring) = (new EngineSettings(), new Receipts(), new VerifierSettings());
        var verb = new Verb("solve", "Answer one question by drawing until the answer is settled",
            "ergon solve \"Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?\"",
            "ergon solve Llama-3.2-1B --task math --samples 8 --policy certificate --delta 0.1 \"What is 17 * 24?\"",
            "ergon solve Llama-3.2-1B --task choice --choice \"the Moon\" --choice \"the Sun\" \"Which is larger?\"",
            "ergon solve words-s --escalate words-m --escalate words-l --task words --json - < question.txt",
            "ergon solve words-m --task words --verifier-model words-l --file question.txt",
            "ergon solve Llama-3.2-1B --task own --verifier \"python3 check.py\" --policy first-verified --budget-joules 500 --file task.txt")
        { words, file, task, samples, policy, delta, budget, worth, escalate, choices, regex, verifier, seconds, state, wave, temperature, most, seed, json };
        scoring.AddTo(verb);
        engine.AddWithPlanTo(verb);
        receipts.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var (model, prompt) = RunCommand.Split(parsed.GetValue(words)!, parsed.GetValue(file), terminal);
            var form = parsed.GetValue(task) ?? (model is null ? Form.Words : Form.Math);
            var name = parsed.GetValue(policy) ?? StoppingPolicies.Names[0];
            var error = Math.Round((double)(parsed.GetValue(delta) ?? 0.05f), 6);
            var asked = Question(form, prompt, parsed.GetValue(choices) ?? [], parsed.GetValue(regex), Verifier(parsed.GetValue(verifier), form, name, parsed.GetValue(seconds) ?? 10));
            scoring.Require(parsed, parsed.GetValue(verifier) is not null, name);
            var count = parsed.GetValue(samples) ?? DefaultSamples;
            var path = parsed.GetValue(state);
            var learned = path is not null && File.Exists(path) ? CascadeState.Load(path) : CascadeState.OfWords();
            int? options = asked.Problems[0].Options.Count is > 0 and var k ? k : null;
            IStoppingPolicy Policy(Cascade? cascade) => StoppingPolicies.Named(name, error, options, cascade);
            using var monitor = receipts.Monitor(parsed);
            using var status = Receipts.Status(monitor, terminal);
            if (name == Likelihood)
            {
                Require(form == Form.Choice, $"--policy is '{Likelihood}', but --task is '{Lower(form)}'; it chooses among options: use --task choice.");
                using var chooser = engine.Load(parsed, terminal, model, 9, defaultContext: null, cancellation, monitor);
                return await ChooseAsync(terminal, parsed.GetValue(json), chooser, asked, monitor, cancellation);
            }
            // Refuses an unknown policy before a model is loaded.
            var drawsAll = Policy(null) is FixedBudget or BestOfN;
            using var scorer = scoring.Open(parsed, terminal, engine, receipts, parsed.GetValue(seconds), Patience, cancellation);
            // What is kept with a verifier model is about its scores.
            if (scorer is not null)
                learned = learned.For(scorer);
            var solving = new SolverOptions
            {
                Samples = count,
                Wave = parsed.GetValue(wave) ?? Math.Min(count, drawsAll ? FullWave : WidestWave),
                ChoosesWave = parsed.GetValue(wave) is null,
                Temperature = parsed.GetValue(temperature) ?? 0.8f,
                MaxTokens = parsed.GetValue(most),
                Seed = (ulong?)parsed.GetValue(seed) ?? WordProblems.EvaluationSeed,
                Verify = parsed.GetValue(verifier) is not null,
                Verifier = scorer,
                AbandonFalse = StoppingPolicies.AbandonsFalse(name),
                Budget = parsed.GetValue(budget) is { } joules ? new Joules(Math.Round((double)joules, 6)) : null,
            };
            solving.Validate();
            var sessions = solving.Wave == 1 ? 1 : solving.Wave + 1;
            var larger = parsed.GetValue(escalate) ?? [];
            Rung[] rungs =
            [
                Rung(model, () => Opened(engine.Load(parsed, terminal, model, sessions, defaultContext: null, cancellation, monitor), monitor, [])),
                .. larger.Select(next => Rung(next, () =>
                {
                    var own = receipts.Monitor(parsed);
                    var loaded = engine.Load(parsed, terminal, next, sessions, defaultContext: null, cancellation, own);
                    return Opened(loaded, own, own is null ? [] : [own]);
                })),
            ];
            var began = Stopwatch.GetTimestamp();
            EscalatedProblem solved = null!;
            await foreach (var problem in new Escalation(rungs, asked, Policy, learned, solving, parsed.GetValue(worth) ?? Cascade.DefaultWorth).RunAsync(cancellation))
                solved = problem;
            // Beside a verifier model nobody knows the right answer: nothing was learned, and scores that the state was fitted with are not this model's.
            if (path is not null && scorer is null)
                learned.Save(path);
            var result = SolveReport.Of(solved, rungs, Lower(form), name, error, options, solving, learned, Stopwatch.GetElapsedTime(began));
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, result);
            else if (result.Answer is not null)
                result.Print(terminal.Out);
            return result.Answer is not null ? Exit.Ok
                : throw new ErgonException($"no draw of {result.Draws} has an answer that --task {Lower(form)} can read; raise --max-tokens or --samples, or say with --task own and --regex how an answer looks.");
        });
    }

    private enum Form
    {
        Words,
        Math,
        Choice,
        Own,
    }

    private static IReasoningTask Question(Form form, string prompt, string[] choices, string? regex, VerifierCommand? verifier)
    {
        Require(choices.Length == 0 || form == Form.Choice, $"--choice is given, but --task is '{Lower(form)}'; use --task choice.");
        Require(regex is null || form == Form.Own, $"--regex is given, but --task is '{Lower(form)}'; use --task own.");
        return form switch
        {
            Form.Choice => Asked.Choice(prompt, choices),
            Form.Own => Asked.Own(prompt, regex, verifier),
            _ => Asked.Number(Lower(form), prompt, marked: form == Form.Words),
        };
    }

    private static VerifierCommand? Verifier(string? command, Form form, string policy, float seconds)
    {
        Require(command is not null || policy != "first-verified", "--policy is 'first-verified', but there is no verifier; give one with --verifier, or use first-clean.");
        if (command is null)
            return null;
        Require(form == Form.Own, $"--verifier is given, but --task is '{Lower(form)}'; use --task own.");
        var parts = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Require(parts.Length > 0, "--verifier is empty, but must name a program; leave it out where there is none.");
        return new VerifierCommand(parts, TimeSpan.FromSeconds(seconds), Patience);
    }

    // Of a model that is not there yet only the file is known.
    private static Rung Rung(string? model, Func<OpenRung> open)
    {
        var file = FileOf(model);
        return new Rung(Path.GetFileNameWithoutExtension(file.Name), file.Length, () =>
        {
            var opened = open();
            return opened with { Owned = [opened.Model, .. opened.Owned] };
        });
    }

    private static OpenRung Opened(ErgonModel model, EnergyMonitor? monitor, IReadOnlyList<IDisposable> owned) =>
        new(model, Metering(monitor), owned, DecodeCost.Of(model, CalibrationStore.OfUser(), new SystemFiles()));

    private static FileInfo FileOf(string? model) => new(ModelStore.OfUser().Resolve(model ?? ModelStore.DefaultModel));

    private static Metering? Metering(EnergyMonitor? monitor) => monitor is null ? null : monitor.Open;

    private static async Task<int> ChooseAsync(Terminal terminal, bool isJson, ErgonModel model, IReasoningTask asked, EnergyMonitor? monitor, CancellationToken cancellation)
    {
        var began = Stopwatch.GetTimestamp();
        var request = monitor?.Begin();
        var (answer, shares) = await MultipleChoice.ChooseAsync(asked.Problems[0], model, [], cancellation);
        var receipt = request is null ? null : await monitor!.EndAsync(request, tokens: 0);
        var result = SolveReport.OfChoice(asked.Problems[0], answer, shares, receipt, model, Stopwatch.GetElapsedTime(began));
        if (isJson)
            CliJson.Write(terminal.Out, result);
        else
            result.Print(terminal.Out);
        return Exit.Ok;
    }

    private static string Lower(Form form) => form.ToString().ToLowerInvariant();

    private static void Require(bool condition, string problem)
    {
        if (!condition)
            throw new ErgonException(problem);
    }
}
