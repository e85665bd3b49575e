using Ergon.Models.Gguf;

namespace Ergon.Models;

/// <summary>Reads the keys <c>{architecture}.*</c> of a file, each with its range.</summary>
internal sealed class Hyperparameters(GgufFile file, string architecture)
{
    public string? Text(string key) => file.FindString(key);

    public string? ArchitectureText(string key) => Text($"{architecture}.{key}");

    /// <param name="key">The key without the architecture.</param>
    /// <param name="min">The least value allowed.</param>
    /// <param name="max">The largest value allowed.</param>
    /// <param name="fallback">The value of an absent key; <see langword="null"/> where the key must be there.</param>
    public int Count(string key, int min, int max, int? fallback = null)
    {
        var name = $"{architecture}.{key}";
        var entry = file.FindEntry(name);
        if (fallback is { } value && entry is null)
            return value;
        if (entry is { Type: GgufValueType.Array })
            throw Unsupported(key, "is a list with a value for each layer");
        var count = file.GetUInt32(name);
        return count >= min && count <= max ? (int)count
            : throw new GgufException(file.Path, $"has the hyperparameter '{name}' = {count}, which must be {min} to {max}: the file is damaged, download it again");
    }

    public float Number(string key, float? fallback = null)
    {
        var name = $"{architecture}.{key}";
        if (fallback is { } value && file.FindEntry(name) is null)
            return value;
        var number = file.GetFloat(name);
        return float.IsFinite(number) && number >= 0 ? number
            : throw new GgufException(file.Path, $"has the hyperparameter '{name}' = {number}, which must be a number from 0 on: the file is damaged, download it again");
    }

    /// <summary>A number that something is divided by.</summary>
    public float Positive(string key, float? fallback = null) => Number(key, fallback) is var number and > 0 ? number
        : throw new GgufException(file.Path, $"has the hyperparameter '{architecture}.{key}' = 0, which must be more: the file is damaged, download it again");

    public bool Flag(string key, bool fallback) => file.FindBool($"{architecture}.{key}") ?? fallback;

    /// <summary>A value for each layer; <see langword="null"/> where the key is absent or holds one value for all.</summary>
    public int[]? List(string key, int layers)
    {
        var name = $"{architecture}.{key}";
        if (file.FindEntry(name) is not { Type: GgufValueType.Array })
            return null;
        var list = file.FindInt32Array(name)!;
        return list.Length == layers ? list
            : throw new GgufException(file.Path, $"has the hyperparameter '{name}' with {list.Length} values for {layers} layers: the file is damaged, download it again");
    }

    /// <summary>A value for each layer, from a list or from one value for all; <see langword="null"/> where the key is absent.</summary>
    public int[]? OfLayers(string key, int layers, int max)
    {
        if (file.FindEntry($"{architecture}.{key}") is null)
            return null;
        if (List(key, layers) is not { } list)
            return [.. Enumerable.Repeat(Count(key, 0, max), layers)];
        return list.FirstOrDefault(value => value < 0 || value > max) is var stranger and not 0 ? throw Damaged(key, stranger, $"be 0 to {max}") : list;
    }

    /// <param name="key">The key without the architecture.</param>
    /// <param name="value">What it is.</param>
    /// <param name="expected">What it must do or be.</param>
    public GgufException Damaged(string key, object value, string expected) =>
        new(file.Path, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"has the hyperparameter '{architecture}.{key}' = {value}, which must {expected}: the file is damaged, download it again"));

    public UnsupportedModelException Unsupported(string key, string what) =>
        new($"{file.Path}: the hyperparameter '{architecture}.{key}' {what}, which Ergon's graph does not describe yet; use a model without it.");
}
