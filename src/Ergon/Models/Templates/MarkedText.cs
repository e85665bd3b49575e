using System.Text;

namespace Ergon.Models.Templates;

/// <summary>
/// A string that remembers which of its characters came from outside the template.
/// Equality, order and hash regard the characters alone.
/// </summary>
internal sealed class MarkedText : IEquatable<MarkedText>
{
    public static readonly MarkedText Empty = new("", []);

    // Sorted, disjoint, not adjacent, not empty.
    private readonly (int Start, int End)[] _foreign;

    private MarkedText(string value, (int, int)[] foreign) => (Value, _foreign) = (value, foreign);

    public string Value { get; }
    public int Length => Value.Length;

    public static MarkedText Trusted(string value) => value.Length == 0 ? Empty : new(value, []);
    public static MarkedText Foreign(string value) => value.Length == 0 ? Empty : new(value, [(0, value.Length)]);

    public MarkedText Substring(int start, int length, Budget budget)
    {
        if (length == Length)
            return this;
        var builder = new MarkedBuilder(budget);
        builder.Append(this, start, length);
        return builder.ToText();
    }

    /// <summary>The same provenance over other characters, one for one.</summary>
    public MarkedText Map(Func<char, int, char> map, Budget budget)
    {
        budget.Charge(Length);
        return new(string.Create(Length, (Value, map), static (span, s) =>
        {
            for (var i = 0; i < span.Length; i++)
                span[i] = s.map(s.Value[i], i);
        }), _foreign);
    }

    public IReadOnlyList<PromptSpan> Spans()
    {
        var spans = new List<PromptSpan>();
        var at = 0;
        foreach (var (start, end) in _foreign)
        {
            if (start > at)
                spans.Add(new(at, start - at, true));
            spans.Add(new(start, end - start, false));
            at = end;
        }
        if (at < Length)
            spans.Add(new(at, Length - at, true));
        return spans;
    }

    public bool Equals(MarkedText? other) => other is not null && Value == other.Value;
    public override bool Equals(object? obj) => Equals(obj as MarkedText);
    public override int GetHashCode() => Value.GetHashCode(StringComparison.Ordinal);
    public override string ToString() => Value;

    public bool IsForeign(int index) => FirstEndingAfter(index) is var i && i < _foreign.Length && _foreign[i].Start <= index;

    private int FirstEndingAfter(int index)
    {
        var (low, high) = (0, _foreign.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_foreign[middle].End <= index)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

    /// <summary>The ranges of a text under construction.</summary>
    internal sealed class Marks
    {
        private readonly List<(int Start, int End)> _ranges = [];

        public void Add(int start, int end)
        {
            if (start == end)
                return;
            if (_ranges.Count > 0 && _ranges[^1].End == start)
                _ranges[^1] = (_ranges[^1].Start, end);
            else
                _ranges.Add((start, end));
        }

        public void AddFrom(MarkedText text, int start, int length, int to)
        {
            for (var i = text.FirstEndingAfter(start); i < text._foreign.Length && text._foreign[i].Start < start + length; i++)
                Add(to + Math.Max(text._foreign[i].Start, start) - start,
                    to + Math.Min(text._foreign[i].End, start + length) - start);
        }

        public MarkedText ToText(string value) => value.Length == 0 ? Empty : new(value, [.. _ranges]);
    }
}

/// <summary>Joins texts and keeps their provenance; every character is paid for.</summary>
internal sealed class MarkedBuilder(Budget budget)
{
    private readonly StringBuilder _text = new();
    private readonly MarkedText.Marks _marks = new();

    public int Length => _text.Length;

    public void Append(MarkedText text) => Append(text, 0, text.Length);

    public void Append(MarkedText text, int start, int length)
    {
        Pay(length);
        _marks.AddFrom(text, start, length, _text.Length);
        _text.Append(text.Value, start, length);
    }

    /// <summary>Appends text of the template's own.</summary>
    public void Append(string trusted)
    {
        Pay(trusted.Length);
        _text.Append(trusted);
    }

    /// <summary>Appends a replacement for some characters of <paramref name="origin"/>, with the provenance of the first.</summary>
    public void AppendAs(string replacement, MarkedText origin, int index)
    {
        Pay(replacement.Length);
        var start = _text.Length;
        _text.Append(replacement);
        if (origin.IsForeign(index))
            _marks.Add(start, _text.Length);
    }

    public MarkedText ToText() => _marks.ToText(_text.ToString());

    private void Pay(int length)
    {
        Budget.CheckLength((long)_text.Length + length);
        budget.Charge(length + Budget.Allocation / 4);
    }
}
