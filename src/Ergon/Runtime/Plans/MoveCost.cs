using Ergon.Cost;
using Ergon.Native;
using Ergon.Planning;

namespace Ergon.Runtime.Plans;

/// <summary>What it takes to bring a sequence to other devices: its cache copied, or its tokens computed again there.</summary>
/// <param name="PerPosition">Seconds to copy what is cached of a position.</param>
/// <param name="PerRow">Seconds to compute a token of a prompt anew.</param>
/// <param name="PerToken">Seconds to compute a generated token anew: one by one, as they were.</param>
/// <param name="Start">Seconds before the first byte.</param>
internal readonly record struct MoveCost(double PerPosition, double PerRow, double PerToken, double Start)
{
    /// <summary>By the slowest way between the devices, and the fastest of them: where copying costs less than that, it does on all.</summary>
    public static MoveCost Of(PlanProblem problem, ModelOutline model, GgmlType cacheType)
    {
        var links = problem.Profiles.SelectMany(from => problem.Profiles.Where(to => to != from || problem.Devices == 1).Select(to => DeviceLinks.Between(from, to))).ToArray();
        var rows = Math.Clamp(problem.Workload.Prompt, 1, 512);
        double Fastest(SequencePass pass)
        {
            var costs = PassCost.Of(model, [pass], cacheType);
            return problem.Profiles.Min(p => EnergyModel.PassTime(p, costs.Select(c => EnergyModel.Draw(p, c))).Value);
        }
        return new(model.CacheBytes(cacheType) * links.Max(l => l.PerByte), Fastest(SequencePass.Prefill(rows)) / rows, Fastest(SequencePass.Decode(rows)), links.Max(l => l.Latency) * 2 * model.Layers);
    }

    /// <summary>Whether a sequence keeps its cache.</summary>
    /// <param name="prompt">Positions that would be computed again as a prompt.</param>
    /// <param name="generated">Positions that would be computed again one by one.</param>
    public bool Keeps(int prompt, int generated) => Start + ((prompt + generated) * PerPosition) <= (prompt * PerRow) + (generated * PerToken);
}
