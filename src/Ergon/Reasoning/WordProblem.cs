using System.Security.Cryptography;
using System.Text;

namespace Ergon.Reasoning;

/// <summary>How much work a problem takes.</summary>
public enum WordProblemLevel
{
    /// <summary>One or two steps.</summary>
    Easy,

    /// <summary>Two to four steps, larger numbers.</summary>
    Hard,

    /// <summary>Two-digit products in one step, up to five steps.</summary>
    Harder,
}

/// <summary>A grade-school word problem with its worked answer in GSM8K's answer format.</summary>
/// <param name="Question">The text a user would send: <c>Ada has 17 apples. ...</c></param>
/// <param name="WorkedAnswer">The steps, then the answer: <c>17+25=42 #### 42</c>.</param>
/// <param name="Answer">The number after <c>####</c>; always positive.</param>
/// <param name="Level">How much work it takes.</param>
public sealed record WordProblem(
    string Question, string WorkedAnswer, int Answer, WordProblemLevel Level)
{
    private const byte HeldOutBelow = 16;

    /// <summary>Whether training never saw this question: the SHA-256 of its UTF-8 bytes starts with
    /// a byte below 16. Training skips those (one in sixteen); evaluation uses only those.</summary>
    public bool IsHeldOut => SHA256.HashData(Encoding.UTF8.GetBytes(Question))[0] < HeldOutBelow;
}
