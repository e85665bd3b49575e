using System.CommandLine;
using System.Text;
using Ergon.Inference;
using Ergon.Runtime;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon chat</c>: a conversation, whose earlier turns stay in the cache.</summary>
internal static class ChatCommand
{
    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string?>("MODEL") { Description = "A path or a pulled name [default: the embedded words-l]", Arity = ArgumentArity.ZeroOrOne };
        var system = Settings.Text("--system", "TEXT", "System message before the conversation");
        var sampling = new SamplingSettings(temperature: 0.7f);
        var engine = new EngineSettings();
        var receipts = new Receipts();
        var verb = new Verb("chat", "Talk with a model: one message a line; /clear starts over, /exit or Ctrl-D ends",
            "ergon chat", "ergon chat Llama-3.2-1B --system \"You are brief.\"", "printf 'Hello.\\nAnd in French?\\n' | ergon chat Llama-3.2-1B --temp 0")
        { model, system };
        sampling.AddTo(verb);
        engine.AddWithPlanTo(verb);
        receipts.AddTo(verb);
        return verb.Does(async (parsed, cancellation) =>
        {
            var options = sampling.Read(parsed);
            using var monitor = receipts.Monitor(parsed);
            using var status = Receipts.Status(monitor, terminal);
            using var loaded = engine.Load(parsed, terminal, parsed.GetValue(model), sessions: 1, defaultContext: null, cancellation, monitor);
            if (loaded.ChatTemplate is null)
                throw new ErgonException("This model has no chat template, so it cannot converse; use 'ergon run MODEL --raw PROMPT'.");
            using var session = loaded.CreateSession();
            var conversation = new Conversation(loaded, parsed.GetValue(system));
            while (await ReadAsync(terminal, cancellation) is { } line)
            {
                if (line is "/exit")
                    break;
                if (line is "/clear")
                    conversation.Clear();
                else if (line.Length > 0)
                    await AnswerAsync(terminal, session, conversation, line, options, monitor);
            }
            return Exit.Ok;
        });
    }

    private static async Task<string?> ReadAsync(Terminal terminal, CancellationToken cancellation)
    {
        if (!terminal.IsInteractive)
            return await terminal.In.ReadLineAsync(cancellation);
        terminal.Interrupt.Disarm();
        await terminal.Error.WriteAsync("> ");
        return await terminal.In.ReadLineAsync(CancellationToken.None);
    }

    private static async Task AnswerAsync(Terminal terminal, Session session, Conversation conversation, string message, GenerationOptions options, EnergyMonitor? monitor)
    {
        conversation.Add("user", message);
        // At the keyboard Ctrl-C ends this answer; in a pipe it ends the command.
        var cancellation = terminal.IsInteractive ? terminal.Interrupt.Renew() : terminal.Interrupt.Token;
        var answer = new StringBuilder();
        var request = monitor?.Begin(session);
        try
        {
            await foreach (var token in session.GenerateAsync(conversation.Tokens(), options, cancellation))
            {
                answer.Append(token.Text);
                await terminal.Out.WriteAsync(token.Text);
            }
        }
        catch (OperationCanceledException) when (terminal.IsInteractive)
        {
            // The part that was said stays part of the conversation.
        }
        catch (ErgonException e) when (terminal.IsInteractive)
        {
            // Mostly a full context: the conversation goes on without this message.
            conversation.RemoveLast();
            if (request is not null)
                await monitor!.EndAsync(request, tokens: 0);
            await terminal.Error.WriteLineAsync($"ergon: {e.Message} (/clear starts over)");
            return;
        }
        conversation.Add("assistant", answer.ToString());
        await terminal.Out.WriteLineAsync();
        if (session.Statistics is { } statistics)
            await terminal.Error.WriteLineAsync(RunCommand.Summary(statistics));
        if (request is not null)
            await terminal.Error.WriteLineAsync(Receipts.Line(await monitor!.EndAsync(request, session.Statistics?.CompletionTokens ?? 0)));
    }
}
