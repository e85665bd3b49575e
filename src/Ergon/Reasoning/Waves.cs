using Ergon.Reasoning.Stopping;
using Ergon.Units;

namespace Ergon.Reasoning;

/// <summary>What a pass is expected to take that extends so many draws by a token each.</summary>
/// <param name="rows">Draws, 1 or more.</param>
/// <param name="context">Positions that each has.</param>
internal delegate (Joules Energy, Seconds Time) Decoding(int rows, int context);

/// <summary>
/// How many draws of a lone problem to run at once. With k draws seen, a wave of w takes as many passes of w rows as a draw has tokens, E(w) each, and all its draws
/// are paid for, whichever of them ends the drawing; waves go on with probability S(w), that none of the w did. The least expected joules of what is left are
/// V(k) = min over w of E(w) + S(w) V(k + w), and w is chosen anew after each draw; of widths within 1 % of the least, the one that is expected to end soonest. That a draw
/// ends the drawing is thought impossible while the policy would not stop though all of them agreed with the leader and were clean, and after that as likely as the
/// policy says (<see cref="IStoppingPolicy.EndsWith"/>). Draws are taken to be of one length, which then does not matter. Pure. Ergon's own definition.
/// </summary>
internal static class Waves
{
    private const double Equal = 1.01;

    // What lies further ahead than so many of the widest waves changes no choice.
    private const int Ahead = 4;

    /// <summary>The width of the next wave, 1 to <paramref name="most"/>.</summary>
    /// <param name="tally">What was drawn, of which some is left.</param>
    /// <param name="policy">Ends it.</param>
    /// <param name="most">Draws at once at most.</param>
    /// <param name="judged">Whether a verifier judges draws.</param>
    /// <param name="pass">What a pass of so many rows takes.</param>
    public static int Choose(Tally tally, IStoppingPolicy policy, int most, bool judged, Func<int, (Joules Energy, Seconds Time)> pass)
    {
        var left = (int)Math.Min(tally.Left, (long)Ahead * most);
        most = Math.Min(most, left);
        if (most <= 1)
            return 1;
        var costs = Enumerable.Range(1, most).Select(pass).ToArray();
        var soonest = Soonest(tally, policy, most, judged);
        // S after each number of further draws.
        var goesOn = new double[left + 1];
        goesOn[0] = 1;
        for (var j = 1; j <= left; j++)
            goesOn[j] = goesOn[j - 1] * (j < soonest ? 1 : 1 - Math.Clamp(policy.EndsWith(tally, j - 1), 0, 1));
        var (joules, seconds, width) = (new double[left + 1], new double[left + 1], 1);
        for (var j = left - 1; j >= 0; j--)
        {
            var least = double.PositiveInfinity;
            for (var w = 1; w <= Math.Min(most, left - j); w++)
                least = Math.Min(least, Expected(j, w, joules, costs[w - 1].Energy.Value));
            (joules[j], seconds[j]) = (least, double.PositiveInfinity);
            for (var w = 1; w <= Math.Min(most, left - j); w++)
            {
                if (Expected(j, w, joules, costs[w - 1].Energy.Value) <= least * Equal && Expected(j, w, seconds, costs[w - 1].Time.Value) is var time && time < seconds[j])
                    (seconds[j], width) = (time, w);
            }
        }
        return width;

        double Expected(int j, int w, double[] after, double own) => own + (goesOn[j] > 0 ? goesOn[j + w] / goesOn[j] * after[j + w] : 0);
    }

    // The first of further draws with which the policy can stop: where all are as good as can be.
    private static int Soonest(Tally tally, IStoppingPolicy policy, int most, bool judged)
    {
        var best = new Tally(tally.Budget);
        foreach (var draw in tally.Draws)
            best.Add(draw);
        var agreeing = new Draw(tally.Winner ?? "", judged ? true : null, Evidence: 1, tally.Draws.Max(d => d.LogProbability));
        for (var j = 1; j <= most; j++)
        {
            best.Add(agreeing);
            if (best.Left == 0 || policy.Stop(best) is not null)
                return j;
        }
        return most + 1;
    }
}
