using System.CommandLine;
using Ergon.Native;

namespace Ergon.Cli.Commands;

/// <summary><c>ergon natives</c>: the native libraries, and the GPU backends added to them.</summary>
internal static class NativesCommand
{
    public static Verb Create(Terminal terminal)
    {
        var flavour = new Argument<string>("FLAVOUR") { Description = "vulkan or cuda" };
        var json = Settings.Json();
        int List(ParseResult parsed) => Print(terminal, parsed.GetValue(json));

        return new Verb("natives", "Show, add and remove native libraries for GPUs",
            "ergon natives", "ergon natives add vulkan", "ergon natives remove vulkan")
        {
            json,
            new Verb("list", "Show the native libraries in use and the flavours that can be added", "ergon natives list") { json }.Does(List),
            new Verb("add", "Fetch a flavour with npm, at the pinned version", "ergon natives add vulkan") { flavour }.Does(async (parsed, cancellation) =>
            {
                var name = parsed.GetValue(flavour)!;
                var flavours = NativeFlavours.OfUser();
                terminal.Error.WriteLine($"Fetching '{name}' {NativeVersion.Package} with npm ...");
                await flavours.AddAsync(name, cancellation);
                terminal.Out.WriteLine($"{name} is in {flavours.FolderOf(name)}; 'ergon devices' shows what it finds.");
                return Exit.Ok;
            }),
            new Verb("remove", "Delete a flavour", "ergon natives remove vulkan") { flavour }.Does(parsed =>
            {
                var name = parsed.GetValue(flavour)!;
                terminal.Out.WriteLine(NativeFlavours.OfUser().Remove(name) ? $"{name} is gone." : $"{name} was not added.");
                return Exit.Ok;
            }),
        }.Does(List);
    }

    private static int Print(Terminal terminal, bool json)
    {
        var folder = NativeFolder.Resolve();
        var flavours = NativeFlavours.OfUser();
        var listed = flavours.Known.Select(name => new ListedFlavour(name, flavours.Added.Contains(name), flavours.Added.Contains(name) ? flavours.FolderOf(name) : null)).ToList();
        if (json)
        {
            CliJson.Write(terminal.Out, new NativeList(NativeVersion.LlamaCpp, NativeVersion.Package, NativeFolder.Platform, folder, listed));
            return Exit.Ok;
        }
        terminal.Out.WriteLine($"llama.cpp {NativeVersion.LlamaCpp} for {NativeFolder.Platform}: {folder}");
        Columns.Write(terminal.Out, [.. listed.Select(f => new[] { f.Name, f.Folder ?? $"not added (ergon natives add {f.Name})" })]);
        return Exit.Ok;
    }
}
