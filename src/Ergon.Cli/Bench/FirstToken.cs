using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Ergon.Cli.Commands;
using Ergon.Inference;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Cli.Bench;

/// <summary>What a fresh process takes to its first token: this executable runs itself.</summary>
/// <param name="Elapsed">From the start of the process to the token.</param>
/// <param name="ResidentBytes">Of the process, with the token in hand.</param>
internal readonly record struct FirstToken(TimeSpan Elapsed, long ResidentBytes)
{
    private const string Name = "first-token";
    private const int PromptLength = 32, Context = 1024;

    /// <summary>Runs a child process to its first token.</summary>
    /// <param name="path">The model.</param>
    /// <param name="threads">CPU threads.</param>
    /// <param name="engine">What computes it in Ergon.</param>
    /// <param name="libllama">Whether libllama does it alone, without Ergon.</param>
    /// <param name="cancellation">Kills it.</param>
    public static async Task<FirstToken> OfChildAsync(string path, int threads, EngineChoice engine, bool libllama, CancellationToken cancellation)
    {
        var self = Self.Command();
        string[] arguments = [.. self[1..], "dev", Name, path, "--threads", threads.ToString(CultureInfo.InvariantCulture), .. libllama ? ["--libllama"] : (string[])["--engine", engine.ToString()]];
        var began = Stopwatch.GetTimestamp();
        using var process = Process.Start(new ProcessStartInfo(self[0], arguments) { RedirectStandardOutput = true })!;
        try
        {
            var line = await process.StandardOutput.ReadLineAsync(cancellation);
            var elapsed = Stopwatch.GetElapsedTime(began);
            await process.WaitForExitAsync(cancellation);
            return process.ExitCode == 0 && long.TryParse(line, CultureInfo.InvariantCulture, out var resident)
                ? new FirstToken(elapsed, resident)
                : throw new ErgonException($"The child process that measures the time to the first token of {(libllama ? "libllama" : "Ergon")} failed with exit code {process.ExitCode}; what it said stands above.");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    /// <summary><c>ergon dev first-token</c>: the child's side.</summary>
    public static Verb CreateVerb(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path" };
        var threads = Settings.Whole("--threads", "-t", "CPU threads", 1, 512);
        threads.Required = true;
        var libllama = new Option<bool>("--libllama") { Description = "Let libllama do it" };
        var engine = Settings.Choice<EngineChoice>("--engine", "What computes it in Ergon");
        return new Verb(Name, "Load a model, compute a prompt of 32 tokens, print the resident bytes with the first token and stop", "ergon dev first-token model.gguf --threads 4")
        { model, threads, libllama, engine }.Does(async (parsed, cancellation) =>
        {
            var (path, count) = (parsed.GetValue(model)!, parsed.GetValue(threads)!.Value);
            int[] prompt = [.. Enumerable.Range(1, PromptLength)];
            if (parsed.GetValue(libllama))
                WithLibllama(path, count, prompt, Print);
            else
                await WithErgonAsync(path, count, parsed.GetValue(engine) ?? EngineChoice.Ergon, prompt, Print, cancellation);
            return Exit.Ok;
        });

        void Print() => terminal.Out.WriteLine(Environment.WorkingSet.ToString(CultureInfo.InvariantCulture));
    }

    private static async Task WithErgonAsync(string path, int threads, EngineChoice engine, int[] prompt, Action print, CancellationToken cancellation)
    {
        using var model = ErgonModel.Load(path, new ModelOptions { Engine = engine, TrialCommand = TrialCommand.Line(), Device = "CPU", Threads = threads, ContextLength = Context }, cancellation);
        using var session = model.CreateSession();
        await foreach (var _ in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = 1, IgnoreEndOfGeneration = true }, cancellation))
            print();
    }

    private static void WithLibllama(string path, int threads, int[] prompt, Action print)
    {
        using var backend = new Backend(NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu), threads);
        using var model = LlamaModel.Load(path, vocabularyOnly: false);
        using var context = new LlamaContext(model, Context, threads, backend);
        var logits = new float[model.Vocabulary.Count];
        context.Decode(prompt, 0, [prompt.Length - 1], logits);
        if (TokenSampler.IndexOfMax(logits) >= 0)
            print();
    }
}
