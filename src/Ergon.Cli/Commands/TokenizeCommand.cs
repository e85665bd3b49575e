using System.CommandLine;
using System.Globalization;
using Ergon.Models;
using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon tokenize</c>: the tokens of a text.</summary>
internal static class TokenizeCommand
{
    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "A path, a pulled or an embedded name; a file with only a vocabulary will do" };
        var text = new Argument<string?>("TEXT") { Description = "The text; - reads it from stdin", Arity = ArgumentArity.ZeroOrOne };
        var file = Settings.Text("--file", "FILE", "Read the text from a file");
        var noSpecial = new Option<bool>("--no-special") { Description = "Add no special tokens, and read their spellings as plain text" };
        var json = Settings.Json();
        return new Verb("tokenize", "Split a text into a model's tokens",
            "ergon tokenize words-l \"How many?\"", "ergon tokenize vocab.gguf --file book.txt --no-special --json")
        { model, text, file, noSpecial, json }.Does(parsed =>
        {
            var input = (parsed.GetValue(file), parsed.GetValue(text)) switch
            {
                (null, null) => throw new ErgonException("there is no text; give it in quotes, - to read it from stdin, or --file FILE."),
                ({ } path, null) => TextInput.ReadFile(path, "--file"),
                (null, "-") => terminal.In.ReadToEnd(),
                (null, { } given) => given,
                _ => throw new ErgonException("--file gives the text, and so does the command line; leave one out."),
            };
            var special = !parsed.GetValue(noSpecial);
            using var tokenizer = Tokenizer.Load(ModelStore.OfUser().Resolve(parsed.GetValue(model)!));
            var tokens = tokenizer.Tokenize(input, addSpecial: special, parseSpecial: special);
            if (parsed.GetValue(json))
                CliJson.Write(terminal.Out, new TokenList(tokens));
            else
                Columns.Write(terminal.Out, [.. tokens.Select(t => new[] { t.ToString(CultureInfo.InvariantCulture), Quoted(tokenizer.Piece(t, special: true)) })]);
            return Exit.Ok;
        });
    }

    private static string Quoted(string piece) =>
        "'" + piece.Replace("\n", "\\n", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal).Replace("\t", "\\t", StringComparison.Ordinal) + "'";
}
