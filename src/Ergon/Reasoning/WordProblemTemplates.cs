using System.Globalization;
using System.Text;

namespace Ergon.Reasoning;

/// <summary>The problem templates of <c>train/templates.py</c>, in its order and with its order of
/// draws, which is part of the format.</summary>
internal static class WordProblemTemplates
{
    /// <summary>Draws numbers, writes the steps of the answer into the working, returns the question.</summary>
    internal delegate string Template(SplitMix64 random, Scene scene, Working work);

    private static readonly Template[] s_easy =
    [
        Gains,
        Loses,
        BuysBoxes,
        BuysBoxesAndFinds,
        TakesFromRows,
        ThreePiles,
        GetsAndGives,
        Shares,
        HasMore,
        Pays,
    ];

    private static readonly Template[] s_hard =
    [
        TwoKindsOfShelves,
        ThreeDays,
        PacksForDays,
        PoolAndShare,
        LooseItems,
        TimesAsMany,
    ];

    private static readonly Template[] s_harder =
    [
        RowsOfMany,
        FiveDays,
        PackTogether,
        GetsChange,
    ];

    /// <summary>Templates of a level; a problem picks one uniformly.</summary>
    internal static ReadOnlySpan<Template> Of(WordProblemLevel level) => level switch
    {
        WordProblemLevel.Easy => s_easy,
        WordProblemLevel.Hard => s_hard,
        _ => s_harder,
    };

    // Easy: one or two steps.
    private static string Gains(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(5, 99);
        var b = random.Between(3, 60);
        work.Add(a, b);
        return $"{scene.One} has {a} {scene.Items}. {scene.Other} gives {scene.One} {b} more. "
            + $"How many {scene.Items} does {scene.One} have now?";
    }

    private static string Loses(SplitMix64 random, Scene scene, Working work)
    {
        var b = random.Between(3, 60);
        var a = random.Between(b + 1, 99);
        work.Subtract(a, b);
        return $"{scene.One} had {a} {scene.Items} and lost {b} of them at the {scene.Place}. "
            + $"How many {scene.Items} are left?";
    }

    private static string BuysBoxes(SplitMix64 random, Scene scene, Working work)
    {
        var c = random.Between(2, 9);
        var a = random.Between(2, 12);
        work.Multiply(c, a);
        return $"{scene.One} buys {c} boxes with {a} {scene.Items} in each box. "
            + $"How many {scene.Items} is that?";
    }

    private static string BuysBoxesAndFinds(SplitMix64 random, Scene scene, Working work)
    {
        var c = random.Between(2, 9);
        var a = random.Between(2, 12);
        var b = random.Between(3, 60);
        work.Add(work.Multiply(c, a), b);
        return $"{scene.One} buys {c} boxes with {a} {scene.Items} in each box, then finds {b} more. "
            + $"How many {scene.Items} does {scene.One} have?";
    }

    private static string TakesFromRows(SplitMix64 random, Scene scene, Working work)
    {
        var c = random.Between(2, 9);
        var a = random.Between(3, 12);
        var b = random.Between(1, c * a - 1);
        work.Subtract(work.Multiply(c, a), b);
        return $"A {scene.Place} has {c} rows of {a} {scene.Items}. {scene.One} takes {b}. "
            + $"How many {scene.Items} remain?";
    }

    private static string ThreePiles(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(5, 99);
        var b = random.Between(3, 60);
        var d = random.Between(2, 40);
        work.Add(work.Add(a, b), d);
        return $"{scene.One} has {a} {scene.Items}, {scene.Other} has {b}, and the {scene.Place} has {d}. "
            + $"How many {scene.Items} are there in all?";
    }

    private static string GetsAndGives(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(5, 99);
        var b = random.Between(3, 60);
        var d = random.Between(1, Math.Min(a + b - 1, 80));
        work.Subtract(work.Add(a, b), d);
        return $"{scene.One} had {a} {scene.Items}, got {b} more and gave {d} to {scene.Other}. "
            + $"How many {scene.Items} does {scene.One} have?";
    }

    private static string Shares(SplitMix64 random, Scene scene, Working work)
    {
        var c = random.Between(2, 9);
        var z = random.Between(2, 12);
        work.Divide(c * z, c);
        return $"{scene.One} shares {c * z} {scene.Items} equally among {c} friends. "
            + $"How many {scene.Items} does each friend get?";
    }

    private static string HasMore(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(5, 40);
        var b = random.Between(3, 60);
        work.Add(work.Add(a, b), a);
        return $"{scene.One} has {a} {scene.Items}. {scene.Other} has {b} more than {scene.One}. "
            + $"How many {scene.Items} do they have together?";
    }

    private static string Pays(SplitMix64 random, Scene scene, Working work)
    {
        var box = random.Between(2, 9);
        var bag = random.Between(2, 9);
        var boxes = random.Between(2, 9);
        var bags = random.Between(2, 9);
        work.Add(work.Multiply(boxes, box), work.Multiply(bags, bag));
        return $"One box costs {box} coins and one bag costs {bag} coins. "
            + $"{scene.One} buys {boxes} boxes and {bags} bags. How many coins does {scene.One} pay?";
    }

    // Hard: two to four steps, larger numbers.
    private static string TwoKindsOfShelves(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(3, 9);
        var b = random.Between(11, 48);
        var c = random.Between(3, 9);
        var d = random.Between(11, 48);
        var e = random.Between(5, Math.Min(90, a * b + c * d - 1));
        work.Subtract(work.Add(work.Multiply(a, b), work.Multiply(c, d)), e);
        return $"The {scene.Place} has {a} shelves with {b} {scene.Items} each and {c} shelves with {d} "
            + $"{scene.Items} each. {scene.One} takes {e}. How many {scene.Items} remain?";
    }

    private static string ThreeDays(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(120, 480);
        var b = random.Between(105, 390);
        var c = random.Between(102, 260);
        work.Add(work.Add(a, b), c);
        return $"{scene.One} counts {a} {scene.Items} on Monday, {b} on Tuesday and {c} on Friday. "
            + $"How many {scene.Items} is that in all?";
    }

    private static string PacksForDays(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(3, 9);
        var b = random.Between(12, 65);
        var c = random.Between(2, 6);
        work.Multiply(work.Multiply(a, b), c);
        return $"{scene.One} packs {a} boxes of {b} {scene.Items} every day for {c} days. "
            + $"How many {scene.Items} is that?";
    }

    private static string PoolAndShare(SplitMix64 random, Scene scene, Working work)
    {
        var c = random.Between(2, 8);
        var z = random.Between(11, 60);
        var a = random.Between(10, c * z - 1);
        var b = c * z - a;
        var e = random.Between(1, 9);
        work.Subtract(work.Divide(work.Add(a, b), c), e);
        return $"{scene.One} has {a} {scene.Items} and {scene.Other} has {b}. They put them together and share them "
            + $"equally among {c} friends. Each friend then gives back {e}. "
            + $"How many {scene.Items} does each friend keep?";
    }

    private static string LooseItems(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(210, 560);
        var b = random.Between(3, 8);
        var c = random.Between(14, 24);
        var d = random.Between(11, 60);
        work.Add(work.Subtract(a, work.Multiply(b, c)), d);
        return $"{scene.One} had {a} {scene.Items}, filled {b} bags with {c} each, and then found {d} more. "
            + $"How many loose {scene.Items} does {scene.One} have?";
    }

    private static string TimesAsMany(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(12, 85);
        var b = random.Between(2, 6);
        var c = random.Between(15, Math.Min(95, a * b - 1));
        var other = work.Multiply(a, b);
        var place = work.Subtract(other, c);
        work.Add(work.Add(a, other), place);
        return $"{scene.One} has {a} {scene.Items}. {scene.Other} has {b} times as many, and the {scene.Place} has {c} "
            + $"fewer than {scene.Other}. How many {scene.Items} are there in all?";
    }

    // Harder: two-digit products in one step, up to five steps.
    private static string RowsOfMany(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(12, 79);
        var b = random.Between(11, 39);
        var c = random.Between(20, Math.Min(400, a * b - 1));
        work.Subtract(work.Multiply(a, b), c);
        return $"The {scene.Place} has {a} rows of {b} {scene.Items} each. {scene.One} takes {c} of them. "
            + $"How many {scene.Items} remain?";
    }

    private static string FiveDays(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(101, 899);
        var b = random.Between(101, 899);
        var c = random.Between(101, 899);
        var d = random.Between(101, 899);
        var e = random.Between(101, 899);
        work.Add(work.Add(work.Add(work.Add(a, b), c), d), e);
        return $"{scene.One} counts {a} {scene.Items} on Monday, {b} on Tuesday, {c} on Wednesday, {d} on "
            + $"Thursday and {e} on Friday. How many {scene.Items} is that in all?";
    }

    private static string PackTogether(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(3, 9);
        var b = random.Between(21, 89);
        var c = random.Between(3, 9);
        var d = random.Between(21, 89);
        var days = random.Between(3, 8);
        var broken = random.Between(5, 99);
        var daily = work.Add(work.Multiply(a, b), work.Multiply(c, d));
        work.Multiply(work.Subtract(daily, broken), days);
        return $"Every day {scene.One} packs {a} boxes of {b} {scene.Items} and {scene.Other} packs {c} boxes of {d} "
            + $"{scene.Items}, but {broken} {scene.Items} are broken and thrown away. "
            + $"How many {scene.Items} are left after {days} days?";
    }

    private static string GetsChange(SplitMix64 random, Scene scene, Working work)
    {
        var a = random.Between(2, 7);
        var b = random.Between(105, 480);
        var c = random.Between(2, 6);
        var d = random.Between(105, 390);
        var note = ((a * b + c * d) / 1000 + 1) * 1000;
        var total = work.Add(work.Multiply(a, b), work.Multiply(c, d));
        work.Subtract(note, total);
        return $"{scene.One} buys {a} {scene.Items} for {b} coins each and {c} tickets for {d} coins each, and "
            + $"pays with {note} coins. How many coins does {scene.One} get back?";
    }

    /// <summary>Who, what and where: drawn first, the same way for every template.</summary>
    internal sealed record Scene(string One, string Other, string Items, string Place);

    /// <summary>The steps of a worked answer; each returns its result, for use in a later step.</summary>
    internal sealed class Working
    {
        private readonly StringBuilder _steps = new();

        public int Result { get; private set; }

        public int Add(int x, int y) => Step(x, '+', y, x + y);

        public int Subtract(int x, int y) => Step(x, '-', y, x - y);

        public int Multiply(int x, int y) => Step(x, '*', y, x * y);

        public int Divide(int x, int y) => Step(x, '/', y, x / y);

        public override string ToString() =>
            string.Create(CultureInfo.InvariantCulture, $"{_steps}#### {Result}");

        private int Step(int x, char operation, int y, int result)
        {
            _steps.Append(CultureInfo.InvariantCulture, $"{x}{operation}{y}={result} ");
            return Result = result;
        }
    }
}
