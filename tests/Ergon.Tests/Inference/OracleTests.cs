using Ergon.Inference;
using Ergon.Models;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Native.Llama;
using Ergon.Native.Tensors;

namespace Ergon.Tests.Inference;

/// <summary>Our forward graph against libllama's, on the same file, CPU, one thread: equal to the last bit.</summary>
public sealed class OracleTests : IDisposable
{
    private const int Context = 1024;
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string, GgmlType> RandomModels()
    {
        var data = new TheoryData<string, GgmlType>();
        foreach (var architecture in Architecture.All.Where(a => !a.Encoder))
        {
            foreach (var type in (GgmlType[])[GgmlType.F32, GgmlType.F16, GgmlType.Q8_0, GgmlType.Q4_0, GgmlType.Q4_K])
                data.Add(architecture.Name, type);
        }
        return data;
    }

    [Theory]
    [MemberData(nameof(RandomModels))]
    public void Random_models_give_the_same_logits_and_128_greedy_tokens(string architecture, GgmlType type) =>
        CompareWithLlama(new RandomModel(architecture, type).Write(_folder.Path), prompt: 70);

    public static TheoryData<string, string> Variations() => new()
    {
        { "llama", "untied" },
        { "llama", "rope factors" },
        { "llama", "linear" },
        { "llama", "yarn" },
        { "llama", "long heads" },
        { "llama", "fused qkv" },
        { "llama", "a window that the family ignores" },
        { "qwen2", "yarn" },
        { "qwen3", "long heads" },
        { "qwen3", "fused qkv" },
        { "qwen3", "yarn" },
        { "qwen3moe", "one expert" },
        { "qwen3moe", "all experts, of a width that follows from the whole" },
        { "lfm2", "attention first and last" },
        { "lfm2", "a window" },
        { "granite", "no multipliers" },
        { "granite", "no positions" },
        { "granite", "rope factors" },
        { "phi3", "short factors" },
        { "phi3", "long factors" },
        { "phi3", "partial rope" },
        { "phi3", "separate qkv and a window that the family ignores" },
        { "gemma2", "long heads" },
        { "gemma2", "a base of its own for the window" },
        { "gemma2", "linear" },
        { "gemma2", "the family's own pattern" },
        { "gemma2", "attention scaled by the width" },
        { "gemma3", "the family's own pattern" },
        { "gemma3", "attention scaled by the width" },
        { "gemma3", "long heads" },
        { "gemma3", "no window" },
        { "gemma3", "a base of its own for the window" },
        { "gemma3", "linear" },
        { "gemma3", "a cap" },
        { "smollm3", "yarn" },
        { "olmo2", "the family's own pattern" },
        { "olmo2", "no window" },
        { "olmo2", "a list of windows" },
        { "olmo2", "yarn" },
    };

    [Theory]
    [MemberData(nameof(Variations))]
    public void Variations_of_a_family_give_the_same_logits(string architecture, string what)
    {
        var plain = new RandomModel(architecture, GgmlType.F32);
        Dictionary<string, object?> Scaling(string type) => new()
        {
            ["rope.scaling.type"] = type,
            ["rope.scaling.factor"] = 4f,
            ["rope.scaling.original_context_length"] = 256u,
        };
        var model = what switch
        {
            "untied" => plain with { TiedOutput = false },
            "rope factors" => plain with { RopeFactors = ["rope_freqs"] },
            "linear" or "yarn" => plain with { Keys = Scaling(what) },
            "long heads" => plain with { HeadLength = 128 },
            "fused qkv" => plain with { FusedQkv = true },
            "a window that the family ignores" => plain with { Keys = new() { ["attention.sliding_window"] = 40u } },
            "one expert" => plain with { Keys = new() { ["expert_used_count"] = 1u } },
            "all experts, of a width that follows from the whole" => plain with
            {
                Keys = new() { ["expert_used_count"] = 8u, ["expert_feed_forward_length"] = 0u, ["feed_forward_length"] = 8u * 512 },
            },
            "attention first and last" => plain with { AttentionFirst = true },
            "a window" => plain with { Keys = new() { ["attention.sliding_window"] = 40u } },
            "no multipliers" => plain with { Keys = new() { ["attention.scale"] = 0f, ["embedding_scale"] = 0f, ["residual_scale"] = 0f, ["logit_scale"] = 1f } },
            "no positions" => plain with { Keys = new() { ["rope.scaling.finetuned"] = false } },
            "short factors" or "long factors" => plain with
            {
                RopeFactors = ["rope_factors_long", "rope_factors_short"],
                Keys = new()
                {
                    ["rope.scaling.type"] = "longrope", ["rope.scaling.attn_factor"] = 1.19f,
                    ["rope.scaling.original_context_length"] = what[0] == 'l' ? 256u : 1024u,
                },
            },
            "partial rope" => plain with { Keys = new() { ["rope.dimension_count"] = 48u } },
            "separate qkv and a window that the family ignores" => plain with { FusedQkv = false, Keys = new() { ["attention.sliding_window"] = 40u } },
            "no window" => plain with { Keys = new() { ["attention.sliding_window"] = 0u } },
            "a base of its own for the window" => plain with { Keys = new() { ["rope.freq_base_swa"] = 1000f } },
            "a cap" => plain with { Keys = new() { ["final_logit_softcapping"] = 1.5f } },
            "the family's own pattern" => plain with { Layers = 7, Keys = new() { ["attention.sliding_window_pattern"] = null } },
            "attention scaled by the width" => plain with { Layers = architecture == "gemma2" ? 46 : 62, HeadLength = 128 },
            "a list of windows" => plain with { Keys = new() { ["attention.sliding_window_pattern"] = new[] { true, false, true } } },
            _ => throw new ArgumentOutOfRangeException(nameof(what), what, null),
        };
        CompareWithLlama(model.Write(_folder.Path), prompt: 300);
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gemma2")]
    [InlineData("gemma3")]
    [InlineData("olmo2")]
    [InlineData("lfm2")]
    public void A_prompt_of_several_passes_gives_the_same_logits(string architecture) =>
        CompareWithLlama(new RandomModel(architecture, GgmlType.Q8_0).Write(_folder.Path), prompt: 700, decode: 300);

    public static TheoryData<string, GgmlType, int> QuantisedCaches()
    {
        var data = new TheoryData<string, GgmlType, int>();
        foreach (var architecture in (string[])["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite", "smollm3", "lfm2", "gpt2"])
        {
            foreach (var type in (GgmlType[])[GgmlType.Q8_0, GgmlType.Q4_0])
                data.Add(architecture, type, 64);
        }
        // Heads that are turned in one piece, in two, and not at all.
        foreach (var length in (int[])[128, 192, 32])
            data.Add("llama", GgmlType.Q4_0, length);
        return data;
    }

    [Theory]
    [MemberData(nameof(QuantisedCaches))]
    public void Quantised_keys_and_values_give_the_same_logits(string architecture, GgmlType type, int headLength) =>
        CompareWithLlama(new RandomModel(architecture, GgmlType.F32) { HeadLength = headLength == 64 ? null : headLength }.Write(_folder.Path), prompt: 300, cacheType: type);

    [SharedTheory]
    [InlineData("stories260K-f32.gguf", 40)]
    [InlineData("llama2xs-280K-tok512-f32.gguf", 40)]
    [InlineData("llama-2-tiny-random.gguf", 100)]
    [InlineData("ergon-words-s-f16.gguf", 40)]
    [InlineData("ergon-words-m-f16.gguf", 40)]
    [InlineData("ergon-words-l-f16.gguf", 40)]
    public void Real_models_give_the_same_logits_and_128_greedy_tokens(string file, int prompt) =>
        CompareWithLlama(Shared.Path("data/models/" + file), prompt);

    public static TheoryData<string> Generative() => [.. Architecture.All.Where(a => !a.Encoder).Select(a => a.Name)];

    [Theory]
    [MemberData(nameof(Generative))]
    public void Cutting_at_every_stage_boundary_leaves_the_logits_as_they_are(string architecture)
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.Q4_0).Write(_folder.Path)));
        var stages = Stage.Count(model.LayerCount);
        var whole = CutLogits(model, 0, stages);
        for (var cut = 1; cut < stages; cut++)
            Assert.Equal(whole, CutLogits(model, 0, cut, stages));
        // Each stage a segment of its own.
        Assert.Equal(whole, CutLogits(model, [.. Enumerable.Range(0, stages + 1)]));
    }

    private static float[] CutLogits(ModelDescription model, params int[] cuts)
    {
        using var engine = new Engine(model, [.. cuts.Zip(cuts.Skip(1)).Select(c => new Placement(Cpu, new StageRange(c.First, c.Second, model.LayerCount), 1))], 1024, 3, GgmlType.F16);
        int first = engine.Cells.Open()!.Value, second = engine.Cells.Open()!.Value;
        var all = new List<float>();
        // Rows with and without logits, a pass without any, single rows, and two sequences that lie apart.
        Run([.. Prompt(50, model).Select((t, i) => new PassRow(first, t, i % 3 == 0))]);
        Run([.. Prompt(5, model).Select(t => new PassRow(first, t, false))]);
        Run([.. Prompt(70, model).Select((t, i) => new PassRow(second, t, i == 69)), .. Prompt(4, model).Select(t => new PassRow(first, t, true))]);
        Run([new PassRow(second, 7, true), new PassRow(first, 7, true)]);
        Run([new PassRow(first, 7, true)]);
        return [.. all];

        void Run(PassRow[] rows)
        {
            Assert.True(engine.TryRun(rows, out var logits));
            Assert.Equal(rows.Count(r => r.WantsLogits) * model.VocabularySize, logits.Length);
            all.AddRange(logits);
        }
    }

    [Theory]
    [InlineData("gemma3")]
    [InlineData("qwen3moe")]
    [InlineData("lfm2")]
    public void A_sequence_that_was_forked_and_rolled_back_beside_another_goes_on_as_if_it_were_alone(string architecture)
    {
        var model = ModelDescription.Read(GgufFile.Open(new RandomModel(architecture, GgmlType.F32).Write(_folder.Path)));
        // Passes of other shapes differ in the last bits, which F16 keys and values would round apart to 1e-3.
        using var engine = new Engine(model, [new Placement(Cpu, StageRange.Whole(model), 1)], 512, 4, GgmlType.F32);
        int[] prompt = Prompt(60, model), other = Prompt(45, model), detour = Prompt(9, model);
        var alone = Run([.. Rows(engine.Cells.Open()!.Value, [.. prompt, .. other])])[^model.VocabularySize..];

        var origin = engine.Cells.Open()!.Value;
        Run([.. Rows(origin, [.. prompt, .. detour])]);
        engine.Cells.Truncate(origin, prompt.Length);
        var fork = engine.Cells.Fork(origin, prompt.Length)!.Value;
        // The fork goes on with the other text in two passes, while its origin takes the detour again.
        Run([.. Rows(origin, detour), .. Rows(fork, other[..1])]);
        var beside = Run([.. Rows(fork, other[1..]), .. Rows(origin, detour)])[..model.VocabularySize];

        var largest = alone.Max(MathF.Abs);
        for (var i = 0; i < alone.Length; i++)
            Assert.InRange(MathF.Abs(alone[i] - beside[i]) / largest, 0, 1e-5f);

        float[] Run(PassRow[] rows)
        {
            Assert.True(engine.TryRun(rows, out var logits));
            return logits.ToArray();
        }
        static IEnumerable<PassRow> Rows(int sequence, int[] tokens) => tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1));
    }

    private static NativeDevice Cpu => NativeDevice.All().First(d => d.Kind == NativeDeviceKind.Cpu);

    private static int[] Prompt(int length, ModelDescription model)
    {
        var random = new Random(length);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(3, model.VocabularySize))];
    }

    internal static void CompareWithLlama(string path, int prompt, int decode = 128, GgmlType cacheType = GgmlType.F16)
    {
        var model = ModelDescription.Read(GgufFile.Open(path));
        using var engine = new Engine(model, [new Placement(Cpu, StageRange.Whole(model), 1)], Context, 1, cacheType);
        using var llama = LlamaModel.Load(path, vocabularyOnly: false);
        using var oracle = new LlamaContext(llama, Context, 1, cacheType: cacheType);
        var sequence = engine.Cells.Open()!.Value;
        var expected = new float[model.VocabularySize];
        var position = 0;
        foreach (var chunk in Prompt(prompt, model).Chunk(Engine.MaxRows))
            Check(chunk);
        for (var i = 0; i < decode; i++)
            Check([TokenSampler.IndexOfMax(expected)]);

        void Check(int[] tokens)
        {
            oracle.Decode(tokens, position, [tokens.Length - 1], expected);
            position += tokens.Length;
            Assert.True(engine.TryRun([.. tokens.Select((t, i) => new PassRow(sequence, t, i == tokens.Length - 1))], out var actual));
            Assert.True(Engine.IsFinite(actual), $"logits are not finite at position {position}");
            Assert.True(actual.SequenceEqual(expected), $"logits differ at position {position}");
        }
    }

    public void Dispose() => _folder.Dispose();
}
