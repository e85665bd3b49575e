using System.CommandLine;
using Ergon.Cli.Bench;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Runtime.Workers;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon dev</c>: tools for working on Ergon itself; not on the help page.</summary>
internal static class DevCommand
{
    private const int ProbeContext = 64;
    private const int ProbeTokens = 2;

    public static Verb Create(Terminal terminal) => new("dev", "Tools for working on Ergon itself", "ls *.gguf | ergon dev probe")
    {
        CreateWorker(), WorkerBench.Create(terminal), PipelineBench.Create(terminal), CutsBench.Create(terminal), ClockCommands.CreateWatchdog(terminal), ClockCommands.CreateHold(terminal),
        // Native code may end the process on a bad file: the benchmark that mutates files watches this one from outside.
        CreateProbe(terminal),
        TrialCommand.Create(),
        RandomModelCommand.Create(terminal),
        CatalogueCheck.Create(terminal),
        CertificatesCommand.Create(terminal), CertifiedCommand.Create(terminal),
        PoliciesCommand.Create(terminal),
        DrawsBench.Create(terminal), LawsBench.Create(terminal), CoverageBench.Create(terminal),
        EscalationBench.Create(terminal),
        FirstToken.CreateVerb(terminal),
        PlanBench.CreateVerb(terminal),
        Qeil.CreateVerb(terminal),
    };

    private static Verb CreateProbe(Terminal terminal)
    {
        var engine = Settings.Choice<EngineChoice>("--engine", "What computes the models [default: ergon]");
        return new Verb("probe", "Read model paths from stdin, run or embed two tokens with each, print ok, refused or bug", "ls *.gguf | ergon dev probe")
        { engine }.Does(async (parsed, cancellation) =>
        {
            while (await terminal.In.ReadLineAsync(cancellation) is { } path)
            {
                await terminal.Out.WriteLineAsync(await ProbeAsync(path, parsed.GetValue(engine) ?? EngineChoice.Ergon, cancellation));
                await terminal.Out.FlushAsync(cancellation);
            }
            return Exit.Ok;
        });
    }

    // The process that a WorkerHost starts: bytes on stdin and stdout, so nothing else may use the two.
    private static Verb CreateWorker()
    {
        var faults = new Option<bool>("--faults") { Description = "Obey requests to fail, for tests" };
        var worker = new Verb("worker", "Serve a model to the process that holds stdin and stdout", "ergon dev worker")
        {
            faults,
        };
        return worker.Does(async (parsed, _) =>
        {
            // Ctrl-C reaches the whole process group: the host decides, and closing stdin is its word.
            await using var input = Console.OpenStandardInput();
            await using var output = Console.OpenStandardOutput();
            await Worker.RunAsync(input, output, parsed.GetValue(faults));
            return Exit.Ok;
        });
    }

    private static async Task<string> ProbeAsync(string path, EngineChoice engine, CancellationToken cancellation)
    {
        try
        {
            if (engine == EngineChoice.Ergon && ModelDescription.Read(GgufFile.Open(path)).IsEncoder)
            {
                using var encoder = EmbeddingModel.Load(path, new EmbeddingOptions { Threads = 1 }, cancellation);
                await encoder.EmbedTokensAsync([[0, 0]], cancellation);
                return "ok";
            }
            using var model = ErgonModel.Load(path, new ModelOptions { Engine = engine, TrialCommand = TrialCommand.Line(), Threads = 1, ContextLength = ProbeContext }, cancellation);
            using var session = model.CreateSession();
            await foreach (var _ in session.GenerateAsync([0], new GenerationOptions { MaxTokens = ProbeTokens, IgnoreEndOfGeneration = true }, cancellation))
            {
            }
            return "ok";
        }
        catch (ErgonException e)
        {
            return $"refused: {e.Message.ReplaceLineEndings(" ")}";
        }
#pragma warning disable CA1031 // what the probe is for
        catch (Exception e) when (!cancellation.IsCancellationRequested)
#pragma warning restore CA1031
        {
            return $"bug: {e.GetType().Name} {e.Message.ReplaceLineEndings(" ")}";
        }
    }
}
