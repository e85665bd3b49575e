using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ergon.Devices.Profiles;

/// <summary>Profiles as JSON: those that Ergon ships, and those on disk.</summary>
internal static class ProfileCatalogue
{
    private static readonly Lazy<IReadOnlyList<DeviceProfile>> Shipped = new(() =>
    {
        using var stream = typeof(ProfileCatalogue).Assembly.GetManifestResourceStream("Ergon.Devices.Profiles.catalogue.json")!;
        using var reader = new StreamReader(stream);
        return Read(reader.ReadToEnd(), "the catalogue");
    });

    /// <summary>The devices that nobody here has measured.</summary>
    public static IReadOnlyList<DeviceProfile> All => Shipped.Value;

    /// <summary>The profile of that name.</summary>
    /// <exception cref="ErgonException">There is none.</exception>
    public static DeviceProfile Named(string name) => All.FirstOrDefault(p => p.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ErgonException($"There is no device '{name}' in the catalogue; there is {string.Join(", ", All.Select(p => p.Name))}.");

    /// <summary>Reads and checks profiles.</summary>
    /// <exception cref="ErgonException">The text is not a list of profiles, or a profile lacks a field or contradicts itself.</exception>
    public static IReadOnlyList<DeviceProfile> Read(string json, string origin)
    {
        try
        {
            return [.. JsonSerializer.Deserialize(json, ProfileJson.Default.DeviceProfileArray)!.Select(p => p.Validated())];
        }
        catch (JsonException e)
        {
            throw new ErgonException($"The profiles of {origin} cannot be read ({e.Message.TrimEnd('.')}); correct the file, or delete it to calibrate anew.", e);
        }
    }

    /// <summary>The same profiles as text.</summary>
    public static string Write(IReadOnlyList<DeviceProfile> profiles) => JsonSerializer.Serialize([.. profiles], ProfileJson.Default.DeviceProfileArray);
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(DeviceProfile[]))]
[JsonSerializable(typeof(Calibrated))]
internal sealed partial class ProfileJson : JsonSerializerContext;
