using System.CommandLine;
using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon rm</c>: deletes a pulled model.</summary>
internal static class RemoveCommand
{
    public static Verb Create(Terminal terminal)
    {
        var model = new Argument<string>("MODEL") { Description = "The name of a pulled model, or a start of it that only one has" };
        return new Verb("rm", "Delete a pulled model", "ergon rm Llama-3.2-1B-Instruct-Q4_K_M") { model }.Does(parsed =>
        {
            var removed = ModelStore.OfUser().Remove(parsed.GetValue(model)!);
            terminal.Out.WriteLine($"{removed.FullName} is gone; {Amount.Bytes(removed.Size)} are free again.");
            return Exit.Ok;
        });
    }
}
