using System.CommandLine;
using System.Globalization;
using Ergon.Models.Store;
using Spectre.Console;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon pull</c>: fetches a model into the cache folder.</summary>
internal static class PullCommand
{
    public static Verb Create(Terminal terminal)
    {
        var source = new Argument<string>("SOURCE") { Description = "https://host/file.gguf, or hf:owner/repo[:QUANT] on Hugging Face (default: Q4_K_M, then Q8_0)" };
        var json = Settings.Json();
        return new Verb("pull", "Fetch a model; goes on where an earlier pull stopped",
            "ergon pull hf:bartowski/Llama-3.2-1B-Instruct-GGUF",
            "ergon pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0",
            "ergon pull https://example.org/models/tiny.gguf",
            "HF_TOKEN=... ergon pull hf:owner/private-repo")
        { source, json }.Does(async (parsed, cancellation) =>
        {
            var store = ModelStore.OfUser();
            var pulled = await WithProgressAsync(terminal, progress => store.PullAsync(parsed.GetValue(source)!, progress, cancellation));
            var model = pulled.Model;
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new PullResult(model.Name, model.Path, model.Size, model.Provenance?.Sha256, pulled.WasPresent));
            else
                terminal.Out.WriteLine($"{model.Name} ({Amount.Bytes(model.Size)}) {(pulled.WasPresent ? "is here already" : "is here")}: {model.Path}");
            return Exit.Ok;
        });
    }

    private static async Task<PulledModel> WithProgressAsync(Terminal terminal, Func<IProgress<PullProgress>, Task<PulledModel>> pull)
    {
        if (!terminal.CanRedraw)
            return await pull(new Lines(terminal.Error));
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal.Error) });
        return await console.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(context => pull(new Bars(context)));
    }

    private static string Title(PullProgress p) => p.Count == 1 ? p.File : $"{p.File} ({p.Number} of {p.Count})";

    private sealed class Bars(ProgressContext context) : IProgress<PullProgress>
    {
        private readonly Dictionary<int, ProgressTask> _tasks = [];

        public void Report(PullProgress value)
        {
            if (!_tasks.TryGetValue(value.Number, out var task))
                _tasks[value.Number] = task = context.AddTask(Markup.Escape(Title(value)));
            task.IsIndeterminate = value.Total is null;
            task.MaxValue = value.Total ?? double.MaxValue;
            task.Value = value.Received;
        }
    }

    /// <summary>For logs: a line for each further tenth.</summary>
    private sealed class Lines(TextWriter output) : IProgress<PullProgress>
    {
        private (int Number, long Tenth) _last;

        public void Report(PullProgress value)
        {
            var now = (value.Number, value.Received * 10 / Math.Max(1, value.Total ?? long.MaxValue));
            if (now == _last)
                return;
            _last = now;
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Title(value)}: {now.Item2 * 10} % of {Amount.Bytes(value.Total ?? 0)}"));
        }
    }
}
