using System.Diagnostics;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Tests.Models.Gguf;
using Xunit.Abstractions;

namespace Ergon.Tests.Inference;

/// <summary>
/// Mutants that the reader lets through are loaded and run by the libllama engine. libllama itself may die of them, in
/// the trial's process: the one that asked for the model must hear a sentence. ERGON_FUZZ sets how many mutants there
/// are in all (bench/fuzz.sh libllama).
/// </summary>
public sealed class LibllamaMutationTests(ITestOutputHelper output) : IDisposable
{
    // Each is a process of its own.
    private static readonly int Mutants = int.Parse(Environment.GetEnvironmentVariable("ERGON_FUZZ") ?? "120", CultureInfo.InvariantCulture);

    // Keys that libllama reads of some architecture, beside those that the file has.
    private static readonly string[] MoreKeys =
    [
        "attention.key_length", "attention.value_length", "rope.dimension_count", "attention.sliding_window", "expert_count", "expert_used_count", "leading_dense_block_count",
        "attention.head_count_kv", "feed_forward_length", "attention.causal", "pooling_type", "rope.freq_base", "rope.scaling.factor", "rope.scaling.original_context_length",
        "nextn_predict_layers", "ssm.group_count", "ssm.conv_kernel", "ssm.state_size", "shortconv.l_cache", "vocab_size",
    ];

    private static readonly object[] Values =
    [
        0u, 1u, 2u, 3u, 5u, 7u, 16u, 31u, 33u, 64u, 100u, 512u, 1u << 16, 1u << 24, (uint)int.MaxValue, 1u << 31, uint.MaxValue,
        0f, -1f, float.NaN, float.PositiveInfinity, 1e-30f, 1e30f, new[] { 1, 2 }, new[] { 0, 0 }, new[] { -1, 4 }, new[] { 4, int.MaxValue }, new[] { 1, 2, 3 }, "text",
    ];

    private readonly TemporaryFolder _folder = new();
    private readonly Probe _probe = new(EngineChoice.Libllama, TimeSpan.FromSeconds(90));

    [Theory]
    [InlineData("stablelm")]
    [InlineData("starcoder2")]
    [InlineData("mamba")]
    [InlineData("llama")]
    [InlineData("gemma3")]
    [InlineData("lfm2")]
    public async Task A_mutant_runs_or_is_refused(string architecture)
    {
        var whole = Base(architecture, []);
        var bytes = File.ReadAllBytes(whole);
        var own = GgufFile.Open(whole);
        var mutator = new GgufMutator(bytes, (int)own.Tensors[0].FileOffset);
        string[] keys = [.. own.Keys.Where(k => k.StartsWith(architecture + ".", StringComparison.Ordinal)).Select(k => k[(architecture.Length + 1)..]).Union(MoreKeys)];
        Assert.Equal("ok", await _probe.AskAsync(whole));
        int opened = 0, ran = 0, died = 0;
        var slowest = (Time: TimeSpan.Zero, Seed: 0);
        var failures = new List<string>();
        for (var seed = 0; seed < Mutants / 6; seed++)
        {
            var random = new Random(seed);
            // Half of them have one odd hyperparameter, the rest any fault.
            var path = seed % 2 == 0 ? Base(architecture, new() { [keys[random.Next(keys.Length)]] = Values[random.Next(Values.Length)] }) : _folder.File("mutant.gguf", mutator.Next(seed));
            try
            {
                GgufFile.Open(path);
            }
            catch (GgufException)
            {
                continue;
            }
            opened++;
            var began = Stopwatch.GetTimestamp();
            var answer = await _probe.AskAsync(path);
            var elapsed = Stopwatch.GetElapsedTime(began);
            slowest = elapsed > slowest.Time ? (elapsed, seed) : slowest;
            if (answer == "ok")
                ran++;
            else if (!answer.StartsWith("refused: ", StringComparison.Ordinal) || !answer.EndsWith('.'))
                failures.Add($"seed {seed}: {answer}");
            else if (answer.Contains("does not survive", StringComparison.Ordinal))
                died++;
            output.WriteLine($"{seed}: {answer}");
            File.Delete(path);
        }
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{architecture}: {Mutants / 6} mutants, {opened} opened, {ran} ran, {died} killed their trial, {failures.Count} failures, slowest {slowest.Time.TotalMilliseconds:F0} ms (seed {slowest.Seed})"));
        Assert.Empty(failures);
    }

    private string Base(string architecture, Dictionary<string, object?> keys) =>
        architecture is "llama" or "gemma3" or "lfm2" ? new RandomModel(architecture, GgmlType.F32) { Layers = 2, Embedding = 64, FeedForward = 128, Keys = keys }.Write(_folder.Path)
        : new UndescribedModel(architecture) { Keys = keys }.Write(_folder.Path);

    public void Dispose()
    {
        _probe.Dispose();
        _folder.Dispose();
    }
}
