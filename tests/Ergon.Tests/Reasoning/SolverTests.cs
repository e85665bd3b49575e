using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Inference;
using Ergon.Reasoning;
using Ergon.Reasoning.Stopping;
using Ergon.Reasoning.Tasks;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Tests.Reasoning;

public sealed class SolverTests
{
    private static string Model => Path.Combine(AppContext.BaseDirectory, "models", "words-s-f16.gguf");

    private static async Task<List<SolvedProblem>> Solve(IStoppingPolicy policy, int items, int wave, int sequences, int samples = 6, bool abandon = false, EnergyMonitor? monitor = null, Joules? budget = null, IReasoningTask? task = null, Metering? metering = null, Decoding? decode = null)
    {
        ErgonModel Load() => ErgonModel.Load(Model, new ModelOptions { MaxSequences = sequences, Threads = 1, ContextLength = 512 });
        using var model = monitor?.Load(Load) ?? Load();
        var options = new SolverOptions { Samples = samples, Wave = wave, AbandonFalse = abandon, Budget = budget, Verify = task is not null, ChoosesWave = decode is not null };
        List<SolvedProblem> solved = [];
        await foreach (var problem in new Solver(model, task ?? new WordProblemTask(items), policy, options, metering ?? (monitor is null ? null : monitor.Open), decode).RunAsync())
            solved.Add(problem);
        return [.. solved.OrderBy(s => s.Problem.Id, StringComparer.Ordinal)];
    }

    // Draws 10 W, whatever happens; as a meter's figure, or as a profile's.
    private static EnergyMonitor Monitor(EnergyQuality quality = EnergyQuality.Modelled)
    {
        var meter = new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(10), TimeProvider.System);
        return new EnergyMonitor(new MeterSet([quality == EnergyQuality.Modelled ? meter : new Trusted(meter, quality)], TimeProvider.System), TimeProvider.System,
            _ => (EstimatedProfile.Of(new DeviceInfo("CPU", DeviceKind.Cpu, "AMD EPYC", "CPU", null, 8L << 30), 2, new SystemFiles("/nowhere")), null));
    }

    [Theory]
    [InlineData(1, 4)]
    [InlineData(3, 4)]
    [InlineData(6, 7)]
    public async Task Every_problem_is_drawn_to_its_budget_whatever_the_wave(int wave, int sequences)
    {
        var solved = await Solve(new FixedBudget(), 5, wave, sequences);
        Assert.Equal(5, solved.Count);
        Assert.All(solved, s => Assert.Equal((6, null, s.Draws.Count(d => d.Cancelled)), (s.Draws.Count, s.Reason, 0)));
        Assert.Equal(5, solved.Select(s => s.Problem.Id).Distinct().Count());
        Assert.Contains(solved, s => s.Right);
        // Draws differ from one another, and are whole answers.
        Assert.Contains(solved, s => s.Draws.Select(d => d.Text).Distinct().Count() > 1);
        Assert.Contains(solved, s => s.Draws.Any(d => d.Draw.Answer is not null && d.Draw.Evidence is not null));
    }

    [Fact]
    public async Task Draws_one_after_another_are_none_in_vain_and_repeat_by_seed()
    {
        var all = await Solve(new FixedBudget(), 4, 1, 1);
        var stopped = await Solve(new FirstVerified(acceptEvidence: true), 4, 1, 1);
        foreach (var (full, part) in all.Zip(stopped))
        {
            Assert.Equal(full.Draws.Take(part.Draws.Count).Select(d => d.Text), part.Draws.Select(d => d.Text));
            var clean = full.Draws.ToList().FindIndex(d => d.Draw is { Answer: not null, Evidence: 1 });
            Assert.Equal(clean < 0 ? 6 : clean + 1, part.Draws.Count);
            Assert.Equal(clean >= 0 && clean < 5, part.Reason is not null);
        }
        Assert.Contains(stopped, s => s.Draws.Count < 6);
    }

    [Fact]
    public async Task A_policy_that_stops_cancels_what_runs_beside_and_the_rows_go_to_others()
    {
        var solved = await Solve(new StopAtFirst(), 6, 3, 4);
        Assert.Equal(6, solved.Count);
        // The first draw decides; whatever was begun with it was in vain, and nothing was begun after.
        Assert.All(solved, s => Assert.InRange(s.Draws.Count, 1, 6));
        Assert.All(solved, s => Assert.False(s.Draws[0].Cancelled));
        Assert.All(solved, s => Assert.Equal(s.Draws[0].Draw.Answer, s.Answer));
        Assert.Contains(solved, s => s.Draws.Any(d => d.Cancelled));
    }

    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 3)]
    [InlineData(3, 8)]
    public async Task Joules_of_draws_prompts_and_cancelled_draws_add_up_to_what_the_meter_measured(int wave, int sequences)
    {
        using var monitor = Monitor();
        var solved = await Solve(new StopAtFirst(), 4, wave, sequences, samples: 4, monitor: monitor);
        Assert.Equal(monitor.Totals.Requests.Value, solved.Sum(s => s.Energy!.Value.Value), 1e-9 * monitor.Totals.Total.Value);
        // One that was cancelled before its first pass may have had none.
        Assert.All(solved.SelectMany(s => s.Draws), d => Assert.True(d.Energy > Joules.Zero || d is { Cancelled: true, Tokens: 0, Energy: not null }));
        Assert.All(solved, s => Assert.Equal((wave > 1, "modelled:test"), (s.Prompt is not null, s.EnergySource)));
        foreach (var problem in solved)
            Assert.Equal(problem.Energy!.Value.Value, problem.Stages.Sum(s => s.Energy!.Value.Value), 1e-9);
    }

    [Fact]
    public async Task Joules_that_nobody_metered_stay_unknown() =>
        Assert.All(await Solve(new StopAtFirst(), 1, 1, 1, samples: 2), s => Assert.Equal((null, null, "nothing was metered"), (s.Energy, s.EnergySource, s.Stages[0].Reason)));

    [Fact]
    public async Task Draws_have_the_mean_log_probability_of_their_tokens()
    {
        var solved = await Solve(new FixedBudget(), 3, 2, 3);
        Assert.All(solved.SelectMany(s => s.Draws), d => Assert.InRange(d.Draw.LogProbability!.Value, -5, -1e-6));
        // Two draws that wrote the same found it equally likely; others did not.
        foreach (var texts in solved.SelectMany(s => s.Draws.Select(d => (Key: s.Problem.Id + d.Text, d.Draw.LogProbability))).GroupBy(d => d.Key))
            Assert.All(texts, t => Assert.Equal(texts.First().LogProbability!.Value, t.LogProbability!.Value, 1e-3));
        Assert.True(solved.SelectMany(s => s.Draws).Select(d => d.Draw.LogProbability).Distinct().Count() > 5);
    }

    // Everything takes 1 J; side by side, the prompt too.
    [Theory]
    [InlineData(1, 4.5, 4)]
    [InlineData(1, 0.5, 1)]
    [InlineData(3, 4.5, 3)]
    [InlineData(3, 0.5, 1)]
    public async Task A_budget_of_joules_is_not_exceeded_by_another_draw(int wave, double budget, int draws)
    {
        static Func<int, Task<Receipt>> One(Session? _) => tokens => Task.FromResult(new Receipt(new Joules(1), null, null, null, TimeSpan.FromSeconds(1), tokens, "measured:test", EnergyQuality.Counter, null));
        var solved = (await Solve(new FixedBudget(), 1, wave, 4, samples: 8, budget: new Joules(budget), metering: One))[0];
        Assert.Equal((draws, draws + (wave > 1 ? 1.0 : 0)), (solved.Draws.Count, solved.Energy!.Value.Value));
        Assert.Contains(FormattableString.Invariant($"another draw would exceed {budget} J"), solved.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_budget_of_joules_needs_figures()
    {
        static Func<int, Task<Receipt>> Unknown(Session? _) => tokens => Task.FromResult(new Receipt(null, null, null, null, TimeSpan.FromSeconds(1), tokens, null, null, "the meter broke"));
        Assert.Contains("the meter broke", (await Assert.ThrowsAsync<ErgonException>(() => Solve(new FixedBudget(), 1, 1, 1, budget: new Joules(1), metering: Unknown))).Message, StringComparison.Ordinal);
        Assert.Contains("nothing is metered", (await Assert.ThrowsAsync<ErgonException>(() => Solve(new FixedBudget(), 1, 1, 1, budget: new Joules(1)))).Message, StringComparison.Ordinal);
        Assert.Contains("budget-joules is 0", (await Assert.ThrowsAsync<ErgonException>(() => Solve(new FixedBudget(), 1, 1, 1, budget: Joules.Zero))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_verifiers_joules_are_booked_apart_where_a_meter_sees_them_and_named_where_none_does()
    {
        using var measured = Monitor(EnergyQuality.Counter);
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        var seen = (await Solve(new FixedBudget(), 1, 1, 1, samples: 2, monitor: measured, task: new Waiting()))[0];
        var stage = seen.Stages.Single(s => s.Stage == Stage.Verification);
        // Two checks of a fifth of a second at 10 W, or of longer on a busy machine; timers may end a moment early.
        Assert.InRange(stage.Energy!.Value.Value, 3.5, 10 * System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds);
        Assert.Equal((2, seen.Energy!.Value.Value), (stage.Count, seen.Stages.Sum(s => s.Energy!.Value.Value)));
        using var modelled = Monitor();
        var unseen = (await Solve(new FixedBudget(), 1, 1, 1, samples: 2, monitor: modelled, task: new Waiting()))[0];
        stage = unseen.Stages.Single(s => s.Stage == Stage.Verification);
        Assert.Null(stage.Energy);
        Assert.StartsWith("not metered", stage.Reason, StringComparison.Ordinal);
        Assert.NotNull(unseen.Energy);
    }

    [Fact]
    public async Task A_draw_ends_with_its_first_false_step_and_the_others_are_unchanged()
    {
        var whole = await Solve(new FixedBudget(), 6, 1, 1);
        var abandoned = await Solve(new FixedBudget(), 6, 1, 1, abandon: true);
        var ended = 0;
        foreach (var (full, part) in whole.SelectMany(s => s.Draws).Zip(abandoned.SelectMany(s => s.Draws)))
        {
            Assert.StartsWith(part.Text, full.Text, StringComparison.Ordinal);
            Assert.Equal(full.FalseAt, part.FalseAt);
            if (full.FalseAt is not null)
            {
                ended++;
                Assert.True(part.Tokens <= full.Tokens);
                Assert.Equal(new Draw(null, Evidence: 0), part.Draw);
                Assert.NotEqual(1, full.Draw.Evidence);
            }
            else
            {
                Assert.Equal(full, part);
            }
        }
        Assert.True(ended > 0);
        Assert.True(abandoned.Sum(s => s.Tokens) < whole.Sum(s => s.Tokens));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 4)]
    [InlineData(3, 4)]
    public async Task An_abandoned_draw_spends_the_tokens_of_its_replay_and_none_past_its_false_step(int wave, int sequences)
    {
        var whole = await Solve(new FixedBudget(), 4, 1, 1);
        var abandoned = await Solve(new FixedBudget(), 4, wave, sequences, abandon: true);
        var replay = whole.Select(s => new LoggedProblem("", [.. s.Draws.Select(d => new LoggedDraw(d.Draw, d.Tokens, d.FalseAt))]).Abandoned).ToList();
        foreach (var (live, logged) in abandoned.Zip(replay))
        {
            // Beside others a row rounds differently, and a draw may take another way: then it is held to its own step alone.
            foreach (var (draw, was) in live.Draws.Zip(logged.Draws).Where(x => wave == 1 || x.First.FalseAt == x.Second.FalseAt))
                Assert.Equal(was.Tokens, draw.Tokens);
            Assert.All(live.Draws.Where(d => d.FalseAt is not null), d => Assert.Equal(d.FalseAt, d.Tokens));
        }
        Assert.Contains(abandoned.SelectMany(s => s.Draws), d => d.FalseAt is not null);
    }

    [Fact]
    public async Task A_chosen_wave_runs_as_wide_as_passes_are_cheap_and_draws_the_same()
    {
        var fixedOne = await Solve(new FirstVerified(acceptEvidence: true), 1, 1, 1, samples: 12);
        foreach (var further in new[] { 1, 0 })
        {
            var (open, most) = (0, 0);
            Func<int, Task<Receipt>> Watch(Session? _)
            {
                lock (this)
                    most = Math.Max(most, ++open);
                return tokens =>
                {
                    lock (this)
                        open--;
                    return Task.FromResult(new Receipt(new Joules(1), null, null, null, TimeSpan.FromSeconds(1), tokens, "measured:test", EnergyQuality.Counter, null));
                };
            }
            var solved = (await Solve(new FirstVerified(acceptEvidence: true), 1, 4, 5, 12, metering: Watch, decode: (rows, _) => (new Joules(1 + ((rows - 1) * further)), new Seconds(1))))[0];
            // Each row a whole pass: one after another, and none in vain. Rows for nothing: four at a time, of which some may end before others begin.
            Assert.InRange(most, further == 1 ? 1 : 2, further == 1 ? 1 : 4);
            Assert.Equal(further == 1, solved.Prompt is null);
            if (further == 0)
                continue;
            Assert.Equal((fixedOne[0].Answer, fixedOne[0].Tokens), (solved.Answer, solved.Tokens));
            // By the cost model a draw takes what its tokens take.
            Assert.Equal(solved.Draws.Average(d => d.Tokens), solved.AnotherDraw!.Value.Value, 1e-9);
        }
    }

    [Fact]
    public async Task A_wave_may_widen_after_draws_alone_on_the_session_that_they_drew_on()
    {
        var calls = 0;
        // Dear beside another until two draws were seen.
        (Joules, Seconds) Decode(int rows, int context) => (new Joules(calls++ < 12 ? rows * rows : 1), new Seconds(1));
        var solved = (await Solve(new FixedBudget(), 1, 4, 5, samples: 10, decode: (rows, context) => Decode(rows, context)))[0];
        var alone = (await Solve(new FixedBudget(), 1, 1, 1, samples: 10))[0];
        Assert.Equal(10, solved.Draws.Count);
        Assert.Equal(alone.Draws[0].Text, solved.Draws[0].Text);
        Assert.Null(solved.Prompt);
    }

    [Fact]
    public async Task Sixteen_draws_that_begin_together_wait_for_no_thread()
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { MaxSequences = 17, Threads = 1, ContextLength = 512 });
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        await foreach (var _ in new Solver(model, new WordProblemTask(1), new FixedBudget(), new SolverOptions { Wave = 16, MaxTokens = 2 }).RunAsync())
        {
        }
        // Threads that wait for one another come at about one a second; the draws themselves take a hundredth of that.
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 4);
    }

    [Fact]
    public async Task A_wave_needs_a_session_for_the_prompt() =>
        Assert.Contains("wave is 2", (await Assert.ThrowsAsync<ErgonException>(() => Solve(new FixedBudget(), 1, 2, 1))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Cancelling_ends_it_and_leaves_the_model_usable()
    {
        using var model = ErgonModel.Load(Model, new ModelOptions { MaxSequences = 4, Threads = 1, ContextLength = 512 });
        using var cancel = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var _ in new Solver(model, new WordProblemTask(50), new FixedBudget(), new SolverOptions { Wave = 3 }).RunAsync(cancel.Token))
                await cancel.CancelAsync();
        });
        Session[] sessions = [.. Enumerable.Range(0, 4).Select(_ => model.CreateSession())];
        Assert.All(sessions, s => s.Dispose());
    }

    private sealed class StopAtFirst : IStoppingPolicy
    {
        public string Name => "first";

        public string? Stop(Tally tally) => "enough";
    }

    // Its verifier takes a while, as a process does.
    private sealed class Waiting : IReasoningTask
    {
        private readonly WordProblemTask _words = new(1);

        public string Name => "waiting";

        public IReadOnlyList<Problem> Problems => _words.Problems;

        public string? Extract(Problem problem, string text) => _words.Extract(problem, text);

        public async ValueTask<bool?> VerifyAsync(Problem problem, string text, CancellationToken cancellation)
        {
            await Task.Delay(200, cancellation);
            return false;
        }
    }

    private sealed class Trusted(ModelledMeter meter, EnergyQuality quality) : IEnergyMeter
    {
        public string Device => meter.Device;

        public EnergyDomain Domain => meter.Domain;

        public string Source => "measured:test";

        public TimeSpan Interval { get; } = TimeSpan.FromMilliseconds(1);

        public EnergyReading Read() => meter.Read() with { Quality = quality };
    }
}
