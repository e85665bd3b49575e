namespace Ergon.Planning;

/// <summary>Plans to start a search from.</summary>
internal static class PlanSeeds
{
    // Prices of a second between energy and latency; each is a shortest path where memory is enough.
    private const int Prices = 4;

    /// <summary>Each device alone at each clock, greedy plans, and optima of chains for all phases together and for each apart, as they are asked for. Duplicates are left out.</summary>
    /// <param name="problem">What is planned.</param>
    /// <param name="stop">Asked between steps of the exact searches, which end early once it says so.</param>
    public static IEnumerable<byte[]> Of(PlanProblem problem, Func<bool>? stop = null) =>
        Alone(problem).Concat([Greedy(problem, PlanPolicy.Energy), Greedy(problem, PlanPolicy.Latency)]).Concat(Chains(problem, stop)).DistinctBy(Convert.ToHexString);

    /// <summary>The whole model on one device.</summary>
    public static IEnumerable<byte[]> Alone(PlanProblem problem) =>
        Enumerable.Range(0, problem.Devices).SelectMany(d => Enumerable.Range(0, problem.Levels[d]).Select(level =>
        {
            var genes = Plan(problem, [.. Enumerable.Repeat((byte)d, problem.Places)]);
            genes[problem.Places + d] = (byte)level;
            return genes;
        }));

    /// <summary>
    /// QEIL v1's assignment as its abstract describes it: unit after unit to the device that is cheapest for it, here by its own dynamic
    /// and static energy or by its own time. Seams and idle devices are not seen; a device without room is passed over.
    /// </summary>
    public static byte[] Greedy(PlanProblem problem, PlanPolicy policy)
    {
        var places = new byte[problem.Places];
        var held = new double[problem.Devices];
        var pooled = new double[problem.PoolMemory.Length];
        for (var unit = 0; unit < problem.Units; unit++)
        {
            // One copy of the weights: the device that is cheapest over all phases.
            var at = unit;
            var order = Enumerable.Range(0, problem.Devices).OrderBy(d => Cost(d, at)).ToArray();
            var chosen = order.Cast<int?>().FirstOrDefault(d => Fits(d!.Value, problem.UnitBytes[at])) ?? order[0];
            held[chosen] += problem.UnitBytes[unit];
            pooled[problem.Pool[chosen]] += problem.UnitBytes[unit];
            for (var phase = 0; phase < problem.Phases; phase++)
                places[(phase * problem.Units) + unit] = (byte)chosen;
        }
        return Plan(problem, places);

        double Cost(int device, int unit)
        {
            double time = 0, joules = 0;
            for (var place = unit; place < problem.Places; place += problem.Units)
            {
                time += problem.Core(place, device, problem.Levels[device] - 1) + problem.Launch(place, device, problem.Levels[device] - 1);
                joules += problem.Dynamic(place, device, problem.Levels[device] - 1);
            }
            joules += time * (problem.Static[device] + problem.Heat[device].Leakage);
            return policy switch { PlanPolicy.Energy => joules, PlanPolicy.Latency => time, _ => joules * time };
        }

        bool Fits(int device, double bytes)
        {
            var (own, pool, sharing) = (problem.DeviceMemory[device], problem.PoolMemory[problem.Pool[device]], problem.Pool.Count(p => p == problem.Pool[device]));
            return held[device] + bytes + problem.Overhead <= own.Capacity.Value * (1 - own.Reserve)
                && pooled[problem.Pool[device]] + bytes + (sharing * problem.Overhead) <= pool.Capacity.Value * (1 - pool.Reserve);
        }
    }

    /// <summary>Optima of each scalarised objective for chains (<see cref="ChainOptimum"/>).</summary>
    public static IEnumerable<byte[]> Chains(PlanProblem problem, Func<bool>? stop = null)
    {
        var both = new ChainOptimum(problem);
        foreach (var chain in ((Func<Chain?>[])[both.Fastest, () => both.Cheapest(stop)]).Select(f => f()).Concat(both.Between(Prices)).TakeWhile(_ => stop?.Invoke() != true).OfType<Chain>())
            yield return Plan(problem, [.. Enumerable.Repeat(chain.Devices, problem.Phases).SelectMany(c => c)]);
        if (problem.Phases == 1 || stop?.Invoke() == true)
            yield break;
        var (prefill, decode) = (new ChainOptimum(problem, 0), new ChainOptimum(problem, 1));
        foreach (var (first, second) in ((Func<(Chain?, Chain?)>[])[() => (prefill.Fastest(), decode.Fastest()), () => (prefill.Cheapest(stop), decode.Cheapest(stop))]).Select(f => f()).TakeWhile(_ => stop?.Invoke() != true))
        {
            if (first is not null && second is not null)
                yield return Plan(problem, [.. first.Devices, .. second.Devices]);
        }
    }

    private static byte[] Plan(PlanProblem problem, byte[] places) => [.. places, .. problem.Levels.Select(l => (byte)(l - 1))];
}
