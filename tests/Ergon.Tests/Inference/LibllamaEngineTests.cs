using System.Runtime.InteropServices;
using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;

namespace Ergon.Tests.Inference;

/// <summary>The second engine, under the same contract as the first.</summary>
public sealed class LibllamaEngineTests : IDisposable
{
    private const int Context = 256;

    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("stablelm")]
    [InlineData("starcoder2")]
    [InlineData("mamba")]
    public async Task An_architecture_that_the_graph_does_not_describe_gives_the_tokens_of_libllama(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = Load(path, EngineChoice.Auto);
        Assert.Equal(EngineChoice.Libllama, model.Engine);
        Assert.Equal((architecture, 2, 128, 1024, RandomModel.Vocabulary), (model.Description.ArchitectureName, model.Description.LayerCount, model.Description.EmbeddingLength, model.Description.TrainingContext, model.Description.VocabularySize));
        Assert.Equal(GgufFile.Open(path).Tensors.Sum(t => t.Elements), model.Description.ParameterCount);
        using var session = model.CreateSession();
        var prompt = Prompt(70, 5);
        Assert.Equal(Greedy(path, prompt, 60), await Run(session, prompt, 60));
    }

    [Theory]
    [InlineData("llama", KvCacheType.F16)]
    [InlineData("llama", KvCacheType.Q8_0)]
    [InlineData("llama", KvCacheType.Q4_0)]
    [InlineData("qwen2", KvCacheType.F16)]
    [InlineData("gemma3", KvCacheType.F16)]
    [InlineData("lfm2", KvCacheType.F16)]
    [InlineData("gpt2", KvCacheType.F16)]
    public async Task Both_engines_give_the_same_tokens(string architecture, KvCacheType type)
    {
        var path = new RandomModel(architecture, GgmlType.Q8_0).Write(_folder.Path);
        using var ours = Load(path, EngineChoice.Ergon, type);
        using var theirs = Load(path, EngineChoice.Libllama, type);
        Assert.Equal((EngineChoice.Ergon, EngineChoice.Libllama), (ours.Engine, theirs.Engine));
        Assert.Equal((ours.Description.ParameterCount, ours.Description.WeightBytes), (theirs.Description.ParameterCount, theirs.Description.WeightBytes));
        using var here = ours.CreateSession();
        using var there = theirs.CreateSession();
        var prompt = Prompt(90, 7);
        Assert.Equal(await Run(here, prompt, 80), await Run(there, prompt, 80));
    }

    [Theory]
    [InlineData(KvCacheType.Q8_0, GgmlType.Q8_0)]
    [InlineData(KvCacheType.Q4_0, GgmlType.Q4_0)]
    public async Task Keys_and_values_are_stored_as_asked(KvCacheType type, GgmlType native)
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        using var model = Load(path, type: type);
        using var session = model.CreateSession();
        var prompt = Prompt(70, 5);
        var expected = Greedy(path, prompt, 60, native);
        Assert.NotEqual(Greedy(path, prompt, 60), expected);
        Assert.Equal(expected, await Run(session, prompt, 60));
    }

    [Theory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task Sessions_at_the_same_time_give_the_tokens_each_gives_alone(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = Load(path);
        int[][] prompts = [.. Enumerable.Range(1, 4).Select(i => Prompt(11 * i, i))];
        var sessions = prompts.Select(_ => model.CreateSession()).ToArray();
        var together = await Task.WhenAll(prompts.Select((p, i) => Run(sessions[i], p, 30)));
        for (var i = 0; i < prompts.Length; i++)
            AssertGreedy(path, prompts[i], together[i], 30);
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await Used(model));
    }

    [Theory]
    [InlineData("stablelm", true)]
    [InlineData("mamba", false)]
    public async Task A_rolled_back_session_keeps_what_its_memory_can_and_goes_on_rightly(string architecture, bool canGoBack)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = Load(path);
        using var session = model.CreateSession();
        var prompt = Prompt(40, 3);
        var first = await Run(session, prompt, 20);
        // Another turn after the answer goes on from there, whatever the memory.
        int[] longer = [.. prompt, .. first, 17, 18];
        Assert.Equal(Greedy(path, longer, 10), await Run(session, longer, 10));
        Assert.Equal(prompt.Length + 19, session.Statistics!.ReusedTokens);
        // A change in the midst does not.
        int[] changed = [.. prompt[..25], 9, 8, 7];
        Assert.Equal(Greedy(path, changed, 15), await Run(session, changed, 15));
        Assert.Equal(canGoBack ? 25 : 0, session.Statistics!.ReusedTokens);
    }

    [Theory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task A_fork_goes_on_where_its_origin_stood_and_both_stay_independent(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = Load(path);
        using var origin = model.CreateSession();
        var prompt = Prompt(40, 3);
        int[] history = [.. prompt, .. await Run(origin, prompt, 8)];
        var used = await Used(model);
        using var fork = await origin.ForkAsync();
        Assert.Equal(used, await Used(model));
        int[] aside = [.. history, 5, 6], further = [.. history, 90];
        var both = await Task.WhenAll(Run(fork, aside, 12), Run(origin, further, 12));
        AssertGreedy(path, aside, both[0], 12);
        AssertGreedy(path, further, both[1], 12);
        Assert.Equal(history.Length - 1, fork.Statistics!.ReusedTokens);
        Assert.Equal(history.Length - 1, origin.Statistics!.ReusedTokens);
    }

    [Theory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task A_fork_of_a_part_is_that_part_or_empty(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = Load(path);
        var prompt = Prompt(30, 4);
        await model.InvokeAsync(engine =>
        {
            var origin = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun(Rows(origin, prompt), out _));
            var part = engine.Cells.Fork(origin, 20)!.Value;
            Assert.Equal(architecture == "mamba" ? 0 : 20, engine.Cells.Length(part));
            Assert.Equal(architecture == "mamba" ? 30 : 0, engine.Cells.LeastLength(origin));
            var left = prompt[engine.Cells.Length(part)..];
            Assert.True(engine.TryRun(Rows(part, left), out var logits));
            Assert.Equal(Greedy(path, prompt, 1)[0], TokenSampler.IndexOfMax(logits));
            Assert.Equal(30, engine.Cells.Length(origin));
            engine.Cells.Close(origin);
            engine.Cells.Close(part);
            return 0;
        });
    }

    // libllama gives cells that a window has passed to others. The window of gemma3's random model is 40.
    [Theory]
    [InlineData(100, 100)]
    [InlineData(30, 0)]
    public async Task A_rollback_behind_cells_that_a_sliding_window_gave_away_starts_over(int back, int kept)
    {
        var path = new RandomModel("gemma3", GgmlType.F32).Write(_folder.Path);
        using var model = Load(path);
        await model.InvokeAsync(engine =>
        {
            int first = engine.Cells.Open()!.Value, rolled = engine.Cells.Open()!.Value;
            var prompt = Prompt(150, 3);
            Assert.True(engine.TryRun(Rows(first, Prompt(50, 1)), out _));
            Assert.True(engine.TryRun(Rows(rolled, prompt), out _));
            engine.Cells.Close(first);
            var second = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun(Rows(second, Prompt(60, 2)), out _));
            // Positions 0 to 9 are gone, and position 50 looks back to 11.
            Assert.Equal(50, engine.Cells.LeastLength(rolled));
            Assert.Equal(kept, engine.Cells.Truncate(rolled, back));
            Assert.True(engine.TryRun(Rows(rolled, [.. prompt[kept..back], 9, 8]), out var logits));
            Assert.Equal(Greedy(path, [.. prompt[..back], 9, 8], 1)[0], TokenSampler.IndexOfMax(logits));
            return 0;
        });
    }

    [Fact]
    public async Task Random_work_leaves_both_accounts_equal_and_the_logits_right()
    {
        foreach (var (architecture, path) in new[] { ("llama", new RandomModel("llama", GgmlType.F32) { Layers = 1, Embedding = 64 }.Write(_folder.Path)), ("mamba", new UndescribedModel("mamba").Write(_folder.Path)) })
        {
            using var model = ErgonModel.Load(path, new ModelOptions { Engine = EngineChoice.Libllama, Threads = 1, ContextLength = 64, MaxSequences = 4, CacheLength = 100 });
            var random = new Random(5);
            await model.InvokeAsync(engine =>
            {
                var tokens = new Dictionary<int, List<int>>();
                var shared = new KvCells(100, 4); // what the cells should count
                for (var step = 0; step < 300; step++)
                {
                    int[] open = [.. tokens.Keys];
                    var any = open.Length > 0 ? open[random.Next(open.Length)] : -1;
                    switch (random.Next(6))
                    {
                        case 0 when engine.Cells.Open() is { } id:
                            tokens[id] = [];
                            Assert.Equal(id, shared.Open());
                            break;
                        case 1 when any >= 0 && random.Next(3) == 0:
                            engine.Cells.Close(any);
                            shared.Close(any);
                            tokens.Remove(any);
                            break;
                        case 2 when any >= 0:
                            var kept = engine.Cells.Truncate(any, random.Next(tokens[any].Count + 1));
                            shared.Truncate(any, kept);
                            tokens[any].RemoveRange(kept, tokens[any].Count - kept);
                            break;
                        case 3 when any >= 0 && engine.Cells.Fork(any, random.Next(3) == 0 ? tokens[any].Count / 2 : tokens[any].Count) is { } fork:
                            tokens[fork] = [.. tokens[any][..engine.Cells.Length(fork)]];
                            Assert.Equal(fork, shared.Fork(any, tokens[fork].Count));
                            break;
                        case var _ when any >= 0:
                            int[] more = [.. Enumerable.Range(0, random.Next(1, 20)).Select(_ => random.Next(RandomModel.Vocabulary))];
                            var fits = more.Length <= shared.Free;
                            Assert.Equal(fits, engine.TryRun(Rows(any, more), out var logits));
                            if (!fits)
                                break;
                            shared.TryAppend(any, more.Length);
                            tokens[any].AddRange(more);
                            if (step % 10 == 0)
                                Assert.Equal(Greedy(path, [.. tokens[any]], 1)[0], TokenSampler.IndexOfMax(logits));
                            break;
                    }
                    Assert.Equal(shared.Free, engine.Cells.Free);
                    Assert.All(tokens, t => Assert.Equal(t.Value.Count, engine.Cells.Length(t.Key)));
                }
                return architecture;
            });
        }
    }

    [Fact]
    public async Task Cancelling_ends_the_generation_and_the_session_goes_on()
    {
        var path = new UndescribedModel("mamba").Write(_folder.Path);
        using var model = Load(path);
        using var session = model.CreateSession();
        using var stop = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var _ in session.GenerateAsync([1, 2, 3], Forever, stop.Token))
                await stop.CancelAsync();
        });
        Assert.Equal(FinishReason.Cancelled, session.Statistics!.FinishReason);
        Assert.Equal(Greedy(path, [4, 5], 4), await Run(session, [4, 5], 4));
    }

    [Theory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task A_saved_session_carries_its_tokens_and_goes_on_with_the_same_ones(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        int[] history;
        byte[] saved;
        using (var model = Load(path))
        {
            using var session = model.CreateSession();
            var prompt = Prompt(40, 3);
            history = [.. prompt, .. await Run(session, prompt, 12)];
            saved = await Save(session);
        }
        using var other = Load(path);
        using var restored = await other.RestoreSessionAsync(new MemoryStream(saved));
        // Nothing is computed yet, and nothing forgotten.
        Assert.Equal(0, await Used(other));
        Assert.Equal(saved, await Save(restored));
        Assert.Equal(history, restored.Tokens);
        Assert.Equal(Greedy(path, history, 10), await Run(restored, history, 10));

        saved[^1] ^= 1;
        Assert.Contains("checksum", (await Assert.ThrowsAsync<ErgonException>(() => other.RestoreSessionAsync(new MemoryStream(saved)))).Message, StringComparison.Ordinal);
        // The one that was refused cost nobody anything.
        Assert.Equal(history.Length + 9, await Used(other));
    }

    [Fact]
    public async Task A_session_saved_by_one_engine_is_refused_by_the_other()
    {
        var path = new RandomModel("llama", GgmlType.F32) { Layers = 2 }.Write(_folder.Path);
        using var ours = Load(path, EngineChoice.Ergon);
        using var theirs = Load(path);
        foreach (var (from, to) in new[] { (ours, theirs), (theirs, ours) })
        {
            using var session = from.CreateSession();
            await Run(session, [1, 2, 3], 3);
            var saved = await Save(session);
            Assert.Contains("of another engine", (await Assert.ThrowsAsync<ErgonException>(() => to.RestoreSessionAsync(new MemoryStream(saved)))).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("stablelm")]
    [InlineData("mamba")]
    public async Task Generations_that_find_the_cache_full_give_way_and_come_again(string architecture)
    {
        var path = new UndescribedModel(architecture).Write(_folder.Path);
        using var model = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = Context, MaxSequences = 3, CacheLength = Context });
        var sessions = Enumerable.Range(0, 3).Select(_ => model.CreateSession()).ToArray();
        // Each alone would fit, two only at their beginning.
        var together = await Task.WhenAll(sessions.Select((session, i) => Run(session, Prompt(60 + i, i), 120)));
        for (var i = 0; i < sessions.Length; i++)
            AssertGreedy(path, Prompt(60 + i, i), together[i], 120);
        Assert.InRange(await Used(model), 1, Context);
    }

    [Fact]
    public async Task Reports_tell_one_segment_of_the_whole_model()
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        using var model = Load(path);
        var report = await model.InvokeAsync(engine =>
        {
            var sequence = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun(Rows(sequence, [1, 2, 3]), out _));
            return Assert.Single(engine.Reports.ToArray());
        });
        Assert.Equal(("CPU", 3, true, true), (report.Device, report.Rows, report.Stages.BeginsModel, report.Stages.EndsModel));
        // Two layers of query, key, value and output, three matrices of the feed-forward block; the output.
        const double matrices = (2 * ((128 * 128 * 2) + (128 * 64 * 2) + (128 * 256 * 3))) + (128 * RandomModel.Vocabulary);
        Assert.Equal(2 * 3 * matrices, report.Flops);
        Assert.Equal(model.Description.WeightBytes, report.MemoryBytes);
        Assert.True(report.Elapsed > TimeSpan.Zero);
    }

    [Fact]
    public async Task Numbers_that_are_not_finite_fail_their_own_generation_only()
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        var file = File.ReadAllBytes(path);
        var embedding = GgufFile.Open(path).FindTensor("token_embd.weight")!;
        MemoryMarshal.Cast<byte, float>(file.AsSpan((int)embedding.FileOffset + (7 * 128 * sizeof(float)), 128 * sizeof(float))).Fill(float.NaN);
        using var model = Load(_folder.File("nan.gguf", file));
        using var idle = model.CreateSession();
        using var broken = model.CreateSession();
        using var running = model.CreateSession();
        var prompt = Prompt(40, 30);
        await Run(idle, prompt, 5);
        await using var generating = running.GenerateAsync(Prompt(20, 40), Forever with { MaxTokens = 200 }).GetAsyncEnumerator();
        Assert.True(await generating.MoveNextAsync());
        var error = await Assert.ThrowsAsync<ErgonException>(() => Run(broken, [1, 7, 3], 5));
        Assert.Contains("not finite", error.Message, StringComparison.Ordinal);
        // The cache was overwritten; whoever generates computes its part again and does not notice.
        var rest = new List<int> { generating.Current.Id };
        while (await generating.MoveNextAsync())
            rest.Add(generating.Current.Id);
        AssertGreedy(path, Prompt(20, 40), [.. rest.Where(id => id >= 0)], 200);
        await Run(broken, [1], 1);
        Assert.Equal(20 + 199 + 1, await Used(model));
        int[] longer = [.. prompt, 90, 91];
        Assert.Equal(Greedy(path, longer, 10), await Run(idle, longer, 10));
        Assert.Equal(Greedy(path, [1, 8, 3], 5), await Run(broken, [1, 8, 3], 5));
        Assert.Equal(Greedy(path, Prompt(20, 40), 5), await Run(running, Prompt(20, 40), 5));
    }

    [Fact]
    public async Task Rows_that_are_not_valid_change_nothing()
    {
        var path = new RandomModel("gpt2", GgmlType.F32) { Context = 32 }.Write(_folder.Path);
        Assert.Contains("32 learned positions", Assert.Throws<ErgonException>(() => Load(path)).Message, StringComparison.Ordinal);
        using var model = ErgonModel.Load(path, new ModelOptions { Engine = EngineChoice.Libllama, Threads = 1, ContextLength = 32, MaxSequences = 2 });
        await model.InvokeAsync(engine =>
        {
            var sequence = engine.Cells.Open()!.Value;
            Assert.True(engine.TryRun(Rows(sequence, Prompt(30, 1)), out _));
            Assert.Contains("Token id 320", Assert.Throws<ErgonException>(() => engine.TryRun(Rows(sequence, [1, 320]), out _)).Message, StringComparison.Ordinal);
            Assert.Contains("32 learned positions", Assert.Throws<ErgonException>(() => engine.TryRun(Rows(sequence, [1, 2, 3]), out _)).Message, StringComparison.Ordinal);
            Assert.Throws<ArgumentException>(() => engine.TryRun(Rows(1, [1]), out _));
            Assert.Equal(30, engine.Cells.Length(sequence));
            Assert.True(engine.TryRun(Rows(sequence, [5, 6]), out var logits));
            Assert.Equal(Greedy(path, [.. Prompt(30, 1), 5, 6], 1)[0], TokenSampler.IndexOfMax(logits));
            return 0;
        });
    }

    [Fact]
    public void The_ergon_engine_refuses_what_it_does_not_describe_and_says_so()
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        Assert.Contains("'stablelm' is not one that Ergon's graph describes", Assert.Throws<UnsupportedModelException>(() => Load(path, EngineChoice.Ergon)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_libllama_refuses_is_its_own_reason_in_a_sentence()
    {
        var lacking = new UndescribedModel("stablelm") { Without = ["blk.1.ffn_up.weight"] }.Write(_folder.Path);
        Assert.EndsWith("tensor 'blk.1.ffn_up.weight' not found.", Assert.Throws<UnsupportedModelException>(() => Load(lacking)).Message, StringComparison.Ordinal);
        var quantized = new UndescribedModel("stablelm") { Keys = new() { ["attention.head_count"] = 8u, ["attention.head_count_kv"] = 4u } }.Write(_folder.Path);
        Assert.Contains("heads have 16; use F16", Assert.Throws<ErgonException>(() => Load(quantized, type: KvCacheType.Q8_0)).Message, StringComparison.Ordinal);
        Assert.Contains("no device 'TPU9'", Assert.Throws<ErgonException>(() => ErgonModel.Load(lacking, new ModelOptions { Device = "TPU9" })).Message, StringComparison.Ordinal);
    }

    public static TheoryData<string, object?, string> BadHyperparameters() => new()
    {
        { "block_count", 0u, "must be 1 to" },
        { "block_count", 513u, "must be 1 to 512" },
        { "nextn_predict_layers", 3u, "must be 0 to 2" },
        { "expert_count", 1025u, "must be 0 to 1024" },
        { "expert_count", 4u, "'stablelm.expert_used_count' = 0, which must be 1 to the expert_count, 4" },
        { "expert_used_count", 2u, "which must be 0 in a model without experts" },
        { "expert_group_count", 2u, "which must be 0 in a model without experts" },
        { "attention.head_count_kv", 3u, "must divide the 4 heads of layer 0" },
        { "attention.head_count_kv", new[] { 2, 3 }, "must divide the 4 heads of layer 1" },
        { "attention.head_count", new[] { 4, -4 }, "must be 0 to" },
        { "attention.head_count", new[] { 4, 4, 4 }, "3 values for 2 layers" },
        { "attention.head_count", 256u, "must be at most the embedding_length, 128" },
        { "rope.scaling.type", "spiral", "must be one of none, linear, yarn, longrope" },
        { "embedding_length", 0u, "must be 1 to" },
        { "context_length", null, "has no stablelm.context_length" },
    };

    [Theory]
    [MemberData(nameof(BadHyperparameters))]
    public void What_libllama_would_assert_of_any_architecture_is_refused_before(string key, object? value, string reason)
    {
        var keys = new Dictionary<string, object?> { [key] = value };
        if (value is 256u)
            keys["attention.head_count_kv"] = 256u;
        var path = new UndescribedModel("stablelm") { Keys = keys }.Write(_folder.Path);
        Assert.Contains(reason, Assert.Throws<GgufException>(() => Load(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_that_kills_libllama_kills_a_trial_and_no_more()
    {
        // Nothing checks the rotary dimensions of this architecture before its graph asserts them.
        var path = new UndescribedModel("starcoder2") { Keys = new() { ["rope.dimension_count"] = 16u } }.Write(_folder.Path);
        var error = Assert.Throws<UnsupportedModelException>(() => LoadTried(path));
        Assert.Contains("libllama does not survive this model", error.Message, StringComparison.Ordinal);
        Assert.Contains("GGML_ASSERT(n_embd_head == n_rot) failed", error.Message, StringComparison.Ordinal);

        // One that libllama refuses in order comes with its sentence, and a good one runs.
        var lacking = new UndescribedModel("mamba") { Without = ["blk.0.ssm_d"] }.Write(_folder.Path);
        Assert.EndsWith("tensor 'blk.0.ssm_d' not found.", Assert.Throws<UnsupportedModelException>(() => LoadTried(lacking)).Message, StringComparison.Ordinal);
        LoadTried(new UndescribedModel("mamba").Write(_folder.Path)).Dispose();
        Assert.Contains("cannot be started", Assert.Throws<ErgonException>(() => LoadTried(path, "/no/such/program")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trial_that_is_killed_or_cancelled_says_so()
    {
        if (OperatingSystem.IsWindows())
            return;
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        Assert.Contains("signal 11 ended its process", Assert.Throws<UnsupportedModelException>(() => LoadWith("kill -11 $$")).Message, StringComparison.Ordinal);
        Assert.Contains("its process ended with code 7", Assert.Throws<UnsupportedModelException>(() => LoadWith("exit 7")).Message, StringComparison.Ordinal);
        Assert.Contains("for want of memory", Assert.Throws<NativeException>(() => LoadWith("kill -9 $$")).Message, StringComparison.Ordinal);
        Assert.Contains("no room", Assert.Throws<NativeException>(() => LoadWith("echo 'ergon: no room.' >&2; exit 1")).Message, StringComparison.Ordinal);
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.Run(() => LoadWith("exec sleep 50", stop.Token)));
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 20);

        ErgonModel LoadWith(string script, CancellationToken cancellation = default) =>
            ErgonModel.Load(path, new ModelOptions { Threads = 1, TrialCommand = ["sh", "-c", script] }, cancellation);
    }

    [Fact]
    public async Task A_worker_runs_a_model_with_the_engine_that_was_asked_for()
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        var options = new Ergon.Runtime.Workers.WorkerOptions { Command = ["dotnet", Path.Combine(AppContext.BaseDirectory, "Ergon.Cli.dll"), "dev", "worker"] };
        await using (var host = await Ergon.Runtime.Workers.WorkerHost.StartAsync(path, new ModelOptions { Threads = 1, ContextLength = Context }, options))
        {
            using var session = host.CreateSession();
            var tokens = new List<int>();
            await foreach (var token in session.GenerateAsync(Prompt(20, 2), Forever with { MaxTokens = 10 }))
                tokens.Add(token.Id);
            Assert.Equal(Greedy(path, Prompt(20, 2), 10), tokens.Where(id => id >= 0));
        }
        var error = await Assert.ThrowsAsync<ErgonException>(() => Ergon.Runtime.Workers.WorkerHost.StartAsync(path, new ModelOptions { Engine = EngineChoice.Ergon }, options));
        Assert.Contains("is not one that Ergon's graph describes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Loading_reports_progress_and_can_be_cancelled()
    {
        var path = new UndescribedModel("stablelm").Write(_folder.Path);
        var shares = new List<double>();
        Load(path, progress: new Immediate(shares.Add)).Dispose();
        Assert.Equal(1, shares[^1], 1e-6);
        Assert.Equal(shares.Order(), shares);
        using var stop = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() => ErgonModel.Load(path, new ModelOptions { Progress = new Immediate(_ => stop.Cancel()) }, stop.Token));
    }

    private sealed class Immediate(Action<double> report) : IProgress<double>
    {
        public void Report(double value) => report(value);
    }

    private static ErgonModel Load(string path, EngineChoice engine = EngineChoice.Libllama, KvCacheType type = KvCacheType.F16, IProgress<double>? progress = null) =>
        ErgonModel.Load(path, new ModelOptions { Engine = engine, Threads = 1, ContextLength = Context, MaxSequences = 4, KvType = type, Progress = progress });

    private static ErgonModel LoadTried(string path, string program = "dotnet") =>
        ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = Context, TrialCommand = [program, Path.Combine(AppContext.BaseDirectory, "Ergon.Cli.dll"), "dev", "libllama-trial"] });

    private static int[] Prompt(int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(8, 250))];
    }

    private static PassRow[] Rows(int sequence, int[] tokens) => [.. tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1))];

    // libllama with nothing of ours between.
    private static int[] Greedy(string path, int[] prompt, int count, GgmlType cacheType = GgmlType.F16)
    {
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var oracle = new LlamaContext(llama, Context, 1, cacheType: cacheType);
        var logits = new float[llama.Vocabulary.Count];
        oracle.Decode(prompt, 0, [prompt.Length - 1], logits);
        var tokens = new List<int> { TokenSampler.IndexOfMax(logits) };
        while (tokens.Count < count)
        {
            oracle.Decode([tokens[^1]], prompt.Length + tokens.Count - 1, [0], logits);
            tokens.Add(TokenSampler.IndexOfMax(logits));
        }
        return [.. tokens];
    }

    // Rows that share a pass with others, which follow the clock, round otherwise: each token must be as likely as the
    // likeliest, but for that.
    private static void AssertGreedy(string path, int[] prompt, int[] tokens, int count)
    {
        Assert.Equal(count, tokens.Length);
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var oracle = new LlamaContext(llama, Context, 1);
        var logits = new float[llama.Vocabulary.Count];
        oracle.Decode(prompt, 0, [prompt.Length - 1], logits);
        for (var i = 0; i < count; i++)
        {
            Assert.InRange(logits[tokens[i]], logits.Max() - (1e-2f * logits.Max(MathF.Abs)), logits.Max());
            oracle.Decode([tokens[i]], prompt.Length + i, [0], logits);
        }
    }

    private static Task<int> Used(ErgonModel model) => model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free);

    private static async Task<byte[]> Save(Session session)
    {
        using var stream = new MemoryStream();
        await session.SaveAsync(stream);
        return stream.ToArray();
    }

    private static GenerationOptions Forever => new() { IgnoreEndOfGeneration = true };

    private static async Task<int[]> Run(Session session, int[] prompt, int count)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, Forever with { MaxTokens = count }))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose() => _folder.Dispose();
}
