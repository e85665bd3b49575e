using System.Buffers.Binary;
using System.Security.Cryptography;
using Ergon.Inference;
using Ergon.Native;

namespace Ergon.Tests.Inference;

public sealed class SessionStateTests : IDisposable
{
    private const int CountOffset = 28, TokensOffset = 64;

    private readonly TemporaryFolder _folder = new();
    private readonly string _path;
    private readonly ErgonModel _model;

    public SessionStateTests()
    {
        _path = new RandomModel("llama", GgmlType.F32) { Layers = 2 }.Write(_folder.Path);
        _model = Load(_path, KvCacheType.F16);
    }

    private static ErgonModel Load(string path, KvCacheType type, int context = 256) =>
        ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = context, MaxSequences = 3, KvType = type });

    [Theory]
    [InlineData("llama", KvCacheType.F16)]
    [InlineData("llama", KvCacheType.Q8_0)]
    [InlineData("llama", KvCacheType.Q4_0)]
    [InlineData("llama", KvCacheType.F32)]
    [InlineData("gemma3", KvCacheType.F16)]
    [InlineData("lfm2", KvCacheType.F16)]
    public async Task A_restored_session_goes_on_with_the_same_tokens_in_another_engine_and_other_cells(string architecture, KvCacheType type)
    {
        var path = new RandomModel(architecture, GgmlType.F32).Write(_folder.Path);
        using var model = Load(path, type);
        using var session = model.CreateSession();
        int[] prompt = [.. model.Tokenizer.Tokenize(new string('q', 90) + " of the session")];
        int[] history = [.. prompt, .. await Run(session, prompt, 20)];
        var saved = await Save(session);
        var expected = await Run(session, history, 40);

        // The original's cells are reused, and a neighbour pushes the restored one to others.
        session.Dispose();
        using var neighbour = model.CreateSession();
        await Run(neighbour, model.Tokenizer.Tokenize(new string('z', 50)), 10);
        using var restored = await model.RestoreSessionAsync(new MemoryStream(saved));
        Assert.Equal(expected, await Run(restored, history, 40));
        Assert.Equal(history.Length - 1, restored.Statistics!.ReusedTokens);

        using var other = Load(path, type, context: 512);
        using var there = await other.RestoreSessionAsync(new MemoryStream(saved));
        Assert.Equal(expected, await Run(there, history, 40));
    }

    [Fact]
    public async Task What_is_restored_and_saved_again_has_the_same_bytes_and_the_stream_may_go_on()
    {
        var saved = await SaveOne();
        using var stream = new MemoryStream([.. saved, 1, 2, 3]);
        using var restored = await _model.RestoreSessionAsync(stream);
        Assert.Equal(saved.Length, stream.Position);
        Assert.Equal(saved, await Save(restored));
        using var empty = _model.CreateSession();
        using var second = await _model.RestoreSessionAsync(new MemoryStream(await Save(empty)));
        Assert.Equal(3, (await Run(second, [1, 2], 3)).Length);
    }

    [Fact]
    public async Task Bytes_of_another_model_cache_or_version_are_refused()
    {
        var saved = await SaveOne();
        await Refuses(_model, [.. "not a session at all"u8, .. new byte[100]], "no saved session");
        await Refuses(_model, With(saved, 8, 99), "format version 99");
        using var quantized = Load(_path, KvCacheType.Q8_0);
        await Refuses(quantized, saved, "another kv-type than this model was loaded with, Q8_0");
        using var twin = Load(new RandomModel("llama", GgmlType.F32) { Layers = 2, Seed = 2 }.Write(_folder.Path), KvCacheType.F16);
        await Refuses(twin, saved, "belongs to another model");
        using var small = Load(_path, KvCacheType.F16, context: 8);
        await Refuses(small, saved, "tokens, but the context holds 8");
    }

    [Fact]
    public async Task Damaged_bytes_are_refused_and_leave_no_cell_taken()
    {
        var saved = await SaveOne();
        for (var length = 0; length < saved.Length; length += length < 100 ? 7 : 1001)
            await Refuses(_model, saved[..length], "ends too early");
        foreach (var offset in (int[])[TokensOffset, TokensOffset + 400, saved.Length / 2, saved.Length - 40, saved.Length - 1])
            await Refuses(_model, With(saved, offset & ~3, BinaryPrimitives.ReadInt32LittleEndian(saved.AsSpan(offset & ~3)) ^ 1), "checksum");
        // Before anything is allocated.
        await Refuses(_model, With(saved, CountOffset, int.MaxValue), "context holds 256");
        await Refuses(_model, With(saved, CountOffset, -1), "negative");
        await Refuses(_model, With(saved, TokensOffset, 320), "a token that the vocabulary has not");
        await Refuses(_model, With(saved, 12, 1000), "does not describe this model");
        await Refuses(_model, With(saved, 24, int.MaxValue), "does not describe this model");
    }

    [Fact]
    public async Task Numbers_that_are_not_finite_are_refused_even_under_a_right_checksum()
    {
        var saved = await SaveOne();
        BinaryPrimitives.WriteHalfLittleEndian(saved.AsSpan(saved.Length - 34), Half.NaN);
        SHA256.HashData(saved.AsSpan(0, saved.Length - 32)).CopyTo(saved.AsSpan(saved.Length - 32));
        await Refuses(_model, saved, "not finite");
    }

    [Fact]
    public async Task A_cache_without_room_refuses_and_the_others_go_on()
    {
        var saved = await SaveOne();
        using var model = ErgonModel.Load(_path, new ModelOptions { Threads = 1, ContextLength = 128, MaxSequences = 2, CacheLength = 128 });
        using var other = model.CreateSession();
        var expected = await Run(other, model.Tokenizer.Tokenize(new string('w', 90)), 20);
        // While it is being saved, nobody takes what it has.
        using var slow = new SlowStream();
        var saving = other.SaveAsync(slow);
        var error = await Assert.ThrowsAsync<ErgonException>(() => model.RestoreSessionAsync(new MemoryStream(saved)));
        Assert.Contains("positions are free", error.Message, StringComparison.Ordinal);
        slow.Go.SetResult();
        await saving;
        // Once it rests, it makes room.
        using var restored = await model.RestoreSessionAsync(new MemoryStream(saved));
        Assert.Equal(expected, await Run(other, model.Tokenizer.Tokenize(new string('w', 90)), 20));
    }

    [Fact]
    public async Task Keys_that_LongRoPE_rotated_for_another_length_of_context_are_refused()
    {
        var path = new RandomModel("phi3", GgmlType.F32)
        {
            RopeFactors = ["rope_factors_long", "rope_factors_short"],
            Keys = new() { ["rope.scaling.type"] = "longrope", ["rope.scaling.attn_factor"] = 1.19f, ["rope.scaling.original_context_length"] = 256u },
        }.Write(_folder.Path);
        using var within = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = 256 });
        using var beyond = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = 512 });
        using var session = within.CreateSession();
        await Run(session, [5, 6, 7], 5);
        var saved = await Save(session);
        await Refuses(beyond, saved, "rotated for short contexts");
    }

    // Takes nothing until it is told to.
    private sealed class SlowStream : MemoryStream
    {
        public TaskCompletionSource Go { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Go.Task;
            await base.WriteAsync(buffer, cancellationToken);
        }
    }

    private static async Task Refuses(ErgonModel model, byte[] bytes, string reason)
    {
        var used = await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free);
        var error = await Assert.ThrowsAsync<ErgonException>(() => model.RestoreSessionAsync(new MemoryStream(bytes)));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Equal(used, await model.InvokeAsync(e => e.Cells.Capacity - e.Cells.Free));
        // No session is left open either.
        Assert.Equal(model.MaxSequences, await model.InvokeAsync(e => Enumerable.Range(0, e.Cells.MaxSequences).Count(s => !e.Cells.IsOpen(s))));
    }

    private static byte[] With(byte[] bytes, int offset, int value)
    {
        var changed = (byte[])bytes.Clone();
        BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(offset), value);
        return changed;
    }

    private async Task<byte[]> SaveOne()
    {
        using var session = _model.CreateSession();
        await Run(session, _model.Tokenizer.Tokenize(new string('s', 100)), 5);
        return await Save(session);
    }

    private static async Task<byte[]> Save(Session session)
    {
        using var stream = new MemoryStream();
        await session.SaveAsync(stream);
        return stream.ToArray();
    }

    private static async Task<int[]> Run(Session session, int[] prompt, int count)
    {
        var tokens = new List<int>();
        await foreach (var token in session.GenerateAsync(prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }))
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
