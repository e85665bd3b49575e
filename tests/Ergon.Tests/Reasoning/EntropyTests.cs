using Ergon.Reasoning;
using Ergon.Reasoning.Entropies;

namespace Ergon.Tests.Reasoning;

public sealed class EntropyTests
{
    public static TheoryData<string> Names => [.. EntropyCatalogue.All.Select(e => e.Facts.Name)];

    private static Entropy Named(string name) => EntropyCatalogue.All.Single(e => e.Facts.Name == name);

    [Theory]
    [MemberData(nameof(Names))]
    public void Merging_states_never_raises_a_monotone_entropy_and_splitting_never_lowers_it(string name)
    {
        var entropy = Named(name);
        var random = new Random(1);
        var tried = 0;
        for (var i = 0; i < 10_000; i++)
        {
            var p = RandomDistribution(random, random.Next(2, 9));
            if (RandomParameters(entropy, random) is not { } parameters)
                return; // monotone for no parameters but special ones
            double[] merged = [.. p[2..], p[0] + p[1]];
            double before = entropy.Of(p, parameters), after = entropy.Of(merged, parameters);
            Assert.True(after <= before + (1e-9 * (1 + Math.Abs(before))), $"{name}({string.Join(", ", parameters)}) of {string.Join(" ", p)}: {before} -> {after}");
            tried++;
        }
        Assert.Equal(10_000, tried);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_entry_says_where_it_comes_from_and_what_it_takes(string name)
    {
        var entropy = Named(name);
        Assert.Matches("[0-9]{4}", entropy.Facts.Reference);
        Assert.NotEmpty(entropy.Facts.Formula);
        Assert.Equal(entropy.Parameters == 0, entropy.Facts.Range.Length == 0);
        Assert.Equal(entropy.Facts.Monotone == Monotonicity.Proven, entropy.Facts.Condition is null);
        var wrong = Assert.Throws<ErgonException>(() => entropy.Of([0.5, 0.5], [.. Enumerable.Repeat(-1.0, entropy.Parameters + 1)]));
        Assert.Contains(name, wrong.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Sharma-Taneja", new[] { 2.0, 3 }, new[] { .25, .25, .25, .25 }, new[] { .5, .5 }, 0.75, 1)]
    [InlineData("Shafee", new[] { 2.0 }, new[] { .125, .125, .125, .125, .125, .125, .125, .125 }, new[] { .25, .25, .25, .25 }, 0.25993, 0.34657)] // ln n / n
    [InlineData("Burg", new double[0], new[] { .25, .25, .25, .25 }, new[] { .5, .5 }, -5.54518, -1.38629)]
    [InlineData("Onicescu energy", new double[0], new[] { .25, .25, .25, .25 }, new[] { .5, .5 }, 0.25, 0.5)]
    [InlineData("normalised Shannon", new double[0], new[] { .5, .25, .25 }, new[] { .5, .5 }, 0.94639, 1)]
    [InlineData("varentropy", new double[0], new[] { .25, .25, .25, .25 }, new[] { .5, .25, .25 }, 0, 0.12011)] // ln^2(2) / 4
    public void Known_counterexamples_have_their_known_values(string name, double[] parameters, double[] p, double[] merged, double before, double after)
    {
        var entropy = Named(name);
        Assert.False(entropy.IsMonotoneAt(parameters));
        Assert.Equal(before, entropy.Of(p, parameters), 5);
        Assert.Equal(after, entropy.Of(merged, parameters), 5);
        Assert.True(after > before);
    }

    public static TheoryData<string, double[], double[], int> Rises => new()
    {
        { "Aczel-Daroczy", [2], [0.05, 0.1, 0.25, 0.6], 2 },
        { "Aczel-Daroczy", [0.5], ManySmall, 2 },
        { "Kapur", [2, 3], [0.1, 0.1, 0.1, 0.25, 0.45], 2 },
        { "Kapur", [0.25, 0.5], ManySmall, 2 },
        { "Sharma-Taneja", [1.5, 4], [0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125], 4 },
    };

    // Two of 0.45 and a hundred of 0.001.
    private static double[] ManySmall => [0.45, 0.45, .. Enumerable.Repeat(0.001, 100)];

    [Theory]
    [MemberData(nameof(Rises))]
    public void Merging_the_first_states_raises_it(string name, double[] parameters, double[] p, int merged)
    {
        var entropy = Named(name);
        Assert.False(entropy.IsMonotoneAt(parameters));
        Assert.True(entropy.Of([p[..merged].Sum(), .. p[merged..]], parameters) > entropy.Of(p, parameters) + 0.01);
    }

    [Fact]
    public void Special_cases_agree()
    {
        var random = new Random(2);
        for (var i = 0; i < 200; i++)
        {
            var p = RandomDistribution(random, random.Next(1, 9));
            var shannon = EntropyCatalogue.Shannon.Of(p);
            Assert.Equal(EntropyCatalogue.Collision.Of(p), EntropyCatalogue.Renyi.Of(p, 2), 12);
            Assert.Equal(EntropyCatalogue.GiniSimpson.Of(p), EntropyCatalogue.Tsallis.Of(p, 2), 12);
            Assert.Equal(EntropyCatalogue.Min.Of(p), EntropyCatalogue.Renyi.Of(p, 1e6), 1e-4);
            Assert.Equal(EntropyCatalogue.Hartley.Of(p), EntropyCatalogue.Renyi.Of(p, 1e-9), 6);
            Assert.Equal(shannon, EntropyCatalogue.Renyi.Of(p, 1 + 1e-7), 5);
            Assert.Equal(shannon, EntropyCatalogue.Tsallis.Of(p, 1 + 1e-7), 5);
            Assert.Equal(shannon, EntropyCatalogue.AnteneodoPlastino.Of(p, 1), 11);
            Assert.Equal(shannon + 1, EntropyCatalogue.HanelThurner.Of(p, 1, 1), 11);
            Assert.Equal(shannon, EntropyCatalogue.AczelDaroczy.Of(p, 1), 12);
            Assert.Equal(shannon, EntropyCatalogue.Ubriaco.Of(p, 1), 12);
            Assert.Equal(EntropyCatalogue.Tsallis.Of(p, 0.7), EntropyCatalogue.SharmaMittal.Of(p, 0.7, 0.7), 11);
            Assert.Equal(shannon, StructuredEntropies.Guiasu(p, [.. p.Select(_ => 1.0)]), 12);
            Assert.Equal(shannon, StructuredEntropies.Deng(p, [.. p.Select(_ => 1)]), 12);
            // Independent steps: each row of pairs is p.
            Assert.Equal(shannon, StructuredEntropies.MarkovRate([.. p.SelectMany(a => p.Select(b => a * b))], p.Length), 11);
        }
    }

    [Fact]
    public void Weights_averaged_by_probability_keep_guiasu_monotone_and_the_plain_mean_does_not()
    {
        var random = new Random(3);
        for (var i = 0; i < 10_000; i++)
        {
            var p = RandomDistribution(random, random.Next(2, 9));
            double[] w = [.. p.Select(_ => random.NextDouble() * 5)];
            var mean = ((p[0] * w[0]) + (p[1] * w[1])) / (p[0] + p[1]);
            Assert.True(StructuredEntropies.Guiasu([.. p[2..], p[0] + p[1]], [.. w[2..], mean]) <= StructuredEntropies.Guiasu(p, w) + 1e-12);
        }
        Assert.True(StructuredEntropies.Guiasu([0.41, 0.59], [(0 + 2) / 2.0, 0]) > StructuredEntropies.Guiasu([0.4, 0.01, 0.59], [0, 2, 0]));
    }

    [Fact]
    public void A_set_of_two_is_more_uncertain_to_deng_than_either_of_its_elements()
    {
        Assert.Equal(Math.Log(2), StructuredEntropies.Deng([0.5, 0.5], [1, 1]), 12);
        Assert.Equal(Math.Log(3), StructuredEntropies.Deng([1], [2]), 12);
    }

    [Fact]
    public void A_cycle_that_is_lumped_seems_random()
    {
        const double t = 1 / 3.0;
        Assert.Equal(0, StructuredEntropies.MarkovRate([0, t, 0, 0, 0, t, t, 0, 0], 3), 12);
        // The last two states as one: half of the steps from there stay.
        Assert.Equal(2 * t * Math.Log(2), StructuredEntropies.MarkovRate([0, t, t, t], 2), 12);
    }

    [Fact]
    public void Top_k_brackets_the_full_entropy()
    {
        var random = new Random(4);
        for (var i = 0; i < 1000; i++)
        {
            double[] p = [.. RandomDistribution(random, random.Next(2, 60)).OrderDescending()];
            var k = random.Next(1, p.Length + 1);
            var (lower, upper) = EntropyBounds.TopK(p.AsSpan(..k), p.Length);
            Assert.InRange(EntropyCatalogue.Shannon.Of(p), lower - 1e-9, upper + 1e-9);
        }
        var all = EntropyBounds.TopK([0.5, 0.25, 0.25], 3);
        Assert.Equal(all.Lower, all.Upper);
        Assert.Contains("2 tokens sum to", Assert.Throws<ErgonException>(() => EntropyBounds.TopK([0.6, 0.3], 2)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Meanings_are_never_more_uncertain_than_strings()
    {
        var random = new Random(6);
        for (var i = 0; i < 1000; i++)
        {
            var p = RandomDistribution(random, random.Next(1, 20));
            int[] meanings = [.. p.Select(_ => random.Next(5))];
            Assert.True(EntropyBounds.Semantic(p, meanings) <= EntropyCatalogue.Shannon.Of(p) + 1e-12);
        }
        Assert.Equal(Math.Log(2), EntropyBounds.Semantic([0.25, 0.25, 0.5], [7, 7, 1]), 12);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(5, 0)]
    [InlineData(50, 0)]
    [InlineData(0.8, 0.6)]
    public void The_acceptance_bound_falls_with_the_root_of_the_entropy(double entropy, double bound) => Assert.Equal(bound, EntropyBounds.Acceptance(entropy), 12);

    [Theory]
    [InlineData(new[] { 0.5, 0.6 }, "sum to 1.1")]
    [InlineData(new[] { 1.5, -0.5 }, "Probability 0 is 1.5")]
    [InlineData(new[] { 1, double.NaN }, "Probability 1 is NaN")]
    [InlineData(new double[0], "0 probabilities")]
    public void What_is_no_distribution_is_refused(double[] p, string why) =>
        Assert.Contains(why, Assert.Throws<ErgonException>(() => EntropyCatalogue.Shannon.Of(p)).Message, StringComparison.Ordinal);

    [Fact]
    public void Gamma_functions_agree_with_what_is_known_of_them()
    {
        Assert.Equal(Math.Log(3628800), SpecialFunctions.LogGamma(11), 11);
        Assert.Equal(0.5 * Math.Log(Math.PI), SpecialFunctions.LogGamma(0.5), 13);
        Assert.Equal(Math.Log(1 / 12.0), SpecialFunctions.LogBeta(2, 3), 12);
        foreach (var x in new[] { 0.0, 0.01, 1, 2.9, 3.1, 20 })
        {
            Assert.Equal(Math.Exp(-x), SpecialFunctions.UpperGamma(1, x), 13);
            Assert.Equal(((x * x) + (2 * x) + 2) * Math.Exp(-x), SpecialFunctions.UpperGamma(3, x), 12);
        }
        Assert.Equal(0, SpecialFunctions.UpperGamma(2, double.PositiveInfinity));
    }

    private static double[] RandomDistribution(Random random, int states)
    {
        // Cubes of exponentials: some states much likelier than others.
        double[] w = [.. Enumerable.Range(0, states).Select(_ => Math.Pow(-Math.Log(1 - random.NextDouble()), 1 + (2 * random.NextDouble())))];
        var sum = w.Sum();
        return [.. w.Select(x => x / sum)];
    }

    private static double[]? RandomParameters(Entropy entropy, Random random)
    {
        for (var i = 0; i < 1000; i++)
        {
            double[] parameters = [.. Enumerable.Range(0, entropy.Parameters).Select(_ => Math.Exp((random.NextDouble() * 4) - 2))];
            if (entropy.Accepts(parameters) && entropy.IsMonotoneAt(parameters))
                return parameters;
        }
        return null;
    }
}
