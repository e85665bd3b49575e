using Ergon.Cost;
using Ergon.Native;
using Ergon.Planning;

namespace Ergon.Runtime.Plans;

/// <summary>What it takes to bring a sequence to other devices: its cache copied, or its tokens computed again there.</summary>
/// <param name="PerPosition">Seconds to copy what is cached of a position.</param>
/// <param name="PerToken">Seconds to compute a token of a prompt anew.</param>
/// <param name="Start">Seconds before the first byte.</param>
internal readonly record struct MoveCost(double PerPosition, double PerToken, double Start)
{
    /// <summary>By the slowest way between the devices, and by the plan's best prefill on any one of them: if copying costs less than that, it does on all.</summary>
    public static MoveCost Of(PlanProblem problem, ModelOutline model, GgmlType cacheType)
    {
        var links = problem.Devices == 1 ? [DeviceLinks.Between(problem.Profiles[0], problem.Profiles[0])] : problem.Links.Where((_, i) => i / problem.Devices != i % problem.Devices).ToArray();
        var rows = Math.Max(1, problem.Workload.Prompt);
        var costs = PassCost.Of(model, [SequencePass.Prefill(Math.Min(rows, 512))], cacheType);
        var fastest = problem.Profiles.Min(p => EnergyModel.PassTime(p, costs.Select(c => EnergyModel.Draw(p, c))).Value);
        return new(model.CacheBytes(cacheType) * links.Max(l => l.PerByte), fastest / Math.Min(rows, 512), links.Max(l => l.Latency) * 2 * model.Layers);
    }

    /// <summary>Whether a sequence of so many positions keeps its cache.</summary>
    public bool Keeps(int positions) => Start + (positions * PerPosition) <= positions * PerToken;
}
