using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using Ergon.Cli.Commands;
using Ergon.Native;

namespace Ergon.Cli;

/// <summary>The <c>ergon</c> command: its verbs, and what becomes of errors.</summary>
internal static class CommandLine
{
    /// <summary>Runs one command line.</summary>
    /// <returns>One of <see cref="Exit"/>'s codes.</returns>
    public static async Task<int> RunAsync(string[] args, Terminal terminal)
    {
        try
        {
            // A prompt may begin with @: no word names a file of further words.
            var parsed = Root(terminal).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
            if (parsed.Action is not Help && Problem(parsed) is { } problem)
                return Report(terminal, Exit.BadInput, problem);
            return await parsed.InvokeAsync(
                new InvocationConfiguration { Output = terminal.Out, Error = terminal.Error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null },
                terminal.Interrupt.Token);
        }
        catch (OperationCanceledException) when (terminal.Interrupt.Token.IsCancellationRequested)
        {
            return Exit.Interrupted;
        }
        catch (Exception e) when (e is NativeException or UnavailableException)
        {
            return Report(terminal, Exit.Failure, e.Message, e);
        }
        catch (ErgonException e)
        {
            return Report(terminal, Exit.BadInput, e.Message, e);
        }
#pragma warning disable CA1031 // the last resort: a person gets a sentence, not a stack trace
        catch (Exception e)
#pragma warning restore CA1031
        {
            return Report(terminal, Exit.Failure, $"this is an error of Ergon's own ({e.GetType().Name}: {e.Message}); please report the command and what ERGON_DEBUG=1 shows for it.", e);
        }
    }

    /// <summary>All verbs, in the order of the help page.</summary>
    internal static Verb Root(Terminal terminal)
    {
        var help = new HelpOption();
        var page = new Help((HelpAction)help.Action!);
        help.Action = page;
        var dev = DevCommand.Create(terminal);
        dev.Hidden = true;
        return new Verb("ergon", "Ergon runs language models on your own devices.",
            "ergon run \"Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?\"",
            "ergon pull hf:bartowski/Llama-3.2-1B-Instruct-GGUF",
            "ergon chat Llama-3.2-1B")
        {
            RunCommand.Create(terminal), ChatCommand.Create(terminal), SolveCommand.Create(terminal),
            PullCommand.Create(terminal), ListCommand.Create(terminal), RemoveCommand.Create(terminal),
            EmbedCommand.Create(terminal), InspectCommand.Create(terminal), TokenizeCommand.Create(terminal),
            DevicesCommand.Create(terminal), PlanCommand.Create(terminal), TopCommand.Create(terminal), DoctorCommand.Create(terminal), NativesCommand.Create(terminal),
            BenchCommand.Create(terminal), PerplexityCommand.Create(terminal), EvalCommand.Create(terminal),
            dev, help, new VersionOption(),
        }.Does(page.Invoke);
    }

    // The parser takes an option that it does not know for an argument.
    private static string? UnknownOption(ParseResult parsed) => parsed.Tokens.Any(t => t.Type == TokenType.DoubleDash) ? null
        : parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(argument => argument.Tokens)
            .FirstOrDefault(token => token.Value.StartsWith("--", StringComparison.Ordinal))?.Value;

    private static string? Problem(ParseResult parsed)
    {
        var verb = parsed.CommandResult.Command;
        var path = string.Join(' ', Ancestry(parsed.CommandResult).Reverse());
        var page = $"'{path} --help'";
        if ((UnknownOption(parsed) ?? parsed.UnmatchedTokens.FirstOrDefault(t => t.StartsWith('-'))) is { } option)
            return $"there is no option '{option}' here; {page} lists them.";
        if (parsed.UnmatchedTokens is [var extra, ..])
            return verb.Subcommands.Count > 0 ? $"there is no command '{extra}'; {page} lists them." : $"'{extra}' is not expected here; {page} shows what is.";
        if (parsed.Errors is not [var error, ..])
            return null;
        // Checks of our own are sentences that name the remedy; the parser's are not.
        return error.Message.EndsWith('.') && error.Message.Contains(" but ", StringComparison.Ordinal)
            ? error.Message : $"{error.Message.TrimEnd('.')}; see {page}.";
    }

    private static IEnumerable<string> Ancestry(SymbolResult? result)
    {
        for (; result is CommandResult command; result = result.Parent)
            yield return command.Command.Name;
    }

    private static int Report(Terminal terminal, int code, string message, Exception? cause = null)
    {
        terminal.Error.WriteLine($"ergon: {message}");
        if (cause is not null && Environment.GetEnvironmentVariable("ERGON_DEBUG") is { Length: > 0 })
            terminal.Error.WriteLine(cause);
        return code;
    }

    /// <summary>The usual help page, and examples.</summary>
    private sealed class Help(HelpAction page) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            // The library writes a list of arguments as <NAME>...; ours is written as it is used.
            var output = parseResult.InvocationConfiguration.Output;
            using var text = new StringWriter();
            parseResult.InvocationConfiguration.Output = text;
            page.Invoke(parseResult);
            parseResult.InvocationConfiguration.Output = output;
            output.Write(text.ToString()
                .Replace($"[<{RunCommand.Arguments}>...]", RunCommand.Arguments, StringComparison.Ordinal)
                .Replace($"<{RunCommand.Arguments}>", RunCommand.Arguments + "  ", StringComparison.Ordinal));

            output.WriteLine("Examples:");
            foreach (var example in ((Verb)parseResult.CommandResult.Command).Examples)
                output.WriteLine("  " + example);
            output.WriteLine();
            return Exit.Ok;
        }
    }
}
