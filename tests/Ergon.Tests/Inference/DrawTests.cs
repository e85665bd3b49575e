using Ergon.Inference;
using Ergon.Native.Llama;

namespace Ergon.Tests.Inference;

/// <summary>Draws follow the distribution that the logits make, whichever token of a generation they are for.</summary>
public sealed class DrawTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(57)]
    public void Draws_over_many_seeds_have_the_softmax_for_their_distribution(int index)
    {
        using var folder = new TemporaryFolder();
        using var tokenizer = Ergon.Models.Tokenizer.Load(new RandomModel("llama", Ergon.Native.GgmlType.F16) { Layers = 1 }.Write(folder.Path));
        var vocabulary = tokenizer.Vocabulary;
        var candidates = new Candidates(vocabulary.Count);
        var random = new Random(5);
        float[] logits = [.. Enumerable.Range(0, vocabulary.Count).Select(_ => 3 * random.NextSingle())];
        var total = logits.Sum(l => Math.Exp(l));
        const int draws = 50_000;
        var counts = new int[vocabulary.Count];
        var previous = -1;
        var repeats = 0;
        for (uint seed = 0; seed < draws; seed++)
        {
            using var chain = new SamplerChain(vocabulary).Draw(seed, xtc: null, temperature: 1);
            chain.BeginDraw(index);
            var token = chain.Sample(logits, candidates);
            counts[token]++;
            repeats += token == previous ? 1 : 0;
            previous = token;
        }

        var chiSquare = logits.Select((l, i) => (Expected: draws * Math.Exp(l) / total, Count: counts[i])).Sum(c => (c.Count - c.Expected) * (c.Count - c.Expected) / c.Expected);
        // 319 degrees of freedom: mean 319, standard deviation 25. The bound is five of those away.
        Assert.InRange(chiSquare, 319 - 126, 319 + 126);
        // Neighbouring seeds are unrelated: two draws agree as often as two of the distribution do.
        var agree = draws * logits.Sum(l => Math.Pow(Math.Exp(l) / total, 2));
        Assert.InRange(repeats, agree - (5 * Math.Sqrt(agree)), agree + (5 * Math.Sqrt(agree)));
    }

    [Theory]
    [InlineData(0.3f)]
    [InlineData(1f)]
    [InlineData(1.7f)]
    public void A_draw_from_the_whole_distribution_is_libllamas(float temperature)
    {
        using var folder = new TemporaryFolder();
        using var tokenizer = Ergon.Models.Tokenizer.Load(new RandomModel("llama", Ergon.Native.GgmlType.F16) { Layers = 1 }.Write(folder.Path));
        var candidates = new Candidates(tokenizer.Vocabulary.Count);
        var random = new Random(9);
        var (same, draws) = (0, 4000);
        for (var i = 0; i < draws; i++)
        {
            float[] logits = [.. Enumerable.Range(0, tokenizer.Vocabulary.Count).Select(t => t % 7 == 3 ? float.NegativeInfinity : (20 * random.NextSingle()) - 10)];
            using var chain = new SamplerChain(tokenizer.Vocabulary).Draw((uint)i, xtc: null, temperature);
            chain.BeginDraw(i % 50);
            var token = new PlainDraw((uint)i, temperature).Sample(logits, i % 50);
            Assert.NotEqual(float.NegativeInfinity, logits[token]);
            same += token == chain.Sample(logits, candidates) ? 1 : 0;
        }
        // An exponential that rounds otherwise moves a number over an edge once in 10^6 draws.
        Assert.InRange(same, draws - 1, draws);
    }

    [Fact]
    public void A_number_in_zero_to_one_is_that_of_the_standard_generator()
    {
        // mt19937's first two outputs for its default seed, 5489: 3499211612 and 581869302.
        Assert.Equal((3499211612 + (581869302 * 4294967296.0)) / 18446744073709551616.0, PlainDraw.Uniform(5489));
    }
}
