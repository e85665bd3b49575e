namespace Ergon.Inference;

/// <summary>How the vectors of a text's tokens become one. The numbers are those of GGUF's <c>pooling_type</c>.</summary>
public enum Pooling
{
    /// <summary>Their mean.</summary>
    Mean = 1,

    /// <summary>That of the first token, which encoders set before the text for this.</summary>
    Cls = 2,

    /// <summary>That of the last token, the only one that has seen the whole text where tokens look back only.</summary>
    Last = 3,
}
