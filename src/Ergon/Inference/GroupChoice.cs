namespace Ergon.Inference;

/// <summary>
/// Into how many groups to divide the sequences that decode, so that each group has a pass in flight on another device.
/// More groups keep more devices busy, but each reads all weights for fewer rows, and the slowest device sets the pace:
/// which wins follows from the model, the cut, the number of sequences and what the devices share. So it is measured:
/// every number of groups in turn for a few rounds, then the fastest, and again from time to time. Ergon's own rule. Knows no clock.
/// </summary>
/// <param name="most">Groups that there can be: devices that follow each other.</param>
/// <param name="sequences">Sequences that there can be.</param>
internal sealed class GroupChoice(int most, int sequences)
{
    // What rounds of all sequences a rate is taken over, after those in which the groups change.
    private const int Rounds = 4, Settling = 2;

    // Measurements of the fastest between two of the others: a trial at half the speed then costs some 2 percent.
    private const int Confidence = 64;

    private readonly Known?[] _known = new Known?[sequences + 1]; // by sequences
    private (int Sequences, int Groups) _now;
    private long _began;
    private int _landed, _rows;

    // Rows a tick by groups less one; 0 while it is to be measured.
    private sealed class Known(int groups)
    {
        public double[] Rates { get; } = new double[groups];

        public int Age { get; set; }
    }

    /// <summary>How many groups to divide so many sequences into now: 1 to the least of them and of the devices.</summary>
    public int For(int decoding)
    {
        if (most == 1 || decoding <= 1)
            return 1;
        var rates = Of(decoding).Rates;
        var open = Array.LastIndexOf(rates, 0);
        return 1 + (open >= 0 ? open : IndexOfMax(rates));
    }

    /// <summary>Notes that a pass has landed in which all rows are decoding sequences'.</summary>
    /// <param name="decoding">Sequences that decode, in this pass or others.</param>
    /// <param name="groups">Into how many groups they are divided.</param>
    /// <param name="rows">Rows of the pass.</param>
    /// <param name="at">When, in ticks of any length.</param>
    public void Land(int decoding, int groups, int rows, long at)
    {
        if (most == 1 || decoding <= 1)
            return;
        if (_now != (decoding, groups))
            (_now, _landed) = ((decoding, groups), -Settling * groups);
        _landed++;
        _rows += rows;
        if (_landed == 0)
            (_began, _rows) = (at, 0);
        if (_landed < Rounds * groups)
            return;
        var known = Of(decoding);
        var ticks = Math.Max(1, at - _began);
        known.Rates[groups - 1] = (double)_rows / ticks;
        (_began, _rows, _landed) = (at, 0, 0);
        if (known.Rates.Contains(0) || ++known.Age < Confidence)
            return;
        known.Age = 0;
        for (var i = 0; i < known.Rates.Length; i++)
            known.Rates[i] = i == groups - 1 ? known.Rates[i] : 0;
    }

    /// <summary>Notes that something else than decoding has happened, which no rate is to include.</summary>
    public void Interrupt() => _now = default;

    private Known Of(int decoding) => _known[decoding] ??= new Known(Math.Min(most, decoding));

    private static int IndexOfMax(double[] rates) => Array.IndexOf(rates, rates.Max());
}
