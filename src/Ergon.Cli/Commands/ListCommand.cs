using Ergon.Models.Store;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon list</c>: the models on this machine.</summary>
internal static class ListCommand
{
    public static Verb Create(Terminal terminal)
    {
        var json = Settings.Json();
        return new Verb("list", "List the embedded and the pulled models", "ergon list", "ergon list --json") { json }.Does(parsed =>
        {
            var models = ModelStore.OfUser().List();
            if (parsed.GetValue(json))
            {
                CliJson.Write(terminal.Out, new ModelList([.. models.Select(m => new ListedModel(
                    m.Name, m.FullName, m.Path, m.Size, m.IsComplete, m.IsShipped, m.Provenance?.Source, m.Provenance?.Sha256))]));
                return Exit.Ok;
            }
            Columns.Write(terminal.Out, [["NAME", "SIZE", "FROM"], .. models.Select(m => new[]
            {
                m.Name,
                Amount.Bytes(m.Size),
                (m.IsShipped ? "embedded" : m.Provenance?.Source ?? m.Path) + (m.IsComplete ? "" : " (incomplete: pull it again to go on)"),
            })]);
            return Exit.Ok;
        });
    }
}
