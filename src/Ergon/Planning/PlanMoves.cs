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

    /// <summary>All units of two devices exchanged, or all of one given to the other.</summary>
    SwapDevices,

    /// <summary>Two units' devices exchanged: loads hardly change.</summary>
    Exchange,

    /// <summary>A stretch of a plan in reverse, so that two runs of a device meet: a seam less, and loads hardly change.</summary>
    Reverse,

    /// <summary>A stretch of a plan as an archive's member has it, or as the other phase has it.</summary>
    Splice,

    /// <summary>One device to another clock level.</summary>
    TurnClock,
}

/// <summary>
/// Proposes changes to a plan and takes them back. A proposal is one change or several, each to one phase or to both alike:
/// a unit that computes in both has its weights in one place. What gained before is proposed more often (momentum): an
/// exponential average over kinds, scopes, devices and regions of the chain; a tenth of all draws stays uniform.
/// </summary>
internal sealed class PlanMoves(PlanProblem problem, PlanState state, Random random)
{
    private const double Uniform = 0.1, Rate = 0.005;
    private const int Regions = 16;

    // After each change another one follows with this chance: some gains take two at once.
    private const double Again = 1.0 / 3;

    private readonly double[] _kinds = Even(Enum.GetValues<MoveKind>().Length - (problem.Levels.All(l => l == 1) ? 1 : 0));
    private readonly double[] _devices = Even(problem.Devices);
    private readonly double[] _regions = Even(Math.Min(Regions, problem.Places));
    private readonly double[] _scopes = Even(problem.Phases);
    private readonly List<(int Gene, byte Before)> _undo = [];
    private readonly List<(double[] Average, int Index)> _drawn = [];
    private bool _both;

    /// <summary>Changes the plan; <see langword="false"/> where the proposal changes nothing.</summary>
    public bool Propose(PlanArchive archive)
    {
        _undo.Clear();
        _drawn.Clear();
        do
        {
            Change(archive);
        }
        while (random.NextDouble() < Again);
        return _undo.Count > 0;
    }

    private void Change(PlanArchive archive)
    {
        var kind = (MoveKind)Draw(_kinds);
        var device = Draw(_devices);
        _both = Draw(_scopes) == 1;
        var places = problem.Places;
        var region = Draw(_regions);
        var place = Math.Min(places - 1, (int)((region + random.NextDouble()) * places / _regions.Length));
        switch (kind)
        {
            case MoveKind.Flip:
                Put(place, device);
                break;
            case MoveKind.ShiftCut:
                ShiftCut(place);
                break;
            case MoveKind.MoveBlock:
                var (from, end) = random.Next(3) == 0 ? Run(place) : Block(place);
                for (var i = from; i < end; i++)
                    Put(i, device);
                break;
            case MoveKind.SwapDevices:
                SwapDevices(place, device, random.Next(problem.Devices), random.Next(2) == 0);
                break;
            case MoveKind.Exchange:
                var other = PhaseStart(place) + random.Next(problem.Units);
                var (own, wanted) = (state.Genes[place], state.Genes[other]);
                Put(place, wanted);
                Put(other, own);
                break;
            case MoveKind.Reverse:
                Reverse(place);
                break;
            case MoveKind.Splice:
                Splice(place, archive);
                break;
            default:
                Put(places + device, random.Next(problem.Levels[device]));
                break;
        }
    }

    /// <summary>Takes the last proposal back.</summary>
    public void Undo()
    {
        for (var i = _undo.Count - 1; i >= 0; i--)
            state.Set(_undo[i].Gene, _undo[i].Before);
    }

    /// <summary>Nothing is left to take back: the plan was replaced.</summary>
    public void Forget() => _undo.Clear();

    /// <summary>Tells that the last proposal was accepted and gained a place in the archive.</summary>
    public void Learn()
    {
        foreach (var (average, index) in _drawn)
        {
            // Less for what is proposed often: the average follows how often proposals of a kind gain, and not its own bias.
            var proposed = ((1 - Uniform) * average[index]) + (Uniform / average.Length);
            var step = Rate * Math.Min(1, 1 / (average.Length * proposed));
            for (var i = 0; i < average.Length; i++)
                average[i] += step * ((i == index ? 1 : 0) - average[i]);
        }
    }

    private static double[] Even(int count) => [.. Enumerable.Repeat(1.0 / count, count)];

    private int Draw(double[] average)
    {
        var index = Drawn(average);
        _drawn.Add((average, index));
        return index;
    }

    private int Drawn(double[] average)
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

    // A device for a place, or for its unit in both phases.
    private void Put(int gene, int value)
    {
        Set(gene, value);
        if (_both && gene < problem.Places)
            Set(gene < problem.Units ? gene + problem.Units : gene - problem.Units, value);
    }

    private void Set(int gene, int value)
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

    // From a seam to the end of a run of the device before that seam: the two meet, and the seam is gone.
    private void Reverse(int place)
    {
        var (from, first) = (Run(place).From, PhaseStart(place));
        if (from == first)
            return;
        var end = first + problem.Units;
        var to = from + random.Next(end - from);
        while (to < end && state.Genes[to] != state.Genes[from - 1])
            to++;
        if (to == end)
            return;
        var twin = first == 0 ? problem.Units : -problem.Units;
        for (to = Run(to).End - 1; from < to; from++, to--)
        {
            Trade(from, to);
            if (_both)
                Trade(from + twin, to + twin);
        }
    }

    private void Trade(int a, int b)
    {
        var device = state.Genes[a];
        Set(a, state.Genes[b]);
        Set(b, device);
    }

    private void SwapDevices(int place, int device, int other, bool exchange)
    {
        var (from, end) = _both ? (0, problem.Places) : (PhaseStart(place), PhaseStart(place) + problem.Units);
        for (var i = from; i < end; i++)
        {
            if (state.Genes[i] == device && exchange)
                Set(i, other);
            else if (state.Genes[i] == other)
                Set(i, device);
        }
    }

    private void Splice(int place, PlanArchive archive)
    {
        var (from, end) = Block(place);
        if (problem.Phases > 1 && !_both && random.Next(3) == 0)
        {
            var offset = from < problem.Units ? problem.Units : -problem.Units;
            for (var i = from; i < end; i++)
                Set(i, state.Genes[i + offset]);
            return;
        }
        if (archive.Members.Count == 0)
            return;
        var source = archive.Members[random.Next(archive.Members.Count)].Genes;
        var far = random.Next(3) > 0;
        if (far)
        {
            // Two points anywhere: whole phases and clocks go along.
            var (a, b) = (random.Next(problem.Genes), random.Next(problem.Genes));
            (from, end) = (Math.Min(a, b), Math.Max(a, b) + 1);
        }
        var twin = from < problem.Units ? problem.Units : -problem.Units;
        for (var i = from; i < end; i++)
        {
            Set(i, source[i]);
            if (_both && !far)
                Set(i + twin, source[i + twin]);
        }
    }
}
