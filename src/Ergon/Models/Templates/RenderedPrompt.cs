namespace Ergon.Models.Templates;

/// <summary>A rendered conversation, and who wrote which part of it.</summary>
/// <param name="Text">The whole prompt.</param>
/// <param name="Spans">Adjacent spans that cover <paramref name="Text"/> in order; neighbours differ
/// in <see cref="PromptSpan.IsTemplate"/>.</param>
/// <remarks>
/// To tokenize: cut the text at the special tokens that lie <em>wholly inside one template span</em>,
/// and tokenize each piece between them as plain text. A special token that a user typed, or
/// completed across a border, then stays text; and a piece is not cut at span borders, where
/// an ordinary token may straddle them ("\n" of the template and "\n" of the content).
/// </remarks>
public sealed record RenderedPrompt(string Text, IReadOnlyList<PromptSpan> Spans);

/// <summary>A stretch of a rendered prompt with one origin.</summary>
/// <param name="Start">First UTF-16 unit in the text.</param>
/// <param name="Length">Length in UTF-16 units, at least 1.</param>
/// <param name="IsTemplate"><see langword="true"/> for the template's own literals and the special
/// tokens given with the input; <see langword="false"/> for whatever came from messages, tools and
/// variables.</param>
public readonly record struct PromptSpan(int Start, int Length, bool IsTemplate);
