using System.Diagnostics;
using Ergon.Cli;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Runtime.Workers;
using Ergon.Tests.Inference;

namespace Ergon.Tests.Runtime;

public sealed class WorkerHostTests : IDisposable
{
    private const int Length = 150;

    private static readonly GenerationOptions Greedy = new() { MaxTokens = Length, IgnoreEndOfGeneration = true };
    private static readonly GenerationOptions Seeded = Greedy with { Sampling = new() { Temperature = 1.3f, Seed = 7, Xtc = new(0.3f), RepeatPenalty = 1.1f } };

    private readonly TemporaryFolder _folder = new();
    private readonly string _path;
    private readonly WorkerHost _host;

    public WorkerHostTests()
    {
        // Slow enough that a kill meets it in the middle.
        _path = new RandomModel("llama", GgmlType.F32) { Layers = 6, Embedding = 512, FeedForward = 1024, Heads = 8 }.Write(_folder.Path);
        _host = StartAsync().GetAwaiter().GetResult();
    }

    private Task<WorkerHost> StartAsync(TimeSpan? deadline = null, int maxRestarts = 3) => WorkerHost.StartAsync(_path,
        new ModelOptions { Threads = 1, ContextLength = 256, MaxSequences = 3 },
        new WorkerOptions { Command = ["dotnet", typeof(CommandLine).Assembly.Location, "dev", "worker", "--faults"], Deadline = deadline ?? TimeSpan.FromMinutes(1), MaxRestarts = maxRestarts });

    public static TheoryData<string> Choices() => ["greedy", "seeded", "grammar", "mirostat"];

    private static GenerationOptions Options(string choice) => choice switch
    {
        "greedy" => Greedy,
        "seeded" => Seeded,
        "grammar" => Seeded with { Sampling = Seeded.Sampling with { Grammar = "root ::= [a-z ]+" } },
        _ => Seeded with { Sampling = Seeded.Sampling with { Mirostat = new() } },
    };

    [Theory]
    [MemberData(nameof(Choices))]
    public async Task A_worker_killed_several_times_gives_the_tokens_and_text_of_the_undisturbed_run(string choice)
    {
        var expected = await UndisturbedAsync(Options(choice));
        using var session = _host.CreateSession();
        await UntilMetInTheMiddleAsync(async () =>
        {
            var given = await RunAsync(session, Options(choice), async count =>
            {
                if (count is 10 or 60 or 61 or 120)
                    await KillAsync();
            });
            Assert.Equal(expected, given);
            return session.Statistics!.Restarts;
        });
        Assert.InRange(session.Statistics!.Restarts, 1, 4);
        Assert.True(_host.Restarts >= session.Statistics.Restarts);
        Assert.Equal(Length, session.Statistics.Generation.CompletionTokens);
        Assert.True(session.Statistics.TimeLost > TimeSpan.Zero);
        Assert.InRange(_host.LastRestart, TimeSpan.Zero, TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task A_failed_assertion_in_native_code_costs_time_and_no_answer()
    {
        using var session = _host.CreateSession();
        var expected = await UndisturbedAsync(Seeded);
        await UntilMetInTheMiddleAsync(async () =>
        {
            var given = await RunAsync(session, Seeded, count =>
            {
                if (count is 30 or 90)
                    _host.Inject(WorkerFault.Assert);
                return Task.CompletedTask;
            });
            Assert.Equal(expected, given);
            return session.Statistics!.Restarts;
        });
    }

    [Fact]
    public async Task Log_probabilities_cross_and_add_up_whatever_becomes_of_the_worker()
    {
        var options = Seeded with { LogProbabilities = true };
        List<GeneratedToken> expected = [];
        using var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1, ContextLength = 256 });
        using var here = model.CreateSession();
        await foreach (var token in here.GenerateAsync(Prompt, options))
            expected.Add(token);
        using var session = _host.CreateSession();
        Assert.Equal(0, await AgainAsync());
        // Undisturbed, the very figures.
        Assert.Equal(here.Statistics!.LogProbability, session.Statistics!.Generation.LogProbability);
        await UntilMetInTheMiddleAsync(() => AgainAsync(30, 90));

        async Task<int> AgainAsync(params int[] kills)
        {
            List<GeneratedToken> given = [];
            await foreach (var token in session.GenerateAsync(Prompt, options))
            {
                given.Add(token);
                if (kills.Contains(given.Count))
                    await KillAsync();
            }
            Assert.Equal(expected.Select(t => (t.Id, t.LogProbability is null)), given.Select(t => (t.Id, t.LogProbability is null)));
            // What another worker computed again may round otherwise.
            Assert.All(expected.Zip(given), x => Assert.Equal(x.First.LogProbability ?? 0, x.Second.LogProbability ?? 0, 1e-3));
            Assert.Equal(given.Sum(t => (double)(t.LogProbability ?? 0)), session.Statistics!.Generation.LogProbability!.Value, 1e-3);
            return session.Statistics.Restarts;
        }
    }

    [Fact]
    public async Task A_stop_of_the_hosts_ends_what_the_reader_gets()
    {
        var whole = await UndisturbedAsync(Greedy);
        using var session = _host.CreateSession();
        var count = 0;
        var given = await RunAsync(session, Greedy with { StopWhen = _ => ++count == 12 });
        Assert.Equal(whole.Tokens[..12], given.Tokens);
        Assert.Equal(FinishReason.Stop, session.Statistics!.Generation.FinishReason);
        // The worker had gone on, which is counted; the session goes on from what it has.
        Assert.InRange(session.Statistics.Generation.CompletionTokens, 12, Length - 1);
        Assert.Equal(whole, await RunAsync(session, Greedy));
    }

    [Fact]
    public async Task Sessions_beside_each_other_all_survive()
    {
        var expected = await UndisturbedAsync(Greedy);
        var sessions = Enumerable.Range(0, 3).Select(_ => _host.CreateSession()).ToArray();
        await UntilMetInTheMiddleAsync(async () =>
        {
            var given = await Task.WhenAll(sessions.Select((session, i) => RunAsync(session, Greedy, async count =>
            {
                if (count == 40 && i == 1)
                    await KillAsync();
            })));
            Assert.All(given, answer => Assert.Equal(expected, answer));
            return sessions.Max(s => s.Statistics!.Restarts);
        });
        // The next prompt of a session whose worker is gone is computed anew, and right.
        Assert.Equal(expected, await RunAsync(sessions[0], Greedy));
    }

    [Fact]
    public async Task An_engine_that_hangs_is_replaced_after_the_deadline()
    {
        await using var host = await StartAsync(TimeSpan.FromSeconds(2));
        using var session = host.CreateSession();
        var expected = await UndisturbedAsync(Greedy);
        await UntilMetInTheMiddleAsync(async () =>
        {
            var given = await RunAsync(session, Greedy, count =>
            {
                if (count == 50)
                    host.Inject(WorkerFault.Hang);
                return Task.CompletedTask;
            });
            Assert.Equal(expected, given);
            return session.Statistics!.Restarts;
        });
    }

    [Fact]
    public async Task Death_after_death_without_a_token_is_one_clear_error_and_the_host_goes_on()
    {
        await using var host = await StartAsync(maxRestarts: 0);
        using var session = host.CreateSession();
        var error = await Assert.ThrowsAsync<UnavailableException>(() => RunAsync(session, Greedy, count =>
        {
            if (count == 1)
                host.Inject(WorkerFault.Assert);
            return Task.CompletedTask;
        }));
        Assert.Contains("died 1 times in a row at token", error.Message, StringComparison.Ordinal);
        Assert.Contains("GGML_ASSERT", error.Message, StringComparison.Ordinal);
        Assert.Null(session.Statistics);
        Assert.Equal(Length, (await RunAsync(session, Greedy)).Tokens.Length);
    }

    [Fact]
    public async Task Cancelling_ends_the_generation_here_and_there()
    {
        using var session = _host.CreateSession();
        using var stop = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RunAsync(session, Greedy, count => count == 5 ? stop.CancelAsync() : Task.CompletedTask, stop.Token));
        Assert.Equal(FinishReason.Cancelled, session.Statistics!.Generation.FinishReason);
        await foreach (var _ in session.GenerateAsync(Prompt, Greedy))
            break;
        Assert.Equal(await UndisturbedAsync(Greedy), await RunAsync(session, Greedy));
    }

    [Fact]
    public async Task A_session_is_saved_and_restored_across_workers_and_into_this_process()
    {
        var expected = await UndisturbedAsync(Greedy);
        using var session = _host.CreateSession();
        await RunAsync(session, Greedy with { MaxTokens = 20 });
        await KillAsync();
        using var saved = new MemoryStream();
        await SaveAsync();

        using var restored = await _host.RestoreSessionAsync(new MemoryStream(saved.ToArray()));
        Assert.Equal(expected, await RunAsync(restored, Greedy));
        Assert.Equal(Prompt.Length - 1, restored.Statistics!.Generation.ReusedTokens);
        using var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1, ContextLength = 256 });
        using var here = await model.RestoreSessionAsync(new MemoryStream(saved.ToArray()));
        Assert.Equal(Prompt.Length + 20, here.Tokens.Count);
        var error = await Assert.ThrowsAsync<ErgonException>(() => _host.RestoreSessionAsync(new MemoryStream(saved.ToArray()[..5000])));
        Assert.Contains("ends too early", error.Message, StringComparison.Ordinal);

        // The kill may be noticed only now, and then the transfer says so.
        async Task SaveAsync()
        {
            for (var attempt = 0; ; attempt++)
            {
                try
                {
                    saved.SetLength(0);
                    await session.SaveAsync(saved);
                    return;
                }
                catch (UnavailableException) when (attempt < 2)
                {
                }
            }
        }
    }

    [Fact]
    public async Task Bad_input_is_the_sentence_that_a_session_in_process_says()
    {
        using var session = _host.CreateSession();
        await Says("prompt is empty", [], Greedy);
        await Says("Token id 320", [320], Greedy);
        await Says("300 tokens, but the context holds 256", new int[300], Greedy);
        await Says("number of tokens is 0", [1], Greedy with { MaxTokens = 0 });
        await Says("grammar cannot be used", [1], Greedy with { Sampling = new() { Grammar = "root ::= (" } });
        Assert.Equal(0, _host.Restarts);
        var missing = await Assert.ThrowsAnyAsync<ErgonException>(() => WorkerHost.StartAsync("absent.gguf", new(), new WorkerOptions { Command = ["dotnet", typeof(CommandLine).Assembly.Location, "dev", "worker"] }));
        Assert.Contains("absent.gguf", missing.Message, StringComparison.Ordinal);
        var stranger = await Assert.ThrowsAnyAsync<ErgonException>(() => WorkerHost.StartAsync(_path, new(), new WorkerOptions { Command = ["/nowhere/ergon"] }));
        Assert.Contains("cannot be started", stranger.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<WorkerDiedException>(() => WorkerHost.StartAsync(_path, new(), new WorkerOptions { Command = ["false"] }));

        async Task Says(string part, int[] prompt, GenerationOptions options) => Assert.Contains(part, (await Assert.ThrowsAnyAsync<ErgonException>(async () =>
        {
            await foreach (var _ in session.GenerateAsync(prompt, options))
            {
            }
        })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Disposing_the_host_ends_what_runs_and_the_process()
    {
        var host = await StartAsync();
        var process = Process.GetProcessById(host.ProcessId!.Value);
        using var session = host.CreateSession();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => RunAsync(session, Greedy, async count =>
        {
            if (count == 3)
                await host.DisposeAsync();
        }));
        Assert.True(process.WaitForExit(TimeSpan.FromSeconds(10)));
        Assert.Throws<ObjectDisposedException>(() => host.CreateSession());
    }

    // A worker may be done before a fault reaches it; then the run says nothing, and another is made.
    private static async Task UntilMetInTheMiddleAsync(Func<Task<int>> run)
    {
        for (var attempt = 0; attempt < 20; attempt++)
        {
            if (await run() > 0)
                return;
        }
        Assert.Fail("No fault met a generation in the middle.");
    }

    private static int[] Prompt { get; } = [.. Enumerable.Range(0, 60).Select(i => 60 + (i * 7 % 50))];

    private async Task<Answer> UndisturbedAsync(GenerationOptions options)
    {
        using var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1, ContextLength = 256 });
        using var session = model.CreateSession();
        var answer = new Answer();
        await foreach (var token in session.GenerateAsync(Prompt, options))
            answer.Add(token);
        return answer;
    }

    private static async Task<Answer> RunAsync(WorkerSession session, GenerationOptions options, Func<int, Task>? onToken = null, CancellationToken cancellation = default)
    {
        var answer = new Answer();
        await foreach (var token in session.GenerateAsync(Prompt, options, cancellation))
        {
            answer.Add(token);
            if (onToken is not null)
                await onToken(answer.Tokens.Length);
        }
        return answer;
    }

    private async Task KillAsync()
    {
        // Until there is one to kill.
        int? id;
        while ((id = _host.ProcessId) is null)
            await Task.Delay(5);
        Process.GetProcessById(id.Value).Kill();
    }

    private sealed class Answer : IEquatable<Answer>
    {
        private readonly System.Text.StringBuilder _text = new();

        public int[] Tokens { get; private set; } = [];

        public void Add(GeneratedToken token)
        {
            _text.Append(token.Text);
            if (token.Id >= 0)
                Tokens = [.. Tokens, token.Id];
        }

        public bool Equals(Answer? other) => other is not null && Tokens.SequenceEqual(other.Tokens) && _text.Equals(other._text);

        public override bool Equals(object? obj) => Equals(obj as Answer);

        public override int GetHashCode() => Tokens.Length;

        public override string ToString() => $"{string.Join(' ', Tokens)} {_text}";
    }

    public void Dispose()
    {
        _host.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _folder.Dispose();
    }
}
