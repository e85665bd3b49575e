using System.Text;

namespace Ergon.Reasoning.Tasks;

/// <summary>
/// Looks for the first false sum of a text that is being written, as <see cref="Arithmetic.Check"/> finds them in all of it. Each equals sign is looked at
/// once, with what stands between it and the one before, so that a long text costs what a short one does for each of its steps.
/// </summary>
internal sealed class StepWatch
{
    private readonly StringBuilder _rest = new(); // from where the next step can begin
    private bool _isFalse, _hasSign;

    /// <summary>Takes the next piece.</summary>
    /// <returns>Whether a step up to here is complete and false; once it is, it stays so.</returns>
    public bool Append(string piece)
    {
        if (_isFalse)
            return true;
        _rest.Append(piece);
        // Without a sign there is no step, however long the text gets.
        _hasSign |= piece.Contains('=', StringComparison.Ordinal);
        // The last number may go on; one that a space follows does not.
        if (!_hasSign || !piece.AsSpan().ContainsAny(' ', '\n'))
            return false;
        var text = _rest.ToString();
        var end = text.AsSpan().LastIndexOfAny(' ', '\n');
        // An equals sign that has something after it has all of its result.
        var settled = text.AsSpan(0, end).TrimEnd().Length;
        var sign = settled > 1 ? text.LastIndexOf('=', settled - 2) : -1;
        if (sign < 0)
            return false;
        var (steps, right, matched) = Arithmetic.Find(text[..end]);
        _isFalse = right < steps;
        // A step has one sign: the next begins after this one's, or after the result that was read.
        _rest.Remove(0, Math.Max(sign + 1, matched));
        _hasSign = text.AsSpan(Math.Max(sign + 1, matched)).Contains('=');
        return _isFalse;
    }
}
