using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

public sealed class SlidingCellsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void Whatever_a_layer_can_reach_is_where_it_was_written()
    {
        const int sequences = 3;
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var reach = random.Next(1, 400);
            var region = (int)SlidingCells.RegionFor(reach);
            var memory = new int[region * sequences];
            var copied = 0;
            var cells = new SlidingCells(reach, region, sequences, (from, to, count) =>
            {
                copied++;
                Array.Copy(memory, from, memory, to, count);
            });
            // What stands at each position of each sequence.
            List<int>[] model = [[], [], []];
            var tag = 0;
            for (var step = 0; step < 60; step++)
            {
                var sequence = random.Next(sequences);
                var of = model[sequence];
                switch (random.Next(6))
                {
                    case 0 when of.Count > 0:
                        var left = Math.Max(cells.LeastLength(sequence), of.Count - random.Next(100));
                        cells.Truncate(sequence, left);
                        of.RemoveRange(left, of.Count - left);
                        break;
                    case 1:
                        cells.Truncate(sequence, 0);
                        of.Clear();
                        break;
                    case 2 when of.Count > 0:
                        var other = (sequence + 1) % sequences;
                        var length = Math.Max(cells.LeastLength(sequence), of.Count - random.Next(10));
                        cells.Truncate(other, 0);
                        cells.Fork(sequence, other, length);
                        model[other] = of[..length];
                        break;
                    default:
                        // A pass: what its first row reaches is there while all are appended.
                        var count = random.Next(1, random.Next(1, Engine.MaxRows + 1) + 1);
                        cells.Append(sequence, count);
                        // A draft can be taken back.
                        Assert.True(cells.LeastLength(sequence) <= of.Count);
                        for (var i = 0; i < count; i++)
                        {
                            of.Add(++tag);
                            memory[cells.CellOf(sequence, of.Count - 1)] = tag;
                        }
                        Check(sequence, of.Count - count);
                        break;
                }
                for (var s = 0; s < sequences; s++)
                    Check(s, model[s].Count);
            }

            void Check(int sequence, int position)
            {
                for (var p = Math.Max(0, position - reach + 1); p < model[sequence].Count; p++)
                    Assert.Equal(model[sequence][p], memory[cells.CellOf(sequence, p)]);
            }
        }
    }

    [Theory]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public void Layers_that_look_back_over_some_positions_keep_those_and_not_all(string architecture)
    {
        var model = Model(architecture);
        var shape = KvCacheShape.For(model, 4096, 2);
        var full = KvCacheShape.For(model, 512, 1);
        Assert.Equal((0, 0), (full.WindowRegion, full.HistoryRegion));
        Assert.True(shape.Bytes(model, GgmlType.F16) < full.Bytes(model, GgmlType.F16) * 8 * 0.7);
    }

    [Theory]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public void A_rolled_back_draft_and_a_fork_go_on_as_if_nothing_had_been(string architecture)
    {
        var model = Model(architecture);
        using var engine = new Engine(model, [new Placement(Cpu, StageRange.Whole(model), 1)], 4096, 2, GgmlType.F16);
        var sequence = engine.Cells.Open()!.Value;
        var random = new Random(1);
        int[] text = [.. Enumerable.Range(0, 1500).Select(_ => random.Next(3, 300))];
        foreach (var chunk in text.Chunk(400))
            Run(sequence, chunk);
        var expected = Run(sequence, [7]);
        // Far enough for the region to have begun anew.
        Assert.True(engine.Cells.LeastLength(sequence) > 100);
        Assert.Equal(1500, engine.Cells.Truncate(sequence, 1500));
        for (var draft = 0; draft < 20; draft++)
        {
            Run(sequence, [.. Enumerable.Range(10, SlidingCells.Rollback)]);
            Assert.Equal(1500, engine.Cells.Truncate(sequence, 1500));
        }
        Assert.Equal(expected, Run(sequence, [7]));
        Assert.Equal(1500, engine.Cells.Truncate(sequence, 1500));
        var fork = engine.Cells.Fork(sequence, 1500)!.Value;
        Run(sequence, [11, 12]);
        Assert.Equal(expected, Run(fork, [7]));
        // Further back there is nothing to go on from.
        Assert.Equal(0, engine.Cells.Truncate(fork, 20));
        engine.Cells.Close(fork);
        fork = engine.Cells.Fork(sequence, 20)!.Value;
        Assert.Equal(0, engine.Cells.Length(fork));
        engine.Cells.Close(fork);
        engine.Cells.Close(sequence);
        Assert.Equal(4096, engine.Cells.Free);

        float[] Run(int of, int[] tokens)
        {
            Assert.True(engine.TryRun([.. tokens.Select((t, i) => new PassRow(of, t, i == tokens.Length - 1))], out var logits));
            return logits.ToArray();
        }
    }

    [Theory]
    [InlineData("gemma3", 8192, 600)]
    [InlineData("lfm2", 8192, 600)]
    [InlineData("gemma3", 1024, 8192)]
    [InlineData("lfm2", 1024, 8192)]
    public async Task A_session_is_restored_where_more_or_less_is_kept(string architecture, int context, int otherContext)
    {
        var path = new RandomModel(architecture, GgmlType.Q8_0) { Context = 8192 }.Write(_folder.Path);
        using var model = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = context });
        using var other = ErgonModel.Load(path, new ModelOptions { Threads = 1, ContextLength = otherContext, MaxSequences = 2 });
        var random = new Random(2);
        int[] prompt = [.. Enumerable.Range(0, 500).Select(_ => random.Next(3, 300))];
        using var session = model.CreateSession();
        await Run(session, prompt, 20);
        using var saved = new MemoryStream();
        await session.SaveAsync(saved);
        saved.Position = 0;
        using var restored = await other.RestoreSessionAsync(saved);
        int[] longer = [.. prompt, .. await Run(session, prompt, 20), 5, 6, 7];
        var expected = await Run(session, longer, 20);
        Assert.Equal(expected, await Run(restored, longer, 20));
        Assert.True(restored.Statistics!.ReusedTokens >= 500);
        saved.Position = 0;
        using var again = await other.RestoreSessionAsync(saved);
        // The same prompt needs its last token computed anew, and no more.
        await Run(again, longer[..519], 1);
        Assert.Equal(518, again.Statistics!.ReusedTokens);
        // What was not saved is not there to roll back to.
        Assert.Equal(await Run(session, prompt[..300], 5), await Run(restored, prompt[..300], 5));
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

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private ModelDescription Model(string architecture) => ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q8_0) { Context = 4096 }.Write(_folder.Path)));

    public void Dispose() => _folder.Dispose();
}
