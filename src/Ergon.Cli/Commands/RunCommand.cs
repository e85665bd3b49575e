using System.CommandLine;
using System.Globalization;
using System.Text;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon run</c>: one prompt, one answer.</summary>
internal static class RunCommand
{
    /// <summary>How the two arguments are written: the first may be left out.</summary>
    public const string Arguments = "[MODEL] PROMPT";

    public static Verb Create(Terminal terminal)
    {
        var words = new Argument<string[]>(Arguments)
        {
            Description = "A model (a path, a pulled name; default: the embedded words-l) and what to say to it; - reads the prompt from stdin",
            Arity = new ArgumentArity(0, 2),
        };
        var file = Settings.Text("--file", "FILE", "Read the prompt from a file");
        var system = Settings.Text("--system", "TEXT", "System message before the prompt");
        var raw = new Option<bool>("--raw") { Description = "Continue the prompt as it is, without the model's chat template" };
        var json = Settings.Json();
        var sampling = new SamplingSettings(temperature: 0);
        var engine = new EngineSettings();
        var receipts = new Receipts();

        var verb = new Verb("run", "Answer one prompt",
            "ergon run \"Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?\"",
            "ergon run model.gguf --temp 0.8 --seed 1 -n 200 \"Write a haiku about rain.\"",
            "ergon run Llama-3.2-1B --system \"Answer in French.\" --file question.txt",
            "ergon run stories.gguf --raw \"Once upon a time\"",
            "ergon run Llama-3.2-1B --json --json-schema @person.json - < letter.txt")
        { words, file, system, raw, json };
        sampling.AddTo(verb);
        engine.AddWithPlanTo(verb);
        receipts.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var (model, prompt) = Split(parsed.GetValue(words)!, parsed.GetValue(file), terminal);
            var isRaw = parsed.GetValue(raw);
            if (isRaw && parsed.GetValue(system) is not null)
                throw new ErgonException("--system needs the chat template that --raw leaves out; give one of the two.");
            var options = sampling.Read(parsed);
            using var monitor = receipts.Monitor(parsed);
            using var status = Receipts.Status(monitor, terminal);
            using var loaded = engine.Load(parsed, terminal, model, sessions: 1, defaultContext: null, cancellation, monitor);
            var tokens = Tokens(loaded, prompt, parsed.GetValue(system), isRaw, terminal);

            using var session = loaded.CreateSession();
            var isJson = parsed.GetValue(json);
            var answer = new StringBuilder();
            var request = monitor?.Begin(session);
            try
            {
                await foreach (var token in session.GenerateAsync(tokens, options, cancellation))
                {
                    answer.Append(token.Text);
                    if (!isJson)
                        terminal.Out.Write(token.Text);
                }
            }
            catch (OperationCanceledException) when (session.Statistics is not null)
            {
                // What was said and counted until Ctrl-C is still of use.
            }
            var statistics = session.Statistics!;
            var receipt = request is null ? null : await monitor!.EndAsync(request, statistics.CompletionTokens);
            if (isJson)
                CliJson.Write(terminal.Out, Result(answer.ToString(), statistics, loaded, receipt));
            else if (answer.Length == 0 || answer[^1] != '\n')
                terminal.Out.WriteLine();
            terminal.Error.WriteLine(Summary(statistics));
            if (receipt is not null)
                terminal.Error.WriteLine(Receipts.Line(receipt));
            return statistics.FinishReason == FinishReason.Cancelled ? Exit.Interrupted : Exit.Ok;
        });
    }

    /// <summary>One line on what an answer took.</summary>
    public static string Summary(GenerationStatistics s) => string.Create(CultureInfo.InvariantCulture,
        $"{Amount.Count(s.PromptTokens, "prompt token")}{(s.ReusedTokens > 0 ? $" ({s.ReusedTokens} reused)" : "")} at {s.PromptTokensPerSecond:F0}/s, {Amount.Count(s.CompletionTokens, "token")} at {s.TokensPerSecond:F1}/s{(s.TimeToFirstToken is { } first ? $", the first after {first.TotalMilliseconds:F0} ms" : "")}{Ending(s.FinishReason)}");

    private static string Ending(FinishReason reason) => reason switch
    {
        FinishReason.Length => "; the limit of tokens ended the answer",
        FinishReason.Cancelled => "; interrupted",
        _ => "",
    };

    private static RunResult Result(string text, GenerationStatistics s, ErgonModel model, Receipt? receipt) => new(
        text, s.FinishReason.ToString().ToLowerInvariant(),
        new Usage(s.PromptTokens, s.CompletionTokens),
        new Timings(Rounded(model.LoadTime.TotalMilliseconds), Rounded(s.PromptTokensPerSecond), Rounded(s.TokensPerSecond), s.TimeToFirstToken is { } first ? Rounded(first.TotalMilliseconds) : null),
        model.Devices, EngineSettings.NameOf(model.Engine), receipt is null ? null : Receipts.Json(receipt));

    private static double Rounded(double value) => Math.Round(value, 3);

    /// <summary>The model, if one is named, and the prompt.</summary>
    /// <exception cref="ErgonException">There is no prompt, or two.</exception>
    internal static (string? Model, string Prompt) Split(string[] words, string? file, Terminal terminal)
    {
        if (file is not null)
        {
            return words.Length < 2
                ? (words.FirstOrDefault(), TextInput.ReadFile(file, "--file"))
                : throw new ErgonException("--file gives the prompt, and so does the command line; leave one out.");
        }
        if (words is [var only] && (only.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) || ModelStore.OfUser().List().Any(m => m.IsNamed(only))))
            throw new ErgonException($"'{only}' names a model, but there is no prompt; add one, or - to read it from stdin.");
        var (model, prompt) = words switch
        {
            [] => throw new ErgonException("there is no prompt; give one in quotes, - to read it from stdin, or --file FILE."),
            [var text] => (null, text),
            _ => (words[0], words[1]),
        };
        return (model, prompt == "-" ? terminal.In.ReadToEnd() : prompt);
    }

    private static int[] Tokens(ErgonModel model, string prompt, string? system, bool raw, Terminal terminal)
    {
        if (!raw && model.ChatTemplate is not null)
        {
            var conversation = new Conversation(model, system);
            conversation.Add("user", prompt);
            return conversation.Tokens();
        }
        if (system is not null)
            throw new ErgonException("--system needs a chat template, and this model has none; put the text into the prompt.");
        if (!raw)
            terminal.Error.WriteLine("The model has no chat template: it continues the prompt as it is (--raw).");
        return model.Tokenizer.Tokenize(prompt, addSpecial: true, parseSpecial: true);
    }
}
