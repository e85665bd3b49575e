using System.Globalization;
using Ergon.Cost;
using Ergon.Devices.Profiles;
using Ergon.Models;
using Ergon.Planning;
using Load = Ergon.Planning.Workload;

namespace Ergon.Cli.Bench;

/// <summary>
/// <c>ergon dev qeil</c>: the setting of QEIL v2 (arXiv 2602.06057) from catalogue profiles, so all figures are simulated. A laptop's processor,
/// integrated GPU, NPU and graphics card; seven models, of which the last is quantised. The paper claims -75.6 % energy and -38.3 % latency.
/// </summary>
internal static class Qeil
{
    /// <summary>The paper's claim against its baseline, as shares of what the baseline takes.</summary>
    public const double EnergyLeft = 1 - 0.756, LatencyLeft = 1 - 0.383;

    private const string Gpu = "NVIDIA RTX PRO 5000 Blackwell laptop", Cpu = "Core Ultra 9 285HX CPU", Npu = "Core Ultra 9 285HX NPU", IntegratedGpu = "Core Ultra 9 285HX iGPU";

    private static readonly string[] Short = ["GPU", "NPU", "CPU", "iGPU"];

    // A factor of a coefficient beyond which no hardware lies.
    private const double Beyond = 1000;

    /// <summary>The seven: v1's five, and Llama 3.1 8B as published and in 4 bits.</summary>
    public static IReadOnlyList<(string Model, string Mix)> Models { get; } =
        [("gpt2", "f16"), ("granite-4.0-350m", "f16"), ("qwen2.5-0.5b", "f16"), ("llama-3.2-1b", "f16"), ("lfm2-2.6b", "f16"), ("llama-3.1-8b", "f16"), ("llama-3.1-8b", "q4_0")];

    /// <summary>In the order of the columns.</summary>
    public static IReadOnlyList<DeviceProfile> Devices { get; } = [.. new[] { Gpu, Npu, Cpu, IntegratedGpu }.Select(ProfileCatalogue.Named)];

    private static readonly (string Name, Func<DeviceProfile, double, DeviceProfile> Scale)[] Coefficients =
    [
        ("efficiency (bandwidth)", (d, f) => d with { Efficiency = By(d.Efficiency, f) }),
        ("memoryPower", (d, f) => d with { MemoryPower = By(d.MemoryPower, f) }),
        ("computePower", (d, f) => d with { ComputePower = By(d.ComputePower, f) }),
        ("idlePower", (d, f) => d with { IdlePower = By(d.IdlePower, f), LeakagePower = By(d.LeakagePower, f) }),
        ("launch", (d, f) => d with { Launch = By(d.Launch, f) }),
        ("speed as a whole", Faster),
        ("power as a whole", (d, f) => d with { IdlePower = By(d.IdlePower, f), LeakagePower = By(d.LeakagePower, f), MemoryPower = By(d.MemoryPower, f), ComputePower = By(d.ComputePower, f) }),
    ];

    /// <summary>A way to place a model, with what it takes.</summary>
    /// <param name="Name">As in the table.</param>
    /// <param name="Plan">Infeasible ones too: <see cref="PlanEvaluation.Binding"/> says why.</param>
    public sealed record Row(string Name, PlanEvaluation Plan)
    {
        public double Joules => Plan.Score.Joules;

        public double Seconds => Plan.Score.Seconds;

        /// <summary>Mean power over a request: what IPW divides by, and with the same answers all that changes it.</summary>
        public double Watts => Joules / Seconds;
    }

    /// <summary>Each device alone, v1's greedy plan, and PGSAM's plan of each policy.</summary>
    public static IReadOnlyList<Row> Rows(PlanProblem problem)
    {
        var state = new PlanState(problem);
        Row Scored(string name, byte[] genes)
        {
            state.Load(genes);
            return new(name, state.Evaluate());
        }
        var alone = PlanSeeds.Alone(problem).Select((genes, d) => Scored($"{Short[d]} only", genes));
        var front = Pgsam.Run(problem, PlanSeeds.Of(problem), new()).Front;
        var scores = front.Select(f => f.Score).ToArray();
        return [.. alone, Scored("greedy (v1)", PlanSeeds.Greedy(problem, PlanPolicy.Energy)),
            .. Enum.GetValues<PlanPolicy>().Where(_ => front.Count > 0).Select(p => Scored($"PGSAM {p.ToString().ToLowerInvariant()}", front[Planner.Choose(scores, p)].Genes))];
    }

    /// <summary>What baselines other than the device alone make of the energy plan: idle devices left on, more bits, no batch. Joules and seconds of a token, of the plan and of the baseline.</summary>
    public static IReadOnlyList<(string Name, (double Joules, double Seconds) Plan, (double Joules, double Seconds) Baseline)> Baselines(Load workload)
    {
        var (model, mix) = Models[^1];
        PlanProblem Of(string type, int sequences) => Problem(model, type, Devices, workload with { Batch = sequences });
        var rows = Rows(Of(mix, 1));
        (double, double) Total(Row r) => (r.Joules, r.Plan.Latency.Value);
        // What computes nothing is off in a plan; a baseline may leave it on.
        (double, double) AllOn(Row r) => (r.Joules + (r.Seconds * Devices.Where((d, i) => r.Plan.Loads[i].Temperature is null).Sum(d => d.IdlePower.Value)), r.Plan.Latency.Value);
        var plan = Total(rows.First(r => r.Name == "PGSAM energy"));
        return
        [
            .. rows.Take(5).Select(r => (r.Name, plan, Total(r))),
            .. rows.Take(5).Select(r => ($"{r.Name}, idle devices on", plan, AllOn(r))),
            ("GPU only, f16", plan, Total(Rows(Of("f16", 1))[0])),
            ("CPU only, f16", plan, Total(Rows(Of("f16", 1))[2])),
            ("GPU only, batch 1; plan batch 8", Total(Rows(Of(mix, 8)).First(r => r.Name == "PGSAM energy")), Total(rows[0])),
            ("GPU only, f16, batch 1; plan batch 8", Total(Rows(Of(mix, 8)).First(r => r.Name == "PGSAM energy")), Total(Rows(Of("f16", 1))[0])),
        ];
    }

    /// <summary>The problem of a model.</summary>
    public static PlanProblem Problem(string model, string mix, IReadOnlyList<DeviceProfile> devices, Load workload) =>
        new(PublishedModel.Named(model).Outline(QuantizationMix.All.First(m => m.Name == mix)), devices, workload);

    /// <summary>
    /// By what factor a coefficient must change, in baseline and plan alike, for the best plan to take <see cref="EnergyLeft"/> of what the
    /// first device alone takes; the factor nearest to 1, <see langword="null"/> where none up to a thousandfold does.
    /// </summary>
    public static double? Needed(Func<double, PlanProblem> problem)
    {
        bool Reached(double factor)
        {
            var rows = Rows(problem(factor));
            return rows[0].Plan.Binding is null && rows.Where(r => r.Plan.Binding is null).Min(r => r.Joules) <= EnergyLeft * rows[0].Joules;
        }
        return new[] { Beyond, 1 / Beyond }.Where(Reached).Select(far =>
        {
            var (no, yes) = (0.0, Math.Log(far));
            while (Math.Abs(yes - no) > 0.02)
                (no, yes) = Reached(Math.Exp((no + yes) / 2)) ? (no, (no + yes) / 2) : ((no + yes) / 2, yes);
            return (double?)Math.Exp(yes);
        }).MinBy(f => Math.Abs(Math.Log(f!.Value)));
    }

    public static Verb CreateVerb(Terminal terminal)
    {
        var prompt = Settings.Whole("--prompt", null, "Tokens of each prompt [default: 512]", 0);
        var tokens = Settings.Whole("--tokens", null, "Tokens of each answer [default: 256]", 1);
        var batch = Settings.Whole("--batch", null, "Sequences at a time [default: 1]", 1);
        return new Verb("qeil", "Simulate the setting of QEIL v2 from catalogue profiles", "ergon dev qeil --batch 1") { prompt, tokens, batch }.Does(parsed =>
        {
            var workload = new Load { Prompt = parsed.GetValue(prompt) ?? 512, Tokens = parsed.GetValue(tokens) ?? 256, Batch = parsed.GetValue(batch) ?? 1 };
            Print(terminal.Out, workload);
            return Exit.Ok;
        });
    }

    private static void Print(TextWriter output, Load workload)
    {
        output.WriteLine(Text($"simulated from catalogue profiles: {workload.Prompt} tokens of prompt, {workload.Tokens} of answer, batch {workload.Batch}, one pass at a time; a processor stays on, other devices that compute nothing are off"));
        foreach (var (model, mix) in Models)
        {
            var rows = Rows(Problem(model, mix, Devices, workload));
            var gpu = rows[0];
            output.WriteLine();
            output.WriteLine(Text($"{model} {mix} (simulated)"));
            Columns.Write(output, [["", "J/TOKEN", "MS/TOKEN", "MEAN W", "IPW", .. rows.Take(5).Select(r => $"vs {r.Name}")], .. rows.Select(r => (string[])
            [
                r.Name, Text($"{r.Joules:G4}"), Text($"{1e3 * r.Seconds:G4}"), Text($"{r.Watts:F1}"), Text($"{gpu.Watts / r.Watts:F2}x"),
                .. rows.Take(5).Select(b => Text($"{100 * ((r.Joules / b.Joules) - 1):+0.0;-0.0} / {100 * ((r.Seconds / b.Seconds) - 1):+0.0;-0.0}")),
                .. r.Plan.Binding is { } why ? [why] : Array.Empty<string>(),
            ]).Select(cells => cells.Length > 10 ? [.. cells[..9], $"{cells[9]}  ({cells[10]})"] : cells)]);
        }
        output.WriteLine();
        output.WriteLine("IPW against GPU only, the same answers: the inverse ratio of mean powers. The last columns: energy % / latency % against each baseline.");
        output.WriteLine();
        var (last, type) = Models[^1];
        output.WriteLine(Text($"what the energy plan saves against weaker baselines, {last} {type} (simulated)"));
        Columns.Write(output, [["BASELINE", "J/TOKEN", "MS/TOKEN", "PLAN J", "PLAN MS", "ENERGY", "LATENCY", "CLAIM"], .. Baselines(workload).Select(b => (string[])
        [
            b.Name, Text($"{b.Baseline.Joules:G4}"), Text($"{1e3 * b.Baseline.Seconds:G4}"), Text($"{b.Plan.Joules:G4}"), Text($"{1e3 * b.Plan.Seconds:G4}"),
            Text($"{100 * ((b.Plan.Joules / b.Baseline.Joules) - 1):+0.0;-0.0} %"), Text($"{100 * ((b.Plan.Seconds / b.Baseline.Seconds) - 1):+0.0;-0.0} %"),
            b.Plan.Joules <= EnergyLeft * b.Baseline.Joules && b.Plan.Seconds <= LatencyLeft * b.Baseline.Seconds ? "reached" : "no",
        ])]);
        output.WriteLine();
        output.WriteLine(Text($"factor of one coefficient at which the best plan takes {100 * EnergyLeft:F1} % of GPU only's energy, {last} {type} (simulated)"));
        Columns.Write(output, [["", .. Devices.Select(d => d.Name)], .. Coefficients.Select(c => (string[])[c.Name, .. Devices.Select((_, at) =>
            Needed(f => Problem(last, type, [.. Devices.Select((d, i) => i == at ? c.Scale(d, f) : d)], workload)) is { } factor ? Text($"x {factor:G3}") : "none")])]);
    }

    private static DeviceProfile Faster(DeviceProfile d, double factor) => d with
    {
        Efficiency = By(d.Efficiency, factor), Launch = By(d.Launch, 1 / factor), Peaks = [.. d.Peaks.Select(p => p with { Flops = By(p.Flops, factor) })],
    };

    private static Coefficient By(Coefficient c, double factor) => c with { Value = c.Value * factor };

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
