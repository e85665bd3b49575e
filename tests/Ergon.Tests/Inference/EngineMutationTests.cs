using System.Diagnostics;
using System.Globalization;
using Ergon.Inference;
using Ergon.Models.Gguf;
using Ergon.Native;
using Ergon.Tests.Models.Gguf;
using Xunit.Abstractions;

namespace Ergon.Tests.Inference;

/// <summary>
/// Mutants that the reader lets through are loaded and run for two tokens, or embed two, in a child process, which native
/// code must not bring down. ERGON_FUZZ sets how many mutants there are in all (bench/fuzz.sh engine).
/// </summary>
public sealed class EngineMutationTests(ITestOutputHelper output) : IDisposable
{
    private static readonly int Mutants = int.Parse(Environment.GetEnvironmentVariable("ERGON_FUZZ") ?? "2000", CultureInfo.InvariantCulture);
    private readonly TemporaryFolder _folder = new();
    private readonly Probe _probe = new(EngineChoice.Ergon, TimeSpan.FromSeconds(10));

    [Theory]
    [InlineData("llama", GgmlType.F32)]
    [InlineData("llama", GgmlType.Q8_0)]
    [InlineData("qwen2", GgmlType.Q4_K)]
    [InlineData("gpt2", GgmlType.F16)]
    [InlineData("lfm2", GgmlType.F32)]
    [InlineData("phi3", GgmlType.Q4_0)]
    [InlineData("gemma2", GgmlType.Q8_0)]
    [InlineData("qwen3moe", GgmlType.Q4_0)]
    [InlineData("bert", GgmlType.F16)]
    [InlineData("nomic-bert", GgmlType.Q8_0)]
    public async Task A_mutant_runs_or_is_refused(string architecture, GgmlType type)
    {
        var whole = File.ReadAllBytes(new RandomModel(architecture, type) { Layers = 2 }.Write(_folder.Path));
        var path = _folder.File("mutant.gguf", whole);
        var mutator = new GgufMutator(whole, (int)GgufFile.Open(path).Tensors[0].FileOffset);
        int opened = 0, ran = 0;
        var slowest = (Time: TimeSpan.Zero, Seed: 0);
        Assert.Equal("ok", await _probe.AskAsync(path));
        var failures = new List<string>();
        for (var seed = 0; seed < Mutants / 10; seed++)
        {
            File.WriteAllBytes(path, mutator.Next(seed));
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
            else if (!answer.StartsWith("refused: ", StringComparison.Ordinal))
                failures.Add($"seed {seed}: {answer}");
        }
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{architecture} {type}: {Mutants / 10} mutants, {opened} opened, {ran} ran, {failures.Count} failures, slowest {slowest.Time.TotalMilliseconds:F0} ms (seed {slowest.Seed})"));
        Assert.Empty(failures);
    }

    public void Dispose()
    {
        _probe.Dispose();
        _folder.Dispose();
    }
}
