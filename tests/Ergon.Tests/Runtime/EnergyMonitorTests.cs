using Ergon.Cost;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Native;
using Ergon.Runtime;
using Ergon.Tests.Inference;
using Ergon.Units;

namespace Ergon.Tests.Runtime;

/// <summary>Receipts of real generations, by a meter that draws a known power.</summary>
public sealed class EnergyMonitorTests : IDisposable
{
    private const double Power = 10, Rounding = 2 * 30 * 100e-9; // time is counted in 100 ns, for 20 passes at 2 W
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public async Task Receipts_of_sessions_that_share_passes_add_up_to_what_the_meter_measured()
    {
        using var monitor = Monitor(Power);
        using var model = monitor.Load(Load);
        var receipts = await Task.WhenAll(Enumerable.Range(0, 3).Select(async i =>
        {
            using var session = model.CreateSession();
            var request = monitor.Begin(session);
            var tokens = await GenerateAsync(session, 40 + i, CancellationToken.None);
            return await monitor.EndAsync(request, tokens);
        }));

        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, receipts.Sum(r => r.Energy!.Value.Value) + totals.Unattributed.Value + totals.Loading.Value, 1e-9 * totals.Total.Value);
        Assert.True(totals.Loading > Joules.Zero);
        Assert.All(receipts, r =>
        {
            Assert.Equal(("modelled:test", EnergyQuality.Modelled), (r.Source, r.Quality));
            Assert.True(r.Prefill > Joules.Zero && r.Decode > Joules.Zero && r.PerToken > Joules.Zero);
            Assert.Equal(r.Energy!.Value.Value, r.Prefill!.Value.Value + r.Decode!.Value.Value + r.Idle!.Value.Value, 1e-9);
            // Nobody is billed more than the meter drew while they were there.
            Assert.InRange(r.Energy.Value.Value, 0, Power * r.Elapsed.TotalSeconds * 1.001);
        });
        // Three that share each pass share its draw.
        Assert.InRange(receipts.Max(r => r.Energy!.Value.Value), 0, 0.8 * receipts.Sum(r => r.Energy!.Value.Value));
    }

    [Fact]
    public async Task A_cancelled_answer_is_billed_once_for_what_was_done()
    {
        using var monitor = Monitor(Power);
        using var model = monitor.Load(Load);
        using var session = model.CreateSession();
        using var stop = new CancellationTokenSource();
        var request = monitor.Begin(session);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var token in session.GenerateAsync(Prompt, new GenerationOptions { IgnoreEndOfGeneration = true }, stop.Token))
                await stop.CancelAsync();
        });
        var receipt = await monitor.EndAsync(request, session.Statistics!.CompletionTokens);
        Assert.True(receipt.Energy > Joules.Zero);
        var again = monitor.Begin(session);
        var tokens = await GenerateAsync(session, 5, CancellationToken.None);
        var next = await monitor.EndAsync(again, tokens);
        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, (receipt.Energy!.Value + next.Energy!.Value + totals.Unattributed + totals.Loading).Value, 1e-9 * totals.Total.Value);
    }

    [Fact]
    public async Task Without_a_meter_a_receipt_is_modelled_by_the_profile_and_says_why()
    {
        using var monitor = new EnergyMonitor(new MeterSet([], TimeProvider.System) { WhyNone = "no RAPL: absent" }, TimeProvider.System, Profile);
        using var model = monitor.Load(Load);
        var dynamic = (Prefill: 0.0, Decode: 0.0);
        model.PassCompleted += pass =>
        {
            foreach (var s in pass.Segments)
            {
                var profile = Profile(null!).Profile;
                var (arithmetic, memory) = EnergyModel.Observed(profile, profile.PeakAt(GgmlType.F32, s.Rows), s.Flops, s.MemoryBytes, (Seconds)s.Elapsed);
                (pass.Parts[0].IsPrompt ? ref dynamic.Prefill : ref dynamic.Decode) += (arithmetic + memory).Value;
            }
        };
        using var session = model.CreateSession();
        var request = monitor.Begin(session);
        var receipt = await monitor.EndAsync(request, await GenerateAsync(session, 20, CancellationToken.None));
        Assert.Equal(("modelled:amd-epyc-2core", EnergyQuality.Modelled), (receipt.Source, receipt.Quality));
        Assert.StartsWith("no RAPL: absent; estimated", receipt.Reason, StringComparison.Ordinal);
        // Prefill and decode are what the cost model says of their passes, idle what the profile draws anyway.
        Assert.Equal(dynamic.Prefill, receipt.Prefill!.Value.Value, Rounding);
        Assert.Equal(dynamic.Decode, receipt.Decode!.Value.Value, Rounding);
        Assert.Equal(2 * receipt.Elapsed.TotalSeconds, receipt.Idle!.Value.Value, Rounding);
        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, (receipt.Energy!.Value + totals.Unattributed + totals.Loading).Value, 1e-9 * totals.Total.Value);
    }

    [Fact]
    public async Task A_request_for_everything_has_what_no_other_request_has()
    {
        using var monitor = Monitor(Power);
        using var model = monitor.Load(Load);
        using var session = model.CreateSession();
        using var own = model.CreateSession();
        var everything = monitor.Begin();
        var request = monitor.Begin(own);
        var tokens = await Task.WhenAll(GenerateAsync(session, 30, CancellationToken.None), GenerateAsync(own, 30, CancellationToken.None));
        var its = await monitor.EndAsync(request, tokens[1]);
        var rest = await monitor.EndAsync(everything, tokens[0]);
        Assert.True(its.Decode > Joules.Zero && rest.Decode > Joules.Zero && rest.Prefill > Joules.Zero);
        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, (its.Energy!.Value + rest.Energy!.Value + totals.Unattributed + totals.Loading).Value, 1e-9 * totals.Total.Value);
        // Passes of both sessions are somebody's: nobody's is what was drawn before and after.
        Assert.InRange(totals.Requests.Value, (its.Decode!.Value + its.Prefill!.Value + rest.Decode!.Value + rest.Prefill!.Value).Value, totals.Total.Value);
    }

    [Fact]
    public async Task Scoring_and_perplexity_are_metered_by_their_passes()
    {
        using var monitor = Monitor(Power);
        using var model = monitor.Load(Load);
        var request = monitor.Begin();
        await LogLikelihood.ScoreAsync(model, "the answer is", [" one", " another", " neither of the two"]);
        var scored = await monitor.EndAsync(request, tokens: 0);
        Assert.True(scored.Prefill > Joules.Zero && scored.Decode == Joules.Zero);
        request = monitor.Begin();
        await Perplexity.MeasureAsync(model, new string('x', 1200));
        Assert.True((await monitor.EndAsync(request, tokens: 0)).Prefill > Joules.Zero);
        var aside = monitor.Open(null);
        await Task.Delay(50);
        var waited = await aside(0);
        Assert.Equal(waited.Energy, waited.Idle);
        Assert.InRange(waited.Energy!.Value.Value, 0.04 * Power, Power * waited.Elapsed.TotalSeconds * 1.001);
    }

    [Fact]
    public async Task Embedding_is_metered_by_call()
    {
        using var monitor = Monitor(Power);
        var path = new RandomModel("bert", GgmlType.F32).Write(_folder.Path);
        using var model = monitor.Load(() => EmbeddingModel.Load(path, new EmbeddingOptions { Threads = 1 }));
        int[][] texts = [.. Enumerable.Range(0, 40).Select(i => model.Tokenize($"text {i}"))];
        var calls = await Task.WhenAll(monitor.EmbedAsync(model, texts), monitor.EmbedAsync(model, texts[..1]));
        Assert.All(calls, c => Assert.True(c.Receipt.Prefill > Joules.Zero && c.Receipt.Decode == Joules.Zero && c.Receipt is { Tokens: 0, PerToken: null }));
        Assert.Equal(await model.EmbedTokensAsync(texts[..1]), calls[1].Vectors);
        var totals = monitor.Totals;
        Assert.Equal(totals.Total.Value, (calls[0].Receipt.Energy!.Value + calls[1].Receipt.Energy!.Value + totals.Unattributed + totals.Loading).Value, 1e-9 * totals.Total.Value);
    }

    [Fact]
    public async Task A_request_that_outlives_the_model_has_its_receipt()
    {
        using var monitor = Monitor(Power);
        var model = monitor.Load(Load);
        using var session = model.CreateSession();
        var request = monitor.Begin(session);
        var tokens = await GenerateAsync(session, 5, CancellationToken.None);
        model.Dispose();
        Assert.True((await monitor.EndAsync(request, tokens)).Decode > Joules.Zero);
    }

    [Fact]
    public async Task A_calibrated_idle_power_is_a_receipts_idle_line()
    {
        var meters = new MeterSet([new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(Power), TimeProvider.System)], TimeProvider.System);
        using var monitor = new EnergyMonitor(meters, TimeProvider.System, d => (Profile(d).Profile, new Calibrated("", Profile(d).Profile, new Dictionary<string, double> { ["package-0"] = Power / 4 })));
        using var model = monitor.Load(Load);
        using var session = model.CreateSession();
        var request = monitor.Begin(session);
        var receipt = await monitor.EndAsync(request, await GenerateAsync(session, 50, CancellationToken.None));
        // At every moment a quarter is drawn anyway; what is drawn between passes is waiting too.
        Assert.InRange(receipt.Idle!.Value.Value, 0.999 * Power / 4 * receipt.Elapsed.TotalSeconds, receipt.Energy!.Value.Value - receipt.Decode!.Value.Value);
        Assert.True(receipt.Decode > Joules.Zero);
    }

    private static (DeviceProfile Profile, Calibrated? Calibrated) Profile(DeviceInfo _) =>
        (EstimatedProfile.Of(new DeviceInfo("CPU", DeviceKind.Cpu, "AMD EPYC", "CPU", null, 8L << 30), 2, new SystemFiles("/nowhere")), null);

    private static EnergyMonitor Monitor(double watts) =>
        new(new MeterSet([new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(watts), TimeProvider.System)], TimeProvider.System), TimeProvider.System, Profile);

    private static int[] Prompt { get; } = [.. Enumerable.Range(3, 100)];

    private ErgonModel Load() => ErgonModel.Load(new RandomModel("llama", GgmlType.F32).Write(_folder.Path), new ModelOptions { Threads = 1, ContextLength = 512, MaxSequences = 3 });

    private static async Task<int> GenerateAsync(Session session, int count, CancellationToken cancellation)
    {
        var tokens = 0;
        await foreach (var token in session.GenerateAsync(Prompt, new GenerationOptions { MaxTokens = count, IgnoreEndOfGeneration = true }, cancellation))
            tokens += token.Id >= 0 ? 1 : 0;
        return tokens;
    }

    public void Dispose() => _folder.Dispose();
}
