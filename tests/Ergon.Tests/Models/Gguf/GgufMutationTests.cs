using System.Diagnostics;
using System.Globalization;
using Ergon.Models.Gguf;
using Xunit.Abstractions;

namespace Ergon.Tests.Models.Gguf;

/// <summary>Mutants of valid models either open or are refused by name, soon and in little memory.
/// ERGON_FUZZ sets how many there are in all (bench/fuzz.sh reader).</summary>
public sealed class GgufMutationTests(ITestOutputHelper output) : IDisposable
{
    // Two windows of 32 KiB, the names of 256 byte tokens as they are looked up, an error's message and
    // stack, and some 300 bytes for each of a base's 70 keys and tensors: the rest is bounded by the file.
    private const long FixedBytes = 128 * 1024;

    private static readonly int Mutants = int.Parse(Environment.GetEnvironmentVariable("ERGON_FUZZ") ?? "4000", CultureInfo.InvariantCulture);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("bpe")]
    [InlineData("spm")]
    [InlineData("wpm")]
    [InlineData("ugm")]
    [InlineData("rwkv")]
    [InlineData("plamo2")]
    public void A_mutant_opens_or_is_refused(string name) => Run(name, GgufBases.Named(name), Mutants / 8);

    [SharedTheory]
    [InlineData("stories260K-f32.gguf")]
    [InlineData("ergon-words-s-f16.gguf")]
    public void A_mutant_of_a_published_model_opens_or_is_refused(string name) =>
        Run(name, File.ReadAllBytes(Shared.Path("data/models/" + name)), Mutants / 8);

    private void Run(string name, byte[] whole, int mutants)
    {
        string path = _folder.File("mutant.gguf", whole);
        int header = (int)GgufFile.Open(path).Tensors[0].FileOffset;
        // The weights are not read: they are there as a hole in the file.
        int head = Math.Min(whole.Length, header + 1024);
        var mutator = new GgufMutator(whole[..head], header);
        int opened = 0;
        long mostOverTwice = 0;
        TimeSpan slowest = default, total = default;
        for (int seed = 0; seed < mutants; seed++)
        {
            byte[] mutant = mutator.Next(seed);
            long length = mutant.Length < head / 2 ? mutant.Length : mutant.Length + whole.Length - head;
            Overwrite(path, mutant, length);
            long before = GC.GetAllocatedBytesForCurrentThread();
            long start = Stopwatch.GetTimestamp();
            try
            {
                GgufFile.Open(path);
                opened++;
            }
            catch (GgufException e) when (e.Message.Length < 1000)
            {
            }
            catch (Exception e)
            {
                Assert.Fail($"{name}, seed {seed}: {e}");
            }
            var elapsed = Stopwatch.GetElapsedTime(start);
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.True(allocated <= 2 * length + FixedBytes, $"{name}, seed {seed}: {allocated} bytes for a file of {length}");
            Assert.True(elapsed < TimeSpan.FromSeconds(1), $"{name}, seed {seed}: {elapsed}");
            total += elapsed;
            slowest = elapsed > slowest ? elapsed : slowest;
            mostOverTwice = Math.Max(mostOverTwice, allocated - 2 * length);
        }
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{name}: {mutants} mutants, {opened} opened, {mutants - opened} refused, {total.TotalSeconds:f1} s, slowest {slowest.TotalMilliseconds:f1} ms, at most {mostOverTwice} bytes over twice the file"));
    }

    // The same file all along: making one anew, or emptying it, takes the disk longer than all the rest.
    private static void Overwrite(string path, byte[] head, long length)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write);
        RandomAccess.SetLength(file, head.Length);
        RandomAccess.Write(file, head, 0);
        RandomAccess.SetLength(file, length);
    }
}
