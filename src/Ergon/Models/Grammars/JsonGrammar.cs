namespace Ergon.Models.Grammars;

/// <summary>GBNF for JSON without a schema; root of what <see cref="JsonSchemaGrammar"/> writes.</summary>
public static class JsonGrammar
{
    // Bounded white space: a model that may indent without end does.
    internal const string Common = """
        ws ::= | " " | "\n" [ \t]{0,20}
        value ::= object | array | string | number | boolean | null
        object ::= "{" ws ( pair ( "," ws pair )* )? "}" ws
        pair ::= string ":" ws value
        array ::= "[" ws ( value ( "," ws value )* )? "]" ws
        char ::= [^"\\\x7F\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} )
        string ::= "\"" char* "\"" ws
        natural ::= "0" | [1-9] [0-9]{0,15}
        integer ::= "-"? natural ws
        number ::= "-"? natural ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,3} )? ws
        boolean ::= ( "true" | "false" ) ws
        null ::= "null" ws

        """;

    /// <summary>Any JSON object; the root rule is <c>root</c>.</summary>
    public static string Any { get; } = Common + "root ::= object\n";
}
