using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;

namespace Ergon.Models.Store;

/// <summary>
/// Fetches one file: into <c>FILE.part</c>, which a later call continues, then under its own name once it is
/// complete and its hash is right. Two calls for one file do not mix: the second is refused.
/// </summary>
internal sealed class Download(ModelHttp http, RemoteFile file, string target, TimeProvider time)
{
    private const int IdleAttempts = 3;
    private static readonly TimeSpan StallLimit = TimeSpan.FromSeconds(60);

    private readonly string _partPath = target + ".part";
    private readonly string _sidecarPath = SidecarOf(target);

    /// <summary>The file beside a model that tells where it came from.</summary>
    public static string SidecarOf(string target) => target + ".json";

    /// <summary>Reads a model's sidecar; null when there is none that can be read.</summary>
    public static Provenance? ReadSidecar(string target)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(SidecarOf(target)), StoreJson.Default.Provenance);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Fetches the file, or finds that it is there already.</summary>
    /// <param name="progress">Receives bytes present and bytes in all (null when the server does not tell).</param>
    /// <param name="cancellationToken">Stops; the part stays for a later call.</param>
    /// <returns>False when the file was there already.</returns>
    public async Task<bool> RunAsync(Action<long, long?> progress, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        using var part = OpenPart();
        try
        {
            return await PersistAsync(part, progress, cancellationToken);
        }
        finally
        {
            // Of a file that never began to arrive nothing should stay.
            if (new FileInfo(_partPath) is { Exists: true, Length: 0 })
                File.Delete(_partPath);
        }
    }

    private async Task<bool> PersistAsync(FileStream part, Action<long, long?> progress, CancellationToken cancellationToken)
    {
        for (var idle = 0; ;)
        {
            var before = part.Length;
            try
            {
                return await AttemptAsync(part, progress, cancellationToken);
            }
            catch (BrokenConnectionException e)
            {
                // A dropped connection is worth another try for as long as tries bring something.
                idle = part.Length > before ? 1 : idle + 1;
                if (idle >= IdleAttempts)
                    throw new UnavailableException($"The connection to {file.Address.Authority} broke after {part.Length} bytes; run the same command to go on from there.", e);
                await Task.Delay(TimeSpan.FromSeconds(idle), time, cancellationToken);
            }
        }
    }

    private FileStream OpenPart()
    {
        try
        {
            // On every platform, None also locks against other processes.
            return new FileStream(_partPath, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0, FileOptions.Asynchronous);
        }
        catch (IOException e)
        {
            throw new UnavailableException($"'{_partPath}' is in use: another pull of this model is running; wait for it.", e);
        }
    }

    private async Task<bool> AttemptAsync(FileStream part, Action<long, long?> progress, CancellationToken cancellationToken)
    {
        var source = ModelHttp.Shown(file.Address);
        var known = ReadSidecar(target);
        // Only a strong validator says that the rest belongs to the same bytes.
        var validator = known?.Source == source && known.ETag is { } tag && !tag.StartsWith("W/", StringComparison.Ordinal) ? tag : null;
        var start = validator is not null && !File.Exists(target) ? part.Length : 0;

        using var answer = await http.GetAsync(file.Address, headers =>
        {
            if (start == 0)
                return;
            headers.Range = new RangeHeaderValue(start, null);
            headers.IfRange = new RangeConditionHeaderValue(new EntityTagHeaderValue(validator!));
        }, cancellationToken);

        var response = answer.Response;
        var expected = file.Sha256 ?? answer.Sha256;
        var range = response.Content.Headers.ContentRange;
        var complete = false;
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            complete = start > 0 && range?.Length == start;
            if (!complete)
            {
                part.SetLength(0);
                throw new BrokenConnectionException("The part is longer than the file.");
            }
        }
        else if (response.StatusCode != HttpStatusCode.PartialContent || range?.From != start)
        {
            if (response.StatusCode == HttpStatusCode.PartialContent)
                throw new ErgonException($"{file.Address.Authority} sent another range than was asked for; it cannot be pulled from.");
            start = 0;
        }

        var etag = response.Headers.ETag?.ToString();
        var total = complete ? start : start + response.Content.Headers.ContentLength;
        if (File.Exists(target) && new FileInfo(target).Length == total && IsSame(known, expected, etag))
        {
            File.Delete(_partPath);
            return false;
        }

        RequireSpace(total - start);
        part.SetLength(start);
        if (!complete)
            WriteSidecar(new Provenance(source, etag, Sha256: null));

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await HashAsync(part, hash, cancellationToken);
        if (!complete)
        {
            await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
            await CopyAsync(body, part, hash, total, progress, cancellationToken);
        }
        Finish(part, Convert.ToHexStringLower(hash.GetHashAndReset()), expected, new Provenance(source, etag ?? known?.ETag, Sha256: null));
        return true;
    }

    private static bool IsSame(Provenance? known, string? expected, string? etag) =>
        known?.Sha256 is { } sha256 && (expected is not null ? sha256 == expected : etag is not null && known.ETag == etag);

    private static async Task HashAsync(FileStream part, IncrementalHash hash, CancellationToken cancellationToken)
    {
        part.Position = 0;
        var buffer = new byte[1 << 20];
        for (int read; (read = await part.ReadAsync(buffer, cancellationToken)) > 0;)
            hash.AppendData(buffer, 0, read);
    }

    private async Task CopyAsync(Stream body, FileStream part, IncrementalHash hash, long? total, Action<long, long?> progress, CancellationToken cancellationToken)
    {
        var buffer = new byte[1 << 20];
        while (true)
        {
            using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            stall.CancelAfter(StallLimit);
            int read;
            try
            {
                read = await body.ReadAsync(buffer, stall.Token);
            }
            catch (Exception e) when (e is IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
            {
                throw new BrokenConnectionException("The server went silent or hung up.", e);
            }
            if (read == 0)
                return;
            // A login page or an error in place of a model shows in its first bytes.
            if (part.Position == 0 && !buffer.AsSpan(0, Math.Min(read, 4)).SequenceEqual("GGUF"u8[..Math.Min(read, 4)]))
                throw new ErgonException($"{ModelHttp.Shown(file.Address)} is not a GGUF model file.");
            await part.WriteAsync(buffer.AsMemory(0, read), CancellationToken.None);
            hash.AppendData(buffer, 0, read);
            progress(part.Position, total);
        }
    }

    private void Finish(FileStream part, string sha256, string? expected, Provenance provenance)
    {
        if (expected is not null && sha256 != expected)
        {
            File.Delete(_partPath);
            throw new UnavailableException($"{ModelHttp.Shown(file.Address)} arrived damaged: its sha256 is {sha256}, not {expected}; it was deleted, pull it again.");
        }
        part.Flush(flushToDisk: true);
        // Renamed under the lock where the system allows it, so that no other pull can open the part in between.
        if (OperatingSystem.IsWindows())
            part.Dispose();
        File.Move(_partPath, target, overwrite: true);
        WriteSidecar(provenance with { Sha256 = sha256 });
    }

    private void RequireSpace(long? needed)
    {
        var free = new DriveInfo(Path.GetDirectoryName(target)!).AvailableFreeSpace;
        if (needed > free)
            throw new UnavailableException($"'{Path.GetFileName(target)}' needs {needed} more bytes and the disk of '{Path.GetDirectoryName(target)}' has {free}; free some, or set ERGON_MODELS to a folder on another disk.");
    }

    private void WriteSidecar(Provenance provenance) =>
        File.WriteAllText(_sidecarPath, JsonSerializer.Serialize(provenance, StoreJson.Default.Provenance));

    // Apart from the I/O errors of the disk, which no further attempt mends.
    private sealed class BrokenConnectionException(string message, Exception? cause = null) : Exception(message, cause);
}
