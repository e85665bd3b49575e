namespace Ergon.Cli;

/// <summary>This executable, for child processes of it.</summary>
internal static class Self
{
    /// <summary>The program and its first arguments.</summary>
    public static string[] Command() => Environment.ProcessPath is { } self && Path.GetFileNameWithoutExtension(self) != "dotnet" && Path.GetFileNameWithoutExtension(self) != "testhost"
        ? [self] : ["dotnet", Path.Combine(AppContext.BaseDirectory, "Ergon.Cli.dll")];
}
