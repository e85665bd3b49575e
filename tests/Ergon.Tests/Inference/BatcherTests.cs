using System.Collections.Concurrent;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Tests.Inference;

/// <summary>Who gets which rows of which pass, and the cache's room.</summary>
public sealed class BatcherTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly ConcurrentQueue<PassReport> _passes = [];
    private readonly List<ErgonModel> _loaded = [];

    [Fact]
    public async Task A_prompt_that_finds_the_cache_full_waits_until_there_is_room()
    {
        const int positions = 1024;
        var model = Load(positions, 2, positions);
        using var first = model.CreateSession();
        using var second = model.CreateSession();
        var large = Prompt(positions - 100, 1);
        Task<int[]> waiting;
        await using (var running = first.GenerateAsync(Prompt(200, 2), Forever).GetAsyncEnumerator())
        {
            Assert.True(await running.MoveNextAsync());
            waiting = Run(second, large, 5);
            for (var i = 0; i < 50; i++)
                Assert.True(await running.MoveNextAsync());
            Assert.False(waiting.IsCompleted);
        }
        // Once the first rests, its cache gives way, and it starts over when it is used again.
        Assert.Equal(5, (await waiting).Length);
        var prompt = Prompt(200, 2);
        var alone = await Run(first, prompt, 5);
        Assert.Equal(0, first.Statistics!.ReusedTokens);
        Assert.Equal(5, (await Run(second, large, 5)).Length);
        Assert.Equal(alone, await Run(first, prompt, 5));
    }

    [Fact]
    public async Task Generations_that_outgrow_the_cache_give_way_to_each_other_and_give_the_tokens_each_gives_alone()
    {
        var model = Load(256, 4, 256);
        var prompts = Enumerable.Range(0, 4).Select(i => Prompt(40 + i, i)).ToArray();
        var sessions = prompts.Select(_ => model.CreateSession()).ToArray();
        var alone = new List<int[]>();
        foreach (var prompt in prompts)
        {
            using var session = Load(256, 1, 256).CreateSession();
            alone.Add(await Run(session, prompt, 120));
        }
        var together = await Task.WhenAll(sessions.Select((s, i) => Run(s, prompts[i], 120)));
        Assert.Equal(alone, together);
        // 640 positions do not fit in 256: somebody computed something twice.
        Assert.True(_passes.Sum(p => p.Parts.Sum(part => part.Rows)) > 2 * (prompts.Sum(p => p.Length) + (4 * 119)));
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(256, await model.InvokeAsync(e => e.Cells.Free));
    }

    [Fact]
    public async Task A_long_prompt_keeps_neither_a_short_one_nor_those_who_decode_waiting()
    {
        var model = Load(4096, 3);
        using var decoding = model.CreateSession();
        using var longer = model.CreateSession();
        using var shorter = model.CreateSession();
        await using var running = decoding.GenerateAsync(Prompt(10, 1), Forever).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        var slow = Run(longer, Prompt(4000, 2), 1);
        while (!_passes.Any(p => p.Parts.Any(part => part.Rows > 50)))
            await Task.Yield();
        _passes.Clear();
        Assert.Single(await Run(shorter, Prompt(60, 3), 1));

        Assert.False(slow.IsCompleted);
        var seen = _passes.ToArray();
        var last = Array.FindIndex(seen, p => p.Parts.Any(part => part.IsPrompt && part.Rows == 60));
        Assert.InRange(last, 0, 3);
        // Who decodes has a row in each pass, and prompts do not make the pass long.
        Assert.All(seen, p => Assert.Contains(p.Parts, part => part is { Rows: 1, IsPrompt: false }));
        Assert.All(seen, p => Assert.InRange(p.Parts.Where(part => part.IsPrompt).Sum(part => part.Rows), 0, 128));
        await slow;
    }

    [Fact]
    public async Task A_prefix_that_16_sequences_share_is_computed_once_and_stored_once()
    {
        var model = Load(1024, 18);
        var prefix = Prompt(512, 1);
        using var origin = model.CreateSession();
        await Run(origin, prefix, 1);
        var forks = new List<Session>();
        for (var i = 0; i < 16; i++)
            forks.Add(await origin.ForkAsync());
        var together = await Task.WhenAll(forks.Select((fork, i) => Run(fork, [.. prefix, .. Prompt(5, 100 + i)], 10)));
        Assert.Equal(512 + (16 * 5), _passes.Sum(p => p.Parts.Where(part => part.IsPrompt).Sum(part => part.Rows)));
        // The prefix, and of each fork its own five tokens and nine of the ten it gave.
        Assert.Equal(512 + (16 * 14), await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
        using var alone = model.CreateSession();
        Assert.Equal(together[3], await Run(alone, [.. prefix, .. Prompt(5, 103)], 10));
    }

    [Fact]
    public async Task Cancelling_ends_a_generation_within_a_pass_and_frees_what_it_had()
    {
        var model = Load(4096, 1);
        var session = model.CreateSession();
        using var stop = new CancellationTokenSource();
        var passes = 0;
        model.PassCompleted += _ =>
        {
            if (++passes == 2)
                stop.Cancel();
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Run(session, Prompt(4000, 1), 1, stop.Token));
        Assert.Equal(2, passes);
        session.Dispose();
        Assert.Equal(4096, await model.InvokeAsync(e => e.Cells.Free));
        model.CreateSession().Dispose();
    }

    [Fact]
    public async Task A_stop_ends_a_generation_with_its_token_and_no_row_is_computed_past_it()
    {
        var model = Load(1024, 2);
        using var session = model.CreateSession();
        using var other = model.CreateSession();
        var whole = await Run(session, Prompt(20, 1), 40);
        List<GeneratedToken> told = [], given = [];
        var beside = Run(other, Prompt(20, 2), 40);
        _passes.Clear();
        await foreach (var token in session.GenerateAsync(Prompt(20, 1), Forever with { StopWhen = Told }))
            given.Add(token);
        Assert.Equal(whole[..15], given.Where(t => t.Id >= 0).Select(t => t.Id));
        Assert.Equal(told, given.Where(t => t.Id >= 0));
        Assert.Equal((15, FinishReason.Stop), (session.Statistics!.CompletionTokens, session.Statistics.FinishReason));
        await beside;
        // Each token but the last was a row of a later pass.
        Assert.Equal(14, _passes.Sum(p => p.Parts.Count(part => part.Sequence == session.Sequence && !part.IsPrompt)));
        Assert.Equal(40, other.Statistics!.CompletionTokens);
        // What it has is what it gave: the next goes on from there.
        Assert.Equal(whole, await Run(session, Prompt(20, 1), 40));

        bool Told(GeneratedToken token)
        {
            told.Add(token);
            return told.Count == 15;
        }
    }

    [Fact]
    public async Task What_a_stop_throws_fails_its_own_generation_alone()
    {
        var model = Load(1024, 2);
        using var session = model.CreateSession();
        using var other = model.CreateSession();
        var whole = await Run(other, Prompt(20, 2), 60);
        var beside = Run(other, Prompt(20, 2), 60);
        var error = await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await foreach (var _ in session.GenerateAsync(Prompt(20, 1), Forever with { StopWhen = _ => throw new InvalidOperationException("mine") }))
            {
            }
        });
        Assert.Equal("mine", error.Message);
        Assert.Equal(whole, await beside);
        Assert.Equal(5, (await Run(session, Prompt(20, 1), 5)).Length);
    }

    [Fact]
    public async Task A_restore_makes_sessions_that_rest_forget_and_a_generation_waits_for_what_is_held()
    {
        var model = Load(1024, 4, 1024);
        var other = Load(1024, 1, 1024);
        using var origin = other.CreateSession();
        await Run(origin, Prompt(600, 1), 1);
        using var bytes = new MemoryStream();
        await origin.SaveAsync(bytes);

        using var resting = model.CreateSession();
        await Run(resting, Prompt(700, 2), 1);
        // The source stops in the middle, when the restored session has its room and nobody else may have it.
        using var source = new HaltingStream(bytes.ToArray(), bytes.Length / 2);
        var restoring = model.RestoreSessionAsync(source);
        await source.Reached.Task;
        using var running = model.CreateSession();
        var answer = Run(running, Prompt(300, 3), 200);
        await Task.Delay(300);
        Assert.False(answer.IsCompleted);
        // Nothing runs, and yet cancelling is heard.
        using var given = model.CreateSession();
        using var stop = new CancellationTokenSource();
        var unwanted = Run(given, Prompt(300, 4), 5, stop.Token);
        await Task.Delay(50);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => unwanted.WaitAsync(TimeSpan.FromSeconds(20)));
        source.Go.SetResult();
        using var restored = await restoring;
        Assert.Equal(200, (await answer).Length);
        using var alone = Load(1024, 1).CreateSession();
        Assert.Equal(await Run(alone, Prompt(300, 3), 200), await answer);
    }

    [Fact]
    public async Task A_prompt_that_must_wait_makes_nobody_forget_for_nothing()
    {
        var model = Load(1024, 3, 1024);
        using var resting = model.CreateSession();
        await Run(resting, Prompt(100, 1), 1);
        using var holder = model.CreateSession();
        using var late = model.CreateSession();
        Task<int[]> waiting;
        await using (var running = holder.GenerateAsync(Prompt(500, 2), Forever).GetAsyncEnumerator())
        {
            Assert.True(await running.MoveNextAsync());
            waiting = Run(late, Prompt(900, 3), 1);
            for (var i = 0; i < 20; i++)
                Assert.True(await running.MoveNextAsync());
            Assert.Equal(100, await model.InvokeAsync(e => e.Cells.Length(0)));
        }
        await waiting;
    }

    // Gives some bytes, then waits.
    private sealed class HaltingStream(byte[] bytes, long halt) : MemoryStream(bytes)
    {
        public TaskCompletionSource Reached { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Go { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Position >= halt)
            {
                Reached.TrySetResult();
                await Go.Task;
            }
            return await base.ReadAsync(buffer, cancellationToken);
        }
    }

    [Fact]
    public async Task Rows_that_are_not_valid_are_refused_and_change_nothing()
    {
        var model = Load(256, 2);
        await model.InvokeAsync(engine =>
        {
            int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun([new PassRow(first, 1, true)], out _));
            Assert.Throws<ErgonException>(() => engine.TryRun([new PassRow(first, 1, true), new PassRow(first, 1 << 20, true)], out _));
            Assert.Throws<ErgonException>(() => engine.TryRun([new PassRow(first, -1, true)], out _));
            Assert.Contains("sequence 7", Assert.Throws<ArgumentException>(() => engine.TryRun([new PassRow(7, 1, true)], out _)).Message, StringComparison.Ordinal);
            Assert.Throws<ArgumentException>(() => engine.TryRun([new PassRow(-1, 1, true)], out _));
            Assert.Contains("stand together", Assert.Throws<ArgumentException>(() =>
                engine.TryRun([new PassRow(first, 1, false), new PassRow(second, 1, false), new PassRow(first, 1, true)], out _)).Message, StringComparison.Ordinal);
            Assert.False(engine.TryRun([.. Enumerable.Range(0, 512).Select(i => new PassRow(i < 300 ? first : second, 1, false))], out _));
            Assert.Equal((1, 0), (engine.Cells.Length(first), engine.Cells.Length(second)));
            return true;
        });
    }

    private static GenerationOptions Forever => new() { IgnoreEndOfGeneration = true };

    private ErgonModel Load(int context, int sequences, int? cache = null)
    {
        var model = ErgonModel.Load(new RandomModel("llama", GgmlType.F32) { Layers = 1, Context = 4096 }.Write(_folder.Path),
            new ModelOptions { Threads = 1, ContextLength = context, MaxSequences = sequences, CacheLength = cache });
        _loaded.Add(model);
        model.PassCompleted += _passes.Enqueue;
        return model;
    }

    private static int[] Prompt(int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(3, 250))];
    }

    private static async Task<int[]> Run(Session session, int[] prompt, int count, CancellationToken cancellation = default)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }, cancellation))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose()
    {
        foreach (var model in _loaded)
            model.Dispose();
        _folder.Dispose();
    }
}
