using System.Buffers;

namespace Ergon.Models.Store;

/// <summary>
/// The models of this user: those pulled into a cache folder, and those shipped with Ergon.
/// Nothing is fetched unless <see cref="PullAsync"/> is called.
/// </summary>
/// <param name="root">The cache folder: <c>owner/repo/file.gguf</c> or <c>host/path/file.gguf</c>.</param>
/// <param name="embedded">The folder of the shipped models.</param>
/// <param name="endpoint">The Hugging Face Hub, or a mirror.</param>
/// <param name="token">For the endpoint alone; or null.</param>
/// <param name="time">Spaces attempts on a broken connection.</param>
internal sealed class ModelStore(string root, string embedded, Uri endpoint, string? token, TimeProvider time)
{
    /// <summary>The model used when none is named.</summary>
    public const string DefaultModel = "words-l";

    // The bare name of a shipped model means the one at full precision.
    private const string FullPrecision = "-f16";

    private static readonly SearchValues<char> Unsafe = SearchValues.Create("\\:*?\"<>|\0");

    /// <summary>The cache folder.</summary>
    public string Root => root;

    /// <summary>The store that the environment describes: ERGON_MODELS, XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN.</summary>
    public static ModelStore OfUser()
    {
        var endpoint = Variable("HF_ENDPOINT") ?? "https://huggingface.co";
        if (!Uri.TryCreate(endpoint.TrimEnd('/') + "/", UriKind.Absolute, out var address) || address.Scheme is not ("https" or "http"))
            throw new ErgonException($"HF_ENDPOINT is '{endpoint}', which is not an http or https address.");
        var root = Variable("ERGON_MODELS") ?? UserFolder.Cache("models");
        return new ModelStore(Path.GetFullPath(root), Path.Combine(AppContext.BaseDirectory, "models"), address, Variable("HF_TOKEN"), TimeProvider.System);
    }

    /// <summary>The shipped models, then the pulled ones, complete or not, by name.</summary>
    public IReadOnlyList<StoredModel> List() => [.. Files(embedded, shipped: true), .. Files(root, shipped: false)];

    /// <summary>The file that a MODEL argument means: a path, a shipped model, a pulled one or an unambiguous start of its name.</summary>
    /// <exception cref="ErgonException">There is none, or several.</exception>
    public string Resolve(string model)
    {
        if (File.Exists(model))
            return Path.GetFullPath(model);
        var complete = List().Where(m => m.IsComplete).ToList();
        if (ModelSource.Looks(model))
            return Pulled(ModelSource.Parse(model), complete);
        if (Directory.Exists(model) && !complete.Exists(m => m.IsNamed(model)))
            throw new ErgonException($"'{model}' is a folder; name the .gguf file in it.");
        return Find(model, complete)?.Path
            ?? throw new ErgonException($"There is no model file or pulled model '{model}'; 'ergon list' shows the models here, 'ergon pull' fetches one.");
    }

    /// <summary>Deletes a pulled model, or what is there of one.</summary>
    /// <exception cref="ErgonException">There is none, several, or it is shipped with Ergon.</exception>
    public StoredModel Remove(string model)
    {
        var found = Find(model, List())
            ?? throw new ErgonException($"There is no pulled model '{model}'; 'ergon list' shows them.");
        if (found.IsShipped)
            throw new ErgonException($"The model '{model}' comes with Ergon; only pulled models can be removed.");
        foreach (var file in Quantization.SplitsOf(found.Path))
        {
            foreach (var path in (string[])[file, file + ".part", Download.SidecarOf(file)])
                File.Delete(path);
        }
        for (var folder = Path.GetDirectoryName(found.Path)!; folder.Length > root.Length && !Directory.EnumerateFileSystemEntries(folder).Any(); folder = Path.GetDirectoryName(folder)!)
            Directory.Delete(folder);
        return found;
    }

    /// <summary>Fetches a model; goes on where an earlier call was stopped.</summary>
    /// <param name="source"><c>https://host/file.gguf</c> or <c>hf:owner/repo[:QUANT]</c>.</param>
    /// <param name="progress">Is told often.</param>
    /// <param name="cancellationToken">Stops; what has arrived stays for a later call.</param>
    /// <exception cref="ErgonException">Anything that stands in the way, with the remedy.</exception>
    public async Task<PulledModel> PullAsync(string source, IProgress<PullProgress>? progress, CancellationToken cancellationToken)
    {
        var parsed = ModelSource.Parse(source);
        using var http = new ModelHttp(endpoint, token);
        var files = parsed switch
        {
            ModelSource.HuggingFace hub => await new HuggingFace(http, endpoint).FindAsync(hub, cancellationToken),
            ModelSource.Url url => [.. Quantization.SplitsOf(url.Address.AbsolutePath).Select(path => new RemoteFile(new UriBuilder(url.Address) { Path = path }.Uri, PathOf(url.Address, path)))],
            _ => throw new NotSupportedException(),
        };

        var fetched = false;
        try
        {
            for (var i = 0; i < files.Count; i++)
            {
                var number = i + 1;
                var name = Path.GetFileName(files[i].RelativePath);
                fetched |= await new Download(http, files[i], Locate(files[i].RelativePath), time).RunAsync(
                    (received, total) => progress?.Report(new PullProgress(name, number, files.Count, received, total ?? files[number - 1].Size)), cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UnavailableException($"Cannot write to the model folder '{root}': {e.Message}", e);
        }
        var target = Locate(files[0].RelativePath);
        return new PulledModel(List().First(m => m.Path == target), !fetched);
    }

    // An empty variable counts as unset, as it does to shells.
    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private string Pulled(ModelSource source, List<StoredModel> complete)
    {
        var here = source switch
        {
            ModelSource.Url url => [Locate(PathOf(url.Address, url.Address.AbsolutePath))],
            ModelSource.HuggingFace hub => complete.FindAll(m => m.FullName.StartsWith(hub.Repository + "/", StringComparison.Ordinal)).ConvertAll(m => m.Path),
            _ => [],
        };
        here.RemoveAll(path => !File.Exists(path));
        if (here.Count == 0)
            throw new ErgonException($"The model {source} is not here yet; run: ergon pull {source}");
        return source is ModelSource.HuggingFace { Repository: var repository, Quantization: var wanted }
            ? Quantization.Choose(here, wanted, repository)
            : here[0];
    }

    private static StoredModel? Find(string name, IReadOnlyList<StoredModel> models)
    {
        var found = models.Where(m => m.IsNamed(name)).ToList();
        if (found.Count == 0)
            found = [.. models.Where(m => m.StartsWith(name))];
        return found.Count <= 1
            ? found.FirstOrDefault()
            : throw new ErgonException($"'{name}' may mean {string.Join(", ", found.Select(m => m.FullName))}; write more of the name.");
    }

    private static IEnumerable<StoredModel> Files(string folder, bool shipped)
    {
        if (!Directory.Exists(folder))
            return [];
        return Directory.EnumerateFiles(folder, "*.gguf*", SearchOption.AllDirectories)
            .Select(path => path.EndsWith(".part", StringComparison.Ordinal) ? path[..^".part".Length] : path)
            .Where(path => path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            .GroupBy(path => Quantization.SplitsOf(path)[0], StringComparer.Ordinal)
            .Select(model => Describe(folder, model.Key, shipped))
            .OrderBy(model => model.Name, StringComparer.OrdinalIgnoreCase);
    }

    private static StoredModel Describe(string folder, string path, bool shipped)
    {
        var files = Quantization.SplitsOf(path);
        var name = Quantization.NameOf(path);
        var parent = Path.GetRelativePath(folder, Path.GetDirectoryName(path)!).Replace('\\', '/');
        if (shipped && name.EndsWith(FullPrecision, StringComparison.Ordinal))
            name = name[..^FullPrecision.Length];
        return new StoredModel(
            name, parent == "." ? name : $"{parent}/{name}", path,
            files.Sum(file => File.Exists(file) ? new FileInfo(file).Length : File.Exists(file + ".part") ? new FileInfo(file + ".part").Length : 0),
            files.All(File.Exists), shipped, Download.ReadSidecar(path));
    }

    private static string PathOf(Uri address, string path) =>
        address.Authority.Replace(':', '_') + Uri.UnescapeDataString(path);

    // The path comes from a server: it must not leave the folder.
    private string Locate(string relative)
    {
        var segments = relative.Split('/', StringSplitOptions.RemoveEmptyEntries);
        return !Array.Exists(segments, s => s is "." or ".." || s.AsSpan().ContainsAny(Unsafe))
            ? Path.Combine([root, .. segments])
            : throw new ErgonException($"'{relative}' is not a safe file name to store a model under.");
    }
}
