namespace Ergon.Models.Templates;

/// <summary>The variable <c>loop</c>.</summary>
internal sealed class LoopState(List<object?> items)
{
    private object? _changed = new Undefined("nothing yet");

    public int Index { get; set; }

    public object? Attribute(string name, Budget budget) => name switch
    {
        "index" => Index + 1L,
        "index0" => (long)Index,
        "revindex" => (long)items.Count - Index,
        "revindex0" => (long)items.Count - Index - 1,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        // A depth is that of recursion, which there is none.
        "depth" => 1L,
        "depth0" => 0L,
        "previtem" => Index > 0 ? items[Index - 1] : new Undefined("the item before the first"),
        "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new Undefined("the item after the last"),
        "cycle" => new Function(name, a => a.Positional.Count > 0
            ? a.Positional[Index % a.Positional.Count] : throw new TemplateFault("cycle has nothing to choose from. Give it values.")),
        "changed" => new Function(name, a =>
        {
            var values = new Sequence(a.Positional, IsTuple: true);
            var same = Values.AreEqual(_changed, values, budget);
            _changed = values;
            return !same;
        }),
        _ => null,
    };
}
