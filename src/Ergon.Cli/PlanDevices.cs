using Ergon.Devices.Profiles;

namespace Ergon.Cli;

/// <summary>The devices that <c>--devices</c> names: the one place where names become profiles.</summary>
/// <param name="Profiles">In the order given.</param>
/// <param name="Simulated">Whether any of them was not measured here.</param>
internal sealed record PlanDevices(IReadOnlyList<DeviceProfile> Profiles, bool Simulated)
{
    private const string Catalogue = "catalog:";

    /// <summary>Profiles of names.</summary>
    /// <param name="text"><c>catalog:NAME,NAME,...</c>; the prefix may stand before each name.</param>
    /// <exception cref="ErgonException">Nothing is named, or a name is not known.</exception>
    public static PlanDevices Named(string? text)
    {
        var names = (text ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        if (names.Length == 0 || !names[0].StartsWith(Catalogue, StringComparison.OrdinalIgnoreCase))
            throw new ErgonException($"--devices is '{text}', but must be catalog:NAME,NAME,...; 'ergon devices --explain all' lists the names.");
        return new([.. names.Select(n => ProfileCatalogue.Named(n.StartsWith(Catalogue, StringComparison.OrdinalIgnoreCase) ? n[Catalogue.Length..].Trim() : n))], Simulated: true);
    }
}
