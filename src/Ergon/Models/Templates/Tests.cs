using System.Collections.Frozen;

namespace Ergon.Models.Templates;

/// <summary>jinja2's tests (<c>x is ...</c>).</summary>
internal static class Tests
{
    public delegate bool Test(object? value, Arguments arguments, Budget budget);

    public static readonly FrozenDictionary<string, Test> All = Build();

    private static FrozenDictionary<string, Test> Build()
    {
        var tests = new Dictionary<string, Test>
        {
            ["defined"] = (v, _, _) => v is not Undefined,
            ["undefined"] = (v, _, _) => v is Undefined,
            ["none"] = (v, _, _) => v is null,
            ["boolean"] = (v, _, _) => v is bool,
            ["true"] = (v, _, _) => v is true,
            ["false"] = (v, _, _) => v is false,
            ["integer"] = (v, _, _) => v is long,
            ["float"] = (v, _, _) => v is double,
            ["number"] = (v, _, _) => v is long or double or bool,
            ["string"] = (v, _, _) => v is MarkedText,
            ["mapping"] = (v, _, _) => v is Mapping,
            ["sequence"] = (v, _, _) => v is MarkedText or Sequence or Mapping or Undefined,
            ["iterable"] = (v, _, _) => v is MarkedText or Sequence or Mapping or Undefined,
            ["callable"] = (v, _, _) => v is Function,
            ["odd"] = (v, _, _) => Strings.Integer(v) % 2 != 0,
            ["even"] = (v, _, _) => Strings.Integer(v) % 2 == 0,
            ["divisibleby"] = (v, a, _) => Operators.Modulo(Strings.Integer(v), Strings.Integer(a.Require(0, "num"))) == 0,
            ["lower"] = (v, _, b) => Text.Of(v, b).Value is var s && s.Any(char.IsLower) && !s.Any(char.IsUpper),
            ["upper"] = (v, _, b) => Text.Of(v, b).Value is var s && s.Any(char.IsUpper) && !s.Any(char.IsLower),
            ["in"] = (v, a, b) => Values.Contains(a.Require(0, "seq"), v, b),
            ["sameas"] = (v, a, b) => a.Require(0, "other") is var other
                && (v is null or bool ? Equals(v, other) : ReferenceEquals(v, other)),
            ["eq"] = (v, a, b) => Values.AreEqual(v, a.Require(0, "b"), b),
            ["ne"] = (v, a, b) => !Values.AreEqual(v, a.Require(0, "b"), b),
            ["lt"] = (v, a, b) => Values.Compare(v, a.Require(0, "b"), b) < 0,
            ["le"] = (v, a, b) => Values.Compare(v, a.Require(0, "b"), b) <= 0,
            ["gt"] = (v, a, b) => Values.Compare(v, a.Require(0, "b"), b) > 0,
            ["ge"] = (v, a, b) => Values.Compare(v, a.Require(0, "b"), b) >= 0,
        };
        foreach (var (alias, name) in new[]
        {
            ("equalto", "eq"), ("==", "eq"), ("!=", "ne"), ("<", "lt"), ("<=", "le"), (">", "gt"), (">=", "ge"),
            ("lessthan", "lt"), ("greaterthan", "gt"),
        })
            tests[alias] = tests[name];
        return tests.ToFrozenDictionary(StringComparer.Ordinal);
    }
}
