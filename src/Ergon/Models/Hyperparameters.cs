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
        if (fallback is { } value && file.FindEntry(name) is null)
            return value;
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

    public UnsupportedModelException Unsupported(string key, string what) =>
        new($"{file.Path}: the hyperparameter '{architecture}.{key}' {what}, which Ergon's graph does not describe yet; use a model without it.");
}
