namespace Ergon.Models.Templates;

// The syntax tree. At: offset in the normalized source.
internal abstract record Node(int At);

internal abstract record Expression(int At) : Node(At);
internal sealed record Literal(int At, object? Value) : Expression(At);
internal sealed record Name(int At, string Id) : Expression(At);
internal sealed record ListOf(int At, Expression[] Items, bool IsTuple) : Expression(At);
internal sealed record MappingOf(int At, (Expression Key, Expression Value)[] Entries) : Expression(At);
internal sealed record Unary(int At, string Operator, Expression Operand) : Expression(At);
internal sealed record Binary(int At, string Operator, Expression Left, Expression Right) : Expression(At);
internal sealed record Logical(int At, bool IsAnd, Expression Left, Expression Right) : Expression(At);
internal sealed record Comparison(int At, Expression First, (string Operator, Expression Operand)[] Rest) : Expression(At);
internal sealed record Conditional(int At, Expression Test, Expression Then, Expression? Else) : Expression(At);
internal sealed record Member(int At, Expression Target, string Attribute) : Expression(At);
internal sealed record Element(int At, Expression Target, Expression Key) : Expression(At);
internal sealed record Slice(int At, Expression Target, Expression? Start, Expression? Stop, Expression? Step) : Expression(At);
internal sealed record Call(int At, Expression Target, ArgumentList Arguments) : Expression(At);
/// <summary>Without a target inside a filter block, whose body is the target.</summary>
internal sealed record Filtered(int At, Expression? Target, string Filter, ArgumentList Arguments) : Expression(At);
internal sealed record Tested(int At, Expression Target, string Test, ArgumentList Arguments) : Expression(At);

internal sealed record ArgumentList(Expression[] Positional, (string Name, Expression Value)[] Named)
{
    public static readonly ArgumentList None = new([], []);
}

internal abstract record Statement(int At) : Node(At);
internal sealed record Data(int At, MarkedText Text) : Statement(At);
internal sealed record Output(int At, Expression Value) : Statement(At);
internal sealed record If(int At, (Expression Test, Statement[] Body)[] Branches, Statement[] Else) : Statement(At);
internal sealed record For(int At, Expression Target, Expression Items, Expression? Filter, Statement[] Body, Statement[] Else) : Statement(At);
/// <summary>The target is a name, a tuple of names, or a namespace's attribute (<see cref="Member"/>).</summary>
internal sealed record Set(int At, Expression Target, Expression Value) : Statement(At);
internal sealed record SetBlock(int At, Expression Target, Filtered? Filter, Statement[] Body) : Statement(At);
internal sealed record FilterBlock(int At, Filtered Filter, Statement[] Body) : Statement(At);
internal sealed record Macro(int At, string Name, string[] Parameters, Expression?[] Defaults, Statement[] Body) : Statement(At);
/// <summary>A body with a scope of its own: <c>{% generation %}</c>, which marks training targets and prints as is.</summary>
internal sealed record Scoped(int At, Statement[] Body) : Statement(At);
internal sealed record Jump(int At, bool IsBreak) : Statement(At);
