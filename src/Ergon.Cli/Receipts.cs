using System.CommandLine;
using System.Globalization;
using Ergon.Energy;
using Ergon.Runtime;

namespace Ergon.Cli;

/// <summary>What answers took in joules, as the verbs that load a model print it.</summary>
internal sealed class Receipts
{
    private readonly Option<bool> _none = new("--no-receipt") { Description = "Leave out what it took in joules, and do not read any meter" };

    public void AddTo(Command command) => command.Options.Add(_none);

    /// <summary>The meters to read; <see langword="null"/> with <c>--no-receipt</c>.</summary>
    public EnergyMonitor? Monitor(ParseResult parsed) => parsed.GetValue(_none) ? null : EnergyMonitor.OfMachine();

    /// <summary>Shows <c>ergon top</c> what a monitor sees, if that can be; why not is said on stderr, and nothing else comes of it.</summary>
    public static StatusSocket? Status(EnergyMonitor? monitor, Terminal terminal)
    {
        try
        {
            return monitor is null ? null : new StatusSocket(monitor, StatusFolder.OfUser(), Say);
        }
        catch (ErgonException e)
        {
            Say(e.Message);
            return null;
        }

        void Say(string problem) => terminal.Error.WriteLine($"ergon: {problem} Until then 'ergon top' does not show this process.");
    }

    /// <summary>One line, such as <c>42 tokens · 12.4 J · 0.295 J/token · 9.1 W mean · prefill 2.1 J, decode 9.8 J, idle 0.5 J · measured:rapl</c>.</summary>
    public static string Line(Receipt receipt) => Line(receipt, receipt.Tokens, "token");

    /// <summary>The same for what an answer is not counted by: <c>3 texts · 1.4 J · 0.467 J/text ...</c>.</summary>
    public static string Line(Receipt receipt, long count, string noun)
    {
        var counted = Amount.Count(count, noun);
        if (receipt.Energy is not { } energy)
            return $"{counted} · energy unknown: {receipt.Reason}";
        var each = count > 0 ? $" · {Figure(energy.Value / count)} J/{noun}" : "";
        var power = receipt.Power is { } watts ? $" · {Figure(watts.Value)} W mean" : "";
        return $"{counted} · {Figure(energy.Value)} J{each}{power} · prefill {Figure(receipt.Prefill!.Value.Value)} J, decode {Figure(receipt.Decode!.Value.Value)} J, idle {Figure(receipt.Idle!.Value.Value)} J · {receipt.Source} ({receipt.Reason ?? Quality(receipt)})";
    }

    /// <summary>The same for <c>--json</c>; unknown is null, never 0.</summary>
    public static EnergyFigures Json(Receipt receipt) => new(Rounded(receipt.Energy?.Value), Rounded(receipt.Power?.Value), Rounded(receipt.PerToken?.Value),
        Rounded(receipt.Prefill?.Value), Rounded(receipt.Decode?.Value), Rounded(receipt.Idle?.Value), receipt.Source, Quality(receipt), receipt.Reason);

    private static string? Quality(Receipt receipt) => receipt.Quality?.ToString().ToLowerInvariant();

    /// <summary>Three figures that count.</summary>
    public static string Figure(double value) => value switch
    {
        >= 100 => value.ToString("F0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("F1", CultureInfo.InvariantCulture),
        >= 1 => value.ToString("F2", CultureInfo.InvariantCulture),
        _ => value.ToString("G3", CultureInfo.InvariantCulture),
    };

    /// <summary>Six figures that count, for JSON.</summary>
    public static double? Rounded(double? value) => value is { } v ? double.Parse(v.ToString("G6", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : null;
}
