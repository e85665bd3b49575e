using System.Runtime.CompilerServices;

namespace Ergon.Models.Templates;

/// <summary>
/// What one rendering may spend. A template comes with the model file, so it is untrusted:
/// it must not hang, fill the memory or overflow the stack.
/// </summary>
internal sealed class Budget
{
    /// <summary>Longest template; the longest of the field are under 20 000 characters.</summary>
    public const int MaxSource = 1 << 18;

    /// <summary>Longest rendering: four times a context of a million tokens.</summary>
    public const int MaxOutput = 1 << 24;

    /// <summary>As jinja2's sandbox.</summary>
    public const int MaxRange = 100_000;

    // A unit is about 5 ns: one character written or list item copied, a fraction of a node
    // or of a loop's pass. A long conversation (a million characters, copied ten times)
    // spends 10 million; the whole budget is about a second.
    private long _left = 1 << 27;

    /// <summary>Price of an evaluated node, of a compared or printed value.</summary>
    private const int Step = 8;

    /// <summary>Price of what allocates: a scope, a piece of text.</summary>
    public const int Allocation = 16;

    public void Charge(long units)
    {
        if ((_left -= units) < 0)
            throw new TemplateFault("the template does more work than a chat template may; it probably loops without end. Use another template.");
    }

    /// <summary>For a step that may nest: costs a step and guards the stack.</summary>
    public void Enter()
    {
        Charge(Step);
        GuardStack();
    }

    public static void GuardStack()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new TemplateFault("the nesting is too deep. Use a template or data with less nesting.");
    }

    // Searching is linear for the short needles that templates use; a long needle that keeps
    // almost matching costs its length again and again.
    public void ChargeSearch(int text, int needle) => Charge(text + (long)text * needle / 64);

    public static void CheckLength(long length)
    {
        if (length > MaxOutput)
            throw new TemplateFault($"a text of {length} characters exceeds the limit of {MaxOutput}. Shorten the conversation.");
    }
}
