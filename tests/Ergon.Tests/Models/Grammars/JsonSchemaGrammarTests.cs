using System.Globalization;
using System.Text.Json;
using Ergon.Models.Grammars;

namespace Ergon.Tests.Models.Grammars;

public class JsonSchemaGrammarTests
{
    private static GbnfMatcher Grammar(string schema) => new(JsonSchemaGrammar.FromSchema(JsonElement.Parse(schema)));

    // A schema, documents that it admits, documents that it refuses.
    public static TheoryData<string, string[], string[]> Schemas() => new()
    {
        { "true", ["1", "{}", "[1, null]", "\"a\""], ["", "x", "1 1"] },
        { """{"type":"object"}""", ["{}", """{"a": 1, "b": {"c": []}}"""], ["[]", "1", "{"] },
        { """{"type":"boolean"}""", ["true", "false"], ["null", "1", "\"true\""] },
        { """{"type":"null"}""", ["null"], ["0"] },
        { """{"type":"string"}""", ["\"\"", "\"a\\n\\u00e9é😀\""], ["\"", "\"\n\"", "\"\\x\"", "a"] },
        { """{"type":"integer"}""", ["0", "-1", "42"], ["01", "1.0", "+1", "1e3"] },
        { """{"type":"number"}""", ["0", "-1.5", "1e10", "2.5E-3"], [".5", "1.", "01"] },
        { """{"type":["integer","null"],"minimum":5}""", ["5", "null"], ["4", "\"5\""] },
        { """{"type":"string","nullable":true}""", ["null", "\"\""], ["1"] },
        { """{"properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"]}""",
            ["""{"a": 1}""", """{"a":1,"b":"x"}""", "{\"a\": 1\n}"], ["{}", """{"b":"x"}""", """{"b":"x","a":1}""", """{"a":1,"c":2}""", """{"a":1,}"""] },
        { """{"properties":{"a":true,"b":true,"c":true}}""",
            ["{}", """{"a":1}""", """{"b":1}""", """{"c":1}""", """{"a":1,"c":1}""", """{"b":1,"c":1}""", """{"a":1,"b":2,"c":3}"""], ["""{"c":1,"a":1}""", """{,"a":1}""", """{"a":1 "b":1}"""] },
        { """{"properties":{"a":true,"b":true},"required":["b"]}""", ["""{"b":1}""", """{"a":1,"b":1}"""], ["{}", """{"a":1}"""] },
        { """{"properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"boolean"}}""",
            ["{}", """{"ab":1}""", """{"x":true}""", """{"ab":1,"a":true,"abc":false}"""], ["""{"x":1}""", """{"ab":true}""", """{"x":true,"ab":true}""", """{"ab":1,"ab":true}"""] },
        { """{"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2}""",
            ["""{"a":1}""", """{"a":1,"b":2}"""], ["{}", """{"a":1,"b":2,"c":3}""", """{"a":"1"}"""] },
        { """{"type":"object","additionalProperties":false}""", ["{}", "{ }"], ["""{"a":1}"""] },
        { """{"type":"object","required":["a"]}""", ["""{"a":1}""", """{"a":1,"b":2}"""], ["{}"] },
        { """{"type":"array"}""", ["[]", "[1, \"a\"]"], ["{}", "[1,]"] },
        { """{"items":{"type":"integer"},"minItems":1,"maxItems":3}""", ["[1]", "[1, 2, 3]"], ["[]", "[1,2,3,4]", "[\"a\"]"] },
        { """{"items":{"type":"integer"},"maxItems":1}""", ["[]", "[1]"], ["[1,2]"] },
        { """{"type":"array","maxItems":0}""", ["[]"], ["[1]"] },
        { """{"type":"array","minItems":2}""", ["[1,2]", "[1,2,3]"], ["[1]", "[]"] },
        { """{"prefixItems":[{"type":"integer"},{"type":"string"}]}""", ["[]", "[1]", "[1,\"a\"]"], ["[\"a\"]", "[1,\"a\",2]"] },
        { """{"prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"boolean"},"minItems":2}""", ["[1,\"a\"]", "[1,\"a\",true,false]"], ["[1]", "[1,\"a\",2]"] },
        { """{"prefixItems":[{"type":"integer"}],"items":{"type":"boolean"},"minItems":3,"maxItems":3}""", ["[1,true,true]"], ["[1,true]", "[1,true,true,true]"] },
        { """{"prefixItems":[{"type":"integer"}],"items":{"type":"boolean"}}""", ["[]", "[1]", "[1,true]"], ["[true]", "[,true]"] },
        { """{"enum":["a","b c",1,null,{"x":[1]}]}""", ["\"a\"", "\"b c\"", "1", "null", """{"x": [1]}"""], ["\"c\"", "2"] },
        { """{"enum":["a",1],"type":"string"}""", ["\"a\""], ["1"] },
        { """{"const":"say \"hi\"\n"}""", ["\"say \\\"hi\\\"\\n\""], ["\"say\""] },
        { """{"anyOf":[{"type":"integer"},{"type":"boolean"}]}""", ["1", "true"], ["\"a\""] },
        { """{"type":"object","properties":{"k":{"type":"string"}},"required":["k"],"oneOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"integer"}},"required":["b"]}]}""",
            ["""{"k":"x","a":1}""", """{"k":"x","b":1}"""], ["""{"k":"x"}""", """{"a":1}"""] },
        { """{"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"$ref":"#/$defs/b"}],"$defs":{"b":{"properties":{"b":{"type":"null"}}}}}""",
            ["""{"a":1}""", """{"a":1,"b":null}"""], ["""{"b":null}"""] },
        { """{"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/node"}""",
            ["""{"v":1,"next":null}""", """{"v":1,"next":{"v":2,"next":null}}"""], ["""{"v":1}""", """{"v":1,"next":{"v":2}}"""] },
        { """{"properties":{"kids":{"items":{"$ref":"#"}}}}""", ["{}", """{"kids":[{},{"kids":[]}]}"""], ["""{"kids":[1]}"""] },
        { """{"type":"string","minLength":2,"maxLength":3}""", ["\"ab\"", "\"abc\""], ["\"a\"", "\"abcd\""] },
        { """{"type":"string","maxLength":0}""", ["\"\""], ["\"a\""] },
        { """{"pattern":"^[a-c]+\\d{2}(x|yz)?$"}""", ["\"a12\"", "\"abc99yz\""], ["\"d12\"", "\"a1\"", "\"a12y\""] },
        { """{"pattern":"b.d"}""", ["\"bcd\"", "\"abcde\""], ["\"bd\""] },
        { """{"pattern":"^\\(\\d{3}\\)-[^x\\]-]\"\\\\$"}""", ["\"(123)-a\\\"\\\\\""], ["\"(123)-x\\\"\\\\\"", "\"(123)--\\\"\\\\\""] },
        { """{"format":"date"}""", ["\"2026-03-07\""], ["\"2026-13-07\"", "\"26-03-07\""] },
        { """{"format":"date-time"}""", ["\"2026-03-07T09:05:02Z\"", "\"2026-03-07T09:05:02.5+01:00\""], ["\"2026-03-07\"", "\"2026-03-07T25:00:00Z\""] },
        { """{"format":"time"}""", ["\"09:05:02Z\""], ["\"9:05:02Z\""] },
        { """{"format":"uuid"}""", ["\"123e4567-e89b-12d3-a456-426614174000\""], ["\"123e4567\""] },
        { """{"type":"number","minimum":0,"maximum":10}""", ["0", "9.99", "10", "10.0", "0.5"], ["10.1", "-1", "11", "-0.5"] },
        { """{"type":"number","minimum":-2,"maximum":-1}""", ["-1", "-1.5", "-2", "-2.0"], ["-0.5", "-2.1", "1"] },
        { """{"type":"integer","multipleOf":1,"exclusiveMinimum":0}""", ["1", "99"], ["0", "-1"] },
        { """{"title":"t","description":"d","default":1,"examples":[1],"$schema":"s","$id":"i","$comment":"c","type":"integer"}""", ["1"], ["\"1\""] },
    };

    [Theory]
    [MemberData(nameof(Schemas))]
    public void The_grammar_admits_what_the_schema_admits_and_refuses_the_rest(string schema, string[] admitted, string[] refused)
    {
        var grammar = Grammar(schema);
        Assert.All(admitted, document => Assert.True(grammar.Matches(document), document));
        Assert.All(refused, document => Assert.False(grammar.Matches(document), document));
    }

    [Fact]
    public void An_integer_range_admits_exactly_its_integers()
    {
        var random = new Random(7);
        for (var i = 0; i < 60; i++)
        {
            var (a, b) = (random.Next(-1200, 1200), random.Next(-1200, 1200));
            var (least, most) = (Math.Min(a, b), Math.Max(a, b));
            var bounds = (i % 3) switch { 0 => $"\"minimum\":{least}", 1 => $"\"maximum\":{most}", _ => $"\"minimum\":{least},\"maximum\":{most}" };
            var grammar = Grammar($$"""{"type":"integer",{{bounds}}}""");
            for (var n = -1300; n <= 1300; n++)
                Assert.True(grammar.Matches(n.ToString(CultureInfo.InvariantCulture)) == ((i % 3 == 1 || n >= least) && (i % 3 == 0 || n <= most)), $"{n} in {bounds}");
        }
    }

    [Theory]
    [InlineData("""{"type":"array","items":{"type":"string","contentEncoding":"base64"}}""", "/items/contentEncoding")]
    [InlineData("""{"type":"object","patternProperties":{}}""", "/patternProperties")]
    [InlineData("""{"properties":{"a/b":{"not":{}}}}""", "/properties/a~1b/not")]
    [InlineData("""{"type":"array","uniqueItems":true}""", "/uniqueItems")]
    [InlineData("""{"type":"number","exclusiveMinimum":0}""", "/exclusiveMinimum")]
    [InlineData("""{"type":"string","format":"email"}""", "/format")]
    [InlineData("""{"type":"string","pattern":"(?=a)b"}""", "/pattern")]
    [InlineData("""{"type":"string","maxLength":100000}""", "/maxLength")]
    [InlineData("""{"$ref":"https://example.com/x"}""", "/$ref")]
    [InlineData("""{"$ref":"#/$defs/none"}""", "/$ref")]
    [InlineData("""{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}""", "/$defs/a")]
    [InlineData("""{"anyOf":[{"type":"null"},{"$ref":"#"}]}""", "/anyOf/1")]
    [InlineData("""{"anyOf":[null]}""", "/anyOf/0")]
    [InlineData("""{"$ref":null}""", "")]
    [InlineData("""{"type":[null]}""", "")]
    [InlineData("""{"enum":null}""", "/enum")]
    [InlineData("""{"type":"object","required":[null],"properties":null}""", "")]
    [InlineData("""{"type":"objekt"}""", "/type")]
    [InlineData("""{"type":"object","properties":{},"additionalProperties":false,"required":["x"]}""", "/required")]
    [InlineData("""{"type":"integer","minimum":5,"maximum":4}""", "")]
    [InlineData("""{"allOf":[{"$ref":"#"}]}""", "")]
    [InlineData("""{"type":5}""", "")]
    [InlineData("5", "")]
    public void What_has_no_grammar_is_refused_by_its_place(string schema, string location) =>
        Assert.StartsWith(location, Assert.Throws<JsonSchemaException>(() => JsonSchemaGrammar.FromSchema(JsonElement.Parse(schema))).Location, StringComparison.Ordinal);

    [Fact]
    public void Any_object_is_an_object()
    {
        var grammar = new GbnfMatcher(JsonGrammar.Any);
        Assert.True(grammar.Matches("""{"a": [1, {"b": null}]}"""));
        Assert.False(grammar.Matches("[1]"));
    }
}
