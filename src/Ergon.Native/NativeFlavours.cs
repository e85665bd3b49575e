using System.ComponentModel;
using System.Diagnostics;

namespace Ergon.Native;

/// <summary>
/// GPU backends that a user adds on request (<c>ergon natives add vulkan</c>): fetched by npm, at the
/// version and hashes of <c>native/package-lock.json</c>, into a folder of the user's own.
/// </summary>
/// <param name="manifests">Folder with the pin: package.json, package-lock.json, one folder a flavour.</param>
/// <param name="root">Folder that receives one folder a flavour.</param>
internal sealed class NativeFlavours(string manifests, string root)
{
    // npm writes this last: present means complete.
    private const string Stamp = "node_modules/.package-lock.json";

    /// <summary>The flavours of the current user for the pinned version.</summary>
    public static NativeFlavours OfUser() => new(
        Path.Combine(AppContext.BaseDirectory, "natives"),
        Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify),
            "ergon", "natives", NativeVersion.Package));

    /// <summary>The flavours that can be added.</summary>
    public IReadOnlyList<string> Known { get; } = Directory.Exists(manifests)
        ? [.. Directory.EnumerateDirectories(manifests).Select(folder => Path.GetFileName(folder)!).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>The flavours that were added.</summary>
    public IReadOnlyList<string> Added => [.. Known.Where(flavour => File.Exists(Path.Combine(FolderOf(flavour), Stamp)))];

    /// <summary>The backend libraries of all added flavours, for ggml to load one by one.</summary>
    public IReadOnlyList<string> Backends => [.. Added.SelectMany(flavour => NativeFolder.BackendsIn(FolderOf(flavour)))];

    /// <summary>Where a flavour lies once it is added.</summary>
    public string FolderOf(string flavour) => Path.Combine(root, flavour);

    /// <summary>Fetches a flavour; one that is there already stays as it is.</summary>
    /// <exception cref="ErgonException">Unknown flavour, no npm, no network, or no package for this platform.</exception>
    public async Task AddAsync(string flavour, CancellationToken cancellationToken)
    {
        RequireKnown(flavour);
        if (Added.Contains(flavour))
            return;

        // Built aside and moved in one step: a folder under its own name is complete.
        var target = FolderOf(flavour);
        var part = $"{target}.{Environment.ProcessId}.part";
        try
        {
            CopyManifests(part);
            await RunNpmAsync(flavour, part, cancellationToken);
            if (Directory.Exists(target))
                Directory.Delete(target, recursive: true);
            Directory.Move(part, target);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UnavailableException($"Cannot write the native libraries to '{target}': {e.Message}", e);
        }
        finally
        {
            if (Directory.Exists(part))
                Directory.Delete(part, recursive: true);
        }
    }

    /// <summary>Deletes a flavour's libraries; false when it was not added.</summary>
    public bool Remove(string flavour)
    {
        RequireKnown(flavour);
        if (!Directory.Exists(FolderOf(flavour)))
            return false;
        Directory.Delete(FolderOf(flavour), recursive: true);
        return true;
    }

    private void RequireKnown(string flavour)
    {
        if (!Known.Contains(flavour))
            throw new ErgonException($"There is no native flavour '{flavour}'; known: {string.Join(", ", Known)}.");
    }

    private void CopyManifests(string folder)
    {
        foreach (var file in Directory.EnumerateFiles(manifests, "*.json", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(folder, Path.GetRelativePath(manifests, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy, overwrite: true);
        }
    }

    private static async Task RunNpmAsync(string flavour, string folder, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(OperatingSystem.IsWindows() ? "npm.cmd" : "npm")
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in (string[])["ci", "--workspace", flavour, "--include-workspace-root=false", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            start.ArgumentList.Add(argument);

        Process npm;
        try
        {
            npm = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new UnavailableException("npm was not found; it fetches native libraries: install Node.js 20 or newer (Debian: apt-get install npm).", e);
        }

        using (npm)
        {
            var output = npm.StandardOutput.ReadToEndAsync(cancellationToken);
            var errors = npm.StandardError.ReadToEndAsync(cancellationToken);
            try
            {
                await Task.WhenAll(output, errors);
                await npm.WaitForExitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                npm.Kill(entireProcessTree: true);
                await npm.WaitForExitAsync(CancellationToken.None);
                throw;
            }
            if (npm.ExitCode != 0)
                throw Failure(flavour, await errors);
        }
    }

    private static ErgonException Failure(string flavour, string errors)
    {
        if (errors.Contains("EBADPLATFORM", StringComparison.Ordinal))
            return new($"There is no prebuilt '{flavour}' for {NativeFolder.Platform}; build llama.cpp {NativeVersion.LlamaCpp} with it and set {NativeFolder.Variable}.");
        var reason = errors.Split('\n').FirstOrDefault(line =>
            line.StartsWith("npm error", StringComparison.Ordinal) && !line.StartsWith("npm error code", StringComparison.Ordinal));
        return new UnavailableException($"npm could not fetch '{flavour}': {reason?["npm error".Length..].Trim() ?? "it gave no reason"}; check the network and the registry that npm is set to.");
    }
}
