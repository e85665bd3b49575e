using System.Text.RegularExpressions;

namespace Ergon.Models.Store;

/// <summary>Where a model can be pulled from: one URL, or a Hugging Face repository and a quantization.</summary>
internal abstract partial record ModelSource
{
    /// <summary>A model file at an address.</summary>
    public sealed record Url(Uri Address) : ModelSource
    {
        /// <inheritdoc/>
        public override string ToString() => Address.AbsoluteUri;
    }

    /// <summary>A repository of model files; without a quantization the best known one is taken.</summary>
    public sealed record HuggingFace(string Repository, string? Quantization) : ModelSource
    {
        /// <inheritdoc/>
        public override string ToString() => $"hf:{Repository}{(Quantization is null ? "" : ":" + Quantization)}";
    }

    /// <summary>Reads <c>https://...</c>, <c>http://...</c> or <c>hf:owner/repo[:QUANT]</c>.</summary>
    /// <exception cref="ErgonException">The text is neither.</exception>
    public static ModelSource Parse(string text)
    {
        if (HubName().Match(text) is { Success: true } match)
            return new HuggingFace(match.Groups["repo"].Value, match.Groups["quant"] is { Success: true } quant ? quant.Value : null);
        if (Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "https" or "http")
        {
            return Path.GetExtension(address.AbsolutePath).Equals(".gguf", StringComparison.OrdinalIgnoreCase)
                ? new Url(address)
                : throw new ErgonException($"The address '{text}' does not end in a .gguf file; give that of the file itself.");
        }
        throw new ErgonException($"'{text}' is not a source of models; give https://host/file.gguf or hf:owner/repo[:QUANT].");
    }

    /// <summary>Whether a MODEL argument names a source rather than a file.</summary>
    public static bool Looks(string text) =>
        text.StartsWith("hf:", StringComparison.Ordinal) || text.Contains("://", StringComparison.Ordinal);

    [GeneratedRegex(@"^hf:(?<repo>[\w-][\w.-]*/[\w-][\w.-]*)(:(?<quant>[\w.-]+))?$")]
    private static partial Regex HubName();
}
