using System.CommandLine;
using System.Globalization;
using Ergon.Energy;
using Ergon.Runtime;

namespace Ergon.Cli;

/// <summary>What each answer took in joules, as <c>run</c> and <c>chat</c> print it.</summary>
internal sealed class Receipts
{
    private readonly Option<bool> _none = new("--no-receipt") { Description = "Leave out what the answer took in joules, and do not read any meter" };

    public void AddTo(Command command) => command.Options.Add(_none);

    /// <summary>The meters to read; <see langword="null"/> with <c>--no-receipt</c>.</summary>
    public EnergyMonitor? Monitor(ParseResult parsed) => parsed.GetValue(_none) ? null : EnergyMonitor.OfMachine();

    /// <summary>One line, such as <c>42 tokens · 12.4 J · 0.295 J/token · 9.1 W mean · prefill 2.1 J, decode 9.8 J, idle 0.5 J · measured:rapl</c>.</summary>
    public static string Line(Receipt receipt)
    {
        var tokens = Amount.Count(receipt.Tokens, "token");
        if (receipt.Energy is not { } energy)
            return $"{tokens} · energy unknown: {receipt.Reason}";
        var perToken = receipt.PerToken is { } each ? $" · {Figure(each.Value)} J/token" : "";
        var power = receipt.Power is { } watts ? $" · {Figure(watts.Value)} W mean" : "";
        return $"{tokens} · {Figure(energy.Value)} J{perToken}{power} · prefill {Figure(receipt.Prefill!.Value.Value)} J, decode {Figure(receipt.Decode!.Value.Value)} J, idle {Figure(receipt.Idle!.Value.Value)} J · {receipt.Source} ({receipt.Reason ?? Quality(receipt)})";
    }

    /// <summary>The same for <c>--json</c>; unknown is null, never 0.</summary>
    public static EnergyFigures Json(Receipt receipt) => new(Rounded(receipt.Energy?.Value), Rounded(receipt.Power?.Value), Rounded(receipt.PerToken?.Value),
        Rounded(receipt.Prefill?.Value), Rounded(receipt.Decode?.Value), Rounded(receipt.Idle?.Value), receipt.Source, Quality(receipt), receipt.Reason);

    private static string? Quality(Receipt receipt) => receipt.Quality?.ToString().ToLowerInvariant();

    // Three figures that count.
    private static string Figure(double value) => value switch
    {
        >= 100 => value.ToString("F0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("F1", CultureInfo.InvariantCulture),
        >= 1 => value.ToString("F2", CultureInfo.InvariantCulture),
        _ => value.ToString("0.###", CultureInfo.InvariantCulture),
    };

    private static double? Rounded(double? value) => value is { } v ? double.Parse(v.ToString("G6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : null;
}
