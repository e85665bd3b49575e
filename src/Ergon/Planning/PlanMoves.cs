namespace Ergon.Planning;

/// <summary>Ways to change a plan.</summary>
internal enum MoveKind
{
    /// <summary>One unit to another device.</summary>
    Flip,

    /// <summary>A seam a few units up or down.</summary>
    ShiftCut,

    /// <summary>A run of units to one device.</summary>
    MoveBlock,

    /// <summary>All units of two devices exchanged, in one phase or in both.</summary>
    SwapDevices,

    /// <summary>A run of units as an archive's member has them, or as the other phase has them.</summary>
    Splice,

    /// <summary>One device to another clock level.</summary>
    TurnClock,
}

/// <summary>
/// Proposes changes to a plan and takes them back. What was accepted before is proposed more often (momentum): an
/// exponential average over kinds, devices and regions of the chain; a tenth of all proposals stays uniform.
/// </summary>
internal sealed class PlanMoves(PlanProblem problem, PlanState state, Random random)
{
    private const double Uniform = 0.1, Rate = 0.02;
    private const int Regions = 16;

    private readonly double[] _kinds = Even(Enum.GetValues<MoveKind>().Length - (problem.Levels.All(l => l == 1) ? 1 : 0));
    private readonly double[] _devices = Even(problem.Devices);
    private readonly double[] _regions = Even(Math.Min(Regions, problem.Places));
    private readonly List<(int Gene, byte Before)> _undo = [];
    private MoveKind _kind;
    private int _device, _region;

    /// <summary>Changes the plan; <see langword="false"/> where the proposal changes nothing.</summary>
    public bool Propose(PlanArchive archive)
    {
        _undo.Clear();
        _kind = (MoveKind)Draw(_kinds);
        _device = Draw(_devices);
        _region = Draw(_regions);
        var places = problem.Places;
        var place = Math.Min(places - 1, (int)((_region + random.NextDouble()) * places / _regions.Length));
        switch (_kind)
        {
            case MoveKind.Flip:
                Put(place, _device);
                break;
            case MoveKind.ShiftCut:
                ShiftCut(place);
                break;
            case MoveKind.MoveBlock:
                var (from, end) = random.Next(3) == 0 ? Run(place) : Block(place);
                for (var i = from; i < end; i++)
                    Put(i, _device);
                break;
            case MoveKind.SwapDevices:
                SwapDevices(random.Next(problem.Devices));
                break;
            case MoveKind.Splice:
                Splice(place, archive);
                break;
            default:
                Put(places + _device, random.Next(problem.Levels[_device]));
                break;
        }
        return _undo.Count > 0;
    }

    /// <summary>Takes the last proposal back.</summary>
    public void Undo()
    {
        for (var i = _undo.Count - 1; i >= 0; i--)
            state.Set(_undo[i].Gene, _undo[i].Before);
    }

    /// <summary>Nothing is left to take back: the plan was replaced.</summary>
    public void Forget() => _undo.Clear();

    /// <summary>Tells what became of the last proposal: whether it was accepted and no plan known before is better.</summary>
    public void Learn(bool gained)
    {
        if (!gained)
            return;
        Toward(_kinds, (int)_kind);
        Toward(_devices, _device);
        Toward(_regions, _region);
    }

    private static double[] Even(int count) => [.. Enumerable.Repeat(1.0 / count, count)];

    private static void Toward(double[] average, int index)
    {
        for (var i = 0; i < average.Length; i++)
            average[i] += Rate * ((i == index ? 1 : 0) - average[i]);
    }

    private int Draw(double[] average)
    {
        if (random.NextDouble() < Uniform)
            return random.Next(average.Length);
        var at = random.NextDouble();
        for (var i = 0; i < average.Length - 1; i++)
        {
            at -= average[i];
            if (at < 0)
                return i;
        }
        return average.Length - 1;
    }

    private void Put(int gene, int value)
    {
        var before = state.Genes[gene];
        if (before == value)
            return;
        _undo.Add((gene, before));
        state.Set(gene, (byte)value);
    }

    private int PhaseStart(int place) => place / problem.Units * problem.Units;

    // The units around a place that lie together on its device.
    private (int From, int End) Run(int place)
    {
        var (from, end, first) = (place, place + 1, PhaseStart(place));
        while (from > first && state.Genes[from - 1] == state.Genes[place])
            from--;
        while (end < first + problem.Units && state.Genes[end] == state.Genes[place])
            end++;
        return (from, end);
    }

    // Short ones more often than long ones, as 1/length.
    private (int From, int End) Block(int place)
    {
        var length = (int)Math.Exp(random.NextDouble() * Math.Log(problem.Units + 1));
        return (place, Math.Min(PhaseStart(place) + problem.Units, place + Math.Max(1, length)));
    }

    private void ShiftCut(int place)
    {
        var (from, end) = Run(place);
        var first = PhaseStart(place);
        // At the end of the place's run, or at its start; the shorter way on average.
        var up = end < first + problem.Units && (from == first || random.Next(2) == 0);
        if (!up && from == first)
            return;
        var cut = up ? end : from;
        var (left, right) = (state.Genes[cut - 1], state.Genes[cut]);
        var steps = Block(place) is var (a, b) ? b - a : 1;
        if (random.Next(2) == 0)
        {
            for (var i = cut; i < Math.Min(cut + steps, first + problem.Units); i++)
                Put(i, left);
        }
        else
        {
            for (var i = cut - 1; i >= Math.Max(cut - steps, first); i--)
                Put(i, right);
        }
    }

    private void SwapDevices(int other)
    {
        var start = problem.Phases == 1 ? 0 : random.Next(3) * problem.Units;
        var (from, end) = start >= problem.Places || problem.Phases == 1 ? (0, problem.Places) : (start, start + problem.Units);
        for (var i = from; i < end; i++)
        {
            if (state.Genes[i] == _device)
                Put(i, other);
            else if (state.Genes[i] == other)
                Put(i, _device);
        }
    }

    private void Splice(int place, PlanArchive archive)
    {
        var (from, end) = Block(place);
        if (problem.Phases > 1 && random.Next(3) == 0)
        {
            var offset = from < problem.Units ? problem.Units : -problem.Units;
            for (var i = from; i < end; i++)
                Put(i, state.Genes[i + offset]);
            return;
        }
        if (archive.Members.Count == 0)
            return;
        var source = archive.Members[random.Next(archive.Members.Count)].Genes;
        for (var i = from; i < end; i++)
            Put(i, source[i]);
    }
}
