using System.Text;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class SessionTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _path;
    private readonly ErgonModel _model;

    public SessionTests()
    {
        _path = new RandomModel("llama", GgmlType.F32) { Layers = 2 }.Write(_folder.Path);
        _model = ErgonModel.Load(_path, new ModelOptions { Threads = 1, ContextLength = 256, MaxSequences = 8 });
    }

    [Fact]
    public async Task A_prompt_that_begins_like_the_last_one_is_continued_from_there()
    {
        using var fresh = _model.CreateSession();
        using var reused = _model.CreateSession();
        var prompt = Tokens("The quick brown fox");
        var first = await Run(reused, prompt, 10);
        int[] longer = [.. prompt, .. first, .. Tokens(" and then")];
        var expected = await Run(fresh, longer, 20);
        Assert.Equal(expected, await Run(reused, longer, 20));
        // All but the last generated token, which no pass has seen.
        Assert.Equal(prompt.Length + 9, reused.Statistics!.ReusedTokens);
        Assert.Equal(longer.Length, reused.Statistics.PromptTokens);
    }

    [Fact]
    public async Task Sessions_at_the_same_time_give_the_tokens_each_gives_alone()
    {
        string[] prompts = ["one", "a rather longer prompt than the others have", "three three three", "4", "five is right out", "six", "seven seven", "eight"];
        var alone = new List<int[]>();
        foreach (var prompt in prompts)
        {
            using var session = _model.CreateSession();
            alone.Add(await Run(session, Tokens(prompt), 40));
        }
        var sessions = prompts.Select(_ => _model.CreateSession()).ToArray();
        var together = await Task.WhenAll(prompts.Select((p, i) => Run(sessions[i], Tokens(p), 40)));
        for (var i = 0; i < prompts.Length; i++)
            Assert.Equal(alone[i], together[i]);
        foreach (var session in sessions)
            session.Dispose();
        Assert.Equal(0, await _model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task A_fork_goes_on_where_its_origin_stood_and_both_stay_independent()
    {
        using var origin = _model.CreateSession();
        var prompt = Tokens("Once upon a time there was");
        var generated = await Run(origin, prompt, 8);
        int[] history = [.. prompt, .. generated];
        using var fork = await origin.ForkAsync();
        using var fresh = _model.CreateSession();
        var expected = await Run(fresh, history, 12);
        Assert.Equal(expected, await Run(fork, history, 12));
        Assert.True(fork.Statistics!.ReusedTokens >= prompt.Length);
        Assert.Equal(expected, await Run(origin, history, 12));
    }

    [Fact]
    public async Task Cancelling_ends_the_generation_and_the_session_goes_on()
    {
        using var session = _model.CreateSession();
        using var stop = new CancellationTokenSource();
        var seen = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var _ in session.GenerateAsync(Tokens("go"), Forever, stop.Token))
            {
                if (++seen == 5)
                    await stop.CancelAsync();
            }
        });
        Assert.Equal(FinishReason.Cancelled, session.Statistics!.FinishReason);
        Assert.Equal(4, (await Run(session, Tokens("go on"), 4)).Length);
    }

    [Fact]
    public async Task A_reader_that_leaves_early_stops_the_engine()
    {
        using var session = _model.CreateSession();
        await foreach (var _ in session.GenerateAsync(Tokens("go"), Forever))
            break;
        Assert.InRange(session.Statistics!.CompletionTokens, 1, 250);
        Assert.Equal(3, (await Run(session, Tokens("again"), 3)).Length);
    }

    [Fact]
    public async Task Generation_ends_where_the_context_ends()
    {
        using var session = _model.CreateSession();
        var prompt = Tokens(new string('x', 200));
        var tokens = await Run(session, prompt, Forever);
        Assert.Equal(FinishReason.Length, session.Statistics!.FinishReason);
        // The last token needs no place of its own.
        Assert.Equal(256 - prompt.Length + 1, tokens.Length);
    }

    [Fact]
    public async Task A_seed_makes_draws_repeatable_and_another_seed_changes_them()
    {
        var options = new GenerationOptions { MaxTokens = 30, IgnoreEndOfGeneration = true, Sampling = new SamplingOptions { Temperature = 1.5f, TopK = 0, TopP = 1, MinP = 0, Seed = 7 } };
        using var session = _model.CreateSession();
        var first = await Run(session, Tokens("dice"), options);
        Assert.Equal(first, await Run(session, Tokens("dice"), options));
        Assert.NotEqual(first, await Run(session, Tokens("dice"), options with { Sampling = options.Sampling with { Seed = 8 } }));
    }

    [Fact]
    public async Task A_grammar_is_followed_greedily_and_at_random()
    {
        using var session = _model.CreateSession();
        foreach (var temperature in (float[])[0, 2])
        {
            var options = new GenerationOptions { Sampling = new SamplingOptions { Temperature = temperature, Seed = 3, Grammar = """root ::= "yes" | "no" " "? "way" """ } };
            var text = new StringBuilder();
            await foreach (var token in session.GenerateAsync(Tokens("?"), options))
                text.Append(token.Text);
            Assert.Contains(text.ToString(), (string[])["yes", "noway", "no way"]);
            Assert.Equal(FinishReason.Stop, session.Statistics!.FinishReason);
        }
    }

    [Theory]
    [InlineData("root ::= (")]
    [InlineData("start ::= \"a\"")]
    [InlineData("root ::= root \"a\"")]
    [InlineData("root ::= missing")]
    public async Task An_impossible_grammar_is_one_sentence(string grammar)
    {
        using var session = _model.CreateSession();
        var error = await Assert.ThrowsAsync<ErgonException>(() => Run(session, Tokens("x"), new GenerationOptions { Sampling = new SamplingOptions { Grammar = grammar } }));
        Assert.Contains("grammar", error.Message, StringComparison.Ordinal);
        Assert.Equal(2, (await Run(session, Tokens("still alive"), 2)).Length);
    }

    [Fact]
    public async Task Logit_bias_forbids_and_forces()
    {
        using var session = _model.CreateSession();
        var free = await Run(session, Tokens("x"), 1);
        var forbidden = await Run(session, Tokens("x"), Biased(free[0], float.NegativeInfinity));
        Assert.NotEqual(free[0], forbidden[0]);
        Assert.Equal((int[])[42, 42, 42], await Run(session, Tokens("x"), Biased(42, 1000) with { MaxTokens = 3 }));

        static GenerationOptions Biased(int token, float bias) => new() { MaxTokens = 1, Sampling = new SamplingOptions { LogitBias = new Dictionary<int, float> { [token] = bias } } };
    }

    [Fact]
    public async Task Bad_input_is_a_sentence_that_names_the_value()
    {
        using var session = _model.CreateSession();
        await Says("300 tokens, but the context holds 256", Tokens(new string('y', 300)), new());
        await Says("prompt is empty", [], new());
        await Says("Token id 320", [320], new());
        await Says("Token id -1", [-1], new());
        await Says("number of tokens is 0", [1], new() { MaxTokens = 0 });
        await Says("stop sequence is empty", [1], new() { StopSequences = [""] });
        await Says("temperature is NaN", [1], new() { Sampling = new() { Temperature = float.NaN } });
        await Says("top-p is 0", [1], new() { Sampling = new() { TopP = 0 } });
        await Says("logit-bias is 999", [1], new() { Sampling = new() { LogitBias = new Dictionary<int, float> { [999] = 1 } } });

        async Task Says(string part, int[] prompt, GenerationOptions options) =>
            Assert.Contains(part, (await Assert.ThrowsAsync<ErgonException>(() => Run(session, prompt, options))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_refuses_options_out_of_range()
    {
        Says("threads is 0", new() { Threads = 0 });
        Says("ctx is -5", new() { ContextLength = -5 });
        Says("no device 'TPU9' here; there is CPU", new() { Device = "TPU9" });
        Says("max-sequences is 0", new() { MaxSequences = 0 });

        void Says(string part, ModelOptions options) =>
            Assert.Contains(part, Assert.Throws<ErgonException>(() => ErgonModel.Load(_path, options)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void More_sessions_than_the_model_was_loaded_for_are_refused()
    {
        var sessions = Enumerable.Range(0, 8).Select(_ => _model.CreateSession()).ToArray();
        Assert.Contains("All 8 sessions", Assert.Throws<ErgonException>(_model.CreateSession).Message, StringComparison.Ordinal);
        foreach (var session in sessions)
            session.Dispose();
        _model.CreateSession().Dispose();
    }

    [Fact]
    public async Task Disposing_a_session_that_generates_ends_it_and_touches_no_other()
    {
        var first = _model.CreateSession();
        using var second = _model.CreateSession();
        var expected = await Run(second, Tokens("neighbour"), 30);
        await using var running = first.GenerateAsync(Tokens("first"), Forever).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        var beside = Run(second, Tokens("neighbour"), 30);
        first.Dispose();
        using var third = _model.CreateSession();
        Assert.Equal(expected, await Run(third, Tokens("neighbour"), 30));
        Assert.Equal(expected, await beside);
        await Assert.ThrowsAsync<ObjectDisposedException>(async () =>
        {
            while (await running.MoveNextAsync())
            {
            }
        });
        second.Dispose();
        third.Dispose();
        Assert.Equal(0, await _model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
    }

    [Fact]
    public async Task A_token_whose_embedding_is_no_number_fails_its_own_generation_only()
    {
        var file = File.ReadAllBytes(_path);
        var embedding = Ergon.Models.Gguf.GgufFile.Open(_path).FindTensor("token_embd.weight")!;
        var row = file.AsSpan((int)(embedding.FileOffset + (7 * 256 * sizeof(float))), 256 * sizeof(float));
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(row).Fill(float.NaN);
        // An output of its own, or the token's logit would be no number for everybody.
        using var model = ErgonModel.Load(WithOutput(_folder.File("nan.gguf", file)), new ModelOptions { Threads = 1, ContextLength = 256, MaxSequences = 2 });
        using var broken = model.CreateSession();
        using var healthy = model.CreateSession();
        int[] prompt = [.. Enumerable.Range(0, 200).Select(i => 30 + (i % 60))];
        var expected = await Run(healthy, prompt, 5);
        var error = await Assert.ThrowsAsync<ErgonException>(() => Run(broken, [1, 7, 3], 5));
        Assert.Contains("not finite", error.Message, StringComparison.Ordinal);
        Assert.Null(broken.Statistics);
        // Another prompt in between makes the healthy session compute everything anew, beside what the broken one left.
        await Run(healthy, [2, .. prompt[1..]], 5);
        Assert.Equal(expected, await Run(healthy, prompt, 5));
        Assert.Equal(5, (await Run(broken, [1, 8, 3], 5)).Length);
    }

    private string WithOutput(string path)
    {
        var source = Ergon.Models.Gguf.GgufFile.Open(path);
        var writer = new Ergon.Models.Gguf.GgufWriter();
        foreach (var key in source.Keys)
            writer.Copy(source, key);
        var bytes = File.ReadAllBytes(path);
        var clean = File.ReadAllBytes(_path);
        foreach (var tensor in source.Tensors)
            writer.AddTensor(tensor.Name, tensor.Type, tensor.Ne.AsSpan(), bytes.AsMemory((int)tensor.FileOffset, (int)tensor.Bytes));
        var embedding = source.FindTensor("token_embd.weight")!;
        writer.AddTensor("output.weight", embedding.Type, embedding.Ne.AsSpan(), clean.AsMemory((int)embedding.FileOffset, (int)embedding.Bytes));
        var target = _folder.File("with-output.gguf");
        writer.Write(target);
        return target;
    }

    [Fact]
    public async Task A_disposed_model_throws_and_does_not_crash()
    {
        var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1 });
        var session = model.CreateSession();
        model.Dispose();
        Assert.Throws<ObjectDisposedException>(() => model.Tokenizer.Tokenize("x"));
        Assert.Throws<ObjectDisposedException>(() => model.Tokenizer.IsEndOfGeneration(1));
        await Assert.ThrowsAsync<ObjectDisposedException>(() => Run(session, [1, 2], 3));
        session.Dispose();
        model.Dispose();
    }

    [Fact]
    public async Task Far_look_backs_are_bounded_by_the_context()
    {
        using var session = _model.CreateSession();
        var sampling = new SamplingOptions { RepeatPenalty = 1.1f, RepeatLastN = int.MaxValue, Dry = new DryOptions(0.8f, LastN: int.MaxValue) };
        Assert.Equal(3, (await Run(session, Tokens("x"), Forever with { MaxTokens = 3, Sampling = sampling })).Length);
    }

    [Fact]
    public async Task A_grammar_too_deep_for_the_native_parser_is_refused()
    {
        using var session = _model.CreateSession();
        var deep = $"root ::= {new string('(', 20000)}\"a\"{new string(')', 20000)}";
        var error = await Assert.ThrowsAsync<ErgonException>(() => Run(session, Tokens("x"), new GenerationOptions { Sampling = new SamplingOptions { Grammar = deep } }));
        Assert.Contains("nests deeper", error.Message, StringComparison.Ordinal);
        // Parentheses in literals and classes are text.
        var flat = $"root ::= {string.Concat(Enumerable.Repeat("\"(\" [(] ", 300))}";
        Assert.NotEmpty(await Run(session, Tokens("x"), new GenerationOptions { MaxTokens = 5, Sampling = new SamplingOptions { Grammar = flat } }));
    }

    [Fact]
    public async Task Disposing_the_model_ends_what_runs()
    {
        var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1 });
        var session = model.CreateSession();
        var stream = session.GenerateAsync([1, 2, 3], Forever).GetAsyncEnumerator();
        Assert.True(await stream.MoveNextAsync());
        model.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(async () =>
        {
            while (await stream.MoveNextAsync())
            {
            }
        });
        session.Dispose();
    }

    private static GenerationOptions Forever => new() { IgnoreEndOfGeneration = true };

    private int[] Tokens(string text) => _model.Tokenizer.Tokenize(text);

    private static Task<int[]> Run(Session session, int[] prompt, int count) => Run(session, prompt, Forever with { MaxTokens = count });

    private static async Task<int[]> Run(Session session, int[] prompt, GenerationOptions options)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, options))
        {
            if (token.Id >= 0)
                tokens.Add(token.Id);
        }
        return [.. tokens];
    }

    public void Dispose()
    {
        _model.Dispose();
        _folder.Dispose();
    }
}
