namespace Ergon.Models.Templates;

/// <summary>Variables of the template, of one pass of a loop, of a macro's call or of a block; a name is looked up outwards.</summary>
internal sealed class Scope(Scope? outer)
{
    private readonly Dictionary<string, object?> _variables = new(StringComparer.Ordinal);

    public void Set(string name, object? value) => _variables[name] = value;

    public object? Get(string name)
    {
        for (var scope = this; scope is not null; scope = scope.Outer)
            if (scope._variables.TryGetValue(name, out var value))
                return value;
        return new Undefined($"'{name}'");
    }

    private Scope? Outer => outer;
}
