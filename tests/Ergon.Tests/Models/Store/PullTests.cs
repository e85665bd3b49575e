using System.Security.Cryptography;
using System.Text;
using Ergon.Models.Store;

namespace Ergon.Tests.Models.Store;

public sealed class PullTests : IDisposable
{
    private const string Token = "hf_secret";

    private readonly string root = Directory.CreateTempSubdirectory("ergon-").FullName;
    private readonly byte[] content = [.. "GGUF"u8, .. Noise(300_000)];

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public async Task A_pulled_file_is_found_by_its_name_and_remembers_its_source_and_hash()
    {
        using var server = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\""));
        var store = Store(server);

        var pulled = await store.PullAsync($"{server.Address}dir/Tiny-Q8_0.gguf?secret=1", progress: null, default);

        Assert.False(pulled.WasPresent);
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("tiny")));
        Assert.Equal(new Provenance($"{server.Address}dir/Tiny-Q8_0.gguf", "\"v1\"", Sha256(content)), pulled.Model.Provenance);
        Assert.True((await store.PullAsync($"{server.Address}dir/Tiny-Q8_0.gguf", progress: null, default)).WasPresent);
    }

    [Fact]
    public async Task A_newer_file_under_the_same_address_replaces_the_old_one()
    {
        var version = 1;
        using var server = new LoopbackServer(r => LoopbackServer.File(r, version == 1 ? content : [.. content, 7], $"\"v{version}\""));
        var store = Store(server);
        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);

        version = 2;
        Assert.False((await store.PullAsync($"{server.Address}m.gguf", progress: null, default)).WasPresent);
        Assert.Equal(content.Length + 1, new FileInfo(store.Resolve("m")).Length);
    }

    [Fact]
    public async Task A_cancelled_pull_goes_on_where_it_stopped()
    {
        using var server = new LoopbackServer(r => r.Start == 0
            ? LoopbackServer.File(r, content, "\"v1\"") with { CutAfter = 100_000 }
            : LoopbackServer.File(r, content, "\"v1\""));
        using var cancel = new CancellationTokenSource();
        var store = Store(server);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() =>
            store.PullAsync($"{server.Address}m.gguf", new Now(p => cancel.Cancel()), cancel.Token));
        var partial = Assert.Single(store.List());
        Assert.False(partial.IsComplete);
        Assert.InRange(partial.Size, 1, 100_000);

        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);
        Assert.Equal($"bytes={partial.Size}-", server.Requests[^1]["Range"]);
        Assert.Equal("\"v1\"", server.Requests[^1]["If-Range"]);
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("m")));
    }

    [Fact]
    public async Task A_dropped_connection_is_taken_up_again_by_itself()
    {
        using var server = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\"") with
        {
            CutAfter = Math.Min(120_000, content.Length - r.Start),
        });
        var store = Store(server);
        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);

        Assert.Equal(3, server.Requests.Count);
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("m")));
    }

    [Fact]
    public async Task A_body_that_never_arrives_whole_is_an_error_that_keeps_the_part()
    {
        using var server = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\"") with { CutAfter = r.Start == 0 ? 1000 : 0 });
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server).PullAsync($"{server.Address}m.gguf", progress: null, default));

        Assert.Contains("run the same command to go on", error.Message, StringComparison.Ordinal);
        Assert.Equal(1000, Assert.Single(Store(server).List()).Size);
    }

    [Fact]
    public async Task A_file_that_changed_while_the_part_lay_here_starts_over()
    {
        byte[] newer = [.. "GGUF"u8, .. Noise(200_000, seed: 2)];
        var changed = false;
        using var server = new LoopbackServer(r => changed
            ? LoopbackServer.File(r, newer, "\"v2\"")
            : LoopbackServer.File(r, content, "\"v1\"") with { CutAfter = r.Start == 0 ? 1000 : 0 });
        var store = Store(server);
        await Assert.ThrowsAnyAsync<ErgonException>(() => store.PullAsync($"{server.Address}m.gguf", progress: null, default));

        changed = true;
        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);
        Assert.Equal(newer, File.ReadAllBytes(store.Resolve("m")));
    }

    [Fact]
    public async Task A_refused_range_starts_over()
    {
        var whole = false;
        using var server = new LoopbackServer(r => whole && r.Start > 0
            ? new LoopbackServer.Answer(416, [])
            : LoopbackServer.File(r, content, "\"v1\"") with { CutAfter = whole ? null : r.Start == 0 ? 1000 : 0 });
        var store = Store(server);
        await Assert.ThrowsAnyAsync<ErgonException>(() => store.PullAsync($"{server.Address}m.gguf", progress: null, default));

        whole = true;
        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("m")));
    }

    [Fact]
    public async Task A_part_that_was_complete_already_is_verified_and_kept()
    {
        using var server = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\""));
        var store = Store(server);
        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);
        File.Move(store.Resolve("m"), store.Resolve("m") + ".part");

        await store.PullAsync($"{server.Address}m.gguf", progress: null, default);
        Assert.Equal(416, LoopbackServer.File(server.Requests[^1], content, "\"v1\"").Status);
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("m")));
    }

    [Fact]
    public async Task A_repository_gives_the_wanted_quantization_whole_and_checked()
    {
        using var server = Hub(oid: Sha256(content));
        var store = Store(server);

        var pulled = await store.PullAsync("hf:owner/Tiny-GGUF:q8_0", progress: null, default);
        Assert.Equal("Tiny-Q8_0", pulled.Model.Name);
        Assert.Equal("owner/Tiny-GGUF/q8/Tiny-Q8_0", pulled.Model.FullName);
        Assert.Equal(content.Length * 2, pulled.Model.Size);
        Assert.Equal(pulled.Model.Path, store.Resolve("hf:owner/Tiny-GGUF"));
        Assert.EndsWith("-00001-of-00002.gguf", pulled.Model.Path, StringComparison.Ordinal);

        store.Remove("tiny-q8_0");
        Assert.Empty(store.List());
        Assert.Empty(Directory.EnumerateFileSystemEntries(root));
    }

    [Fact]
    public async Task A_wrong_hash_deletes_what_arrived()
    {
        using var server = Hub(oid: Sha256([1]));
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server).PullAsync("hf:owner/Tiny-GGUF:Q8_0", progress: null, default));

        Assert.Contains("arrived damaged", error.Message, StringComparison.Ordinal);
        Assert.Empty(Store(server).List());
    }

    [Theory]
    [InlineData("hf:owner/Tiny-GGUF:Q2_K", "has no Q2_K; it has Q5_0, Q8_0")]
    [InlineData("hf:owner/Other-GGUF", "set HF_TOKEN")]
    [InlineData("hf:owner/None", "nothing at")]
    [InlineData("hf:owner", "not a source of models")]
    [InlineData("ftp://host/m.gguf", "not a source of models")]
    [InlineData("http://127.0.0.1:9/m.txt", "does not end in a .gguf")]
    [InlineData("http://127.0.0.1:9/m.gguf", "Cannot reach 127.0.0.1:9")]
    public async Task A_source_that_cannot_be_pulled_is_explained(string source, string reason)
    {
        using var server = Hub(oid: null);
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server, token: null).PullAsync(source, progress: null, default));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Empty(Store(server).List());
    }

    [Fact]
    public async Task The_token_reaches_the_endpoint_and_no_host_that_it_redirects_to()
    {
        using var storage = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\""));
        using var hub = new LoopbackServer(_ => new(302, [], ("Location", $"{storage.Address}blob?signed=1"), ("X-Linked-ETag", $"\"{Sha256(content)}\"")));
        await Store(hub).PullAsync($"{hub.Address}m.gguf", progress: null, default);

        Assert.All(hub.Requests, r => Assert.Equal($"Bearer {Token}", r["Authorization"]));
        Assert.All(storage.Requests, r => Assert.Null(r["Authorization"]));
        Assert.NotEmpty(storage.Requests);
        Assert.DoesNotContain(Directory.EnumerateFiles(root, "*.json", SearchOption.AllDirectories), f => File.ReadAllText(f).Contains("signed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_hash_told_by_a_redirect_is_checked_too()
    {
        using var storage = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\""));
        using var hub = new LoopbackServer(_ => new(302, [], ("Location", $"{storage.Address}blob"), ("X-Linked-ETag", $"\"{Sha256([1])}\"")));
        await Assert.ThrowsAnyAsync<ErgonException>(() => Store(hub).PullAsync($"{hub.Address}m.gguf", progress: null, default));
    }

    [Fact]
    public async Task Redirects_in_a_circle_end()
    {
        using var server = new LoopbackServer(r => new(302, [], ("Location", r.Path)));
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server).PullAsync($"{server.Address}m.gguf", progress: null, default));
        Assert.Contains("redirects more than", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_page_in_place_of_a_model_is_refused()
    {
        using var server = new LoopbackServer(_ => new(200, "<!doctype html>"u8.ToArray()));
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server).PullAsync($"{server.Address}m.gguf", progress: null, default));
        Assert.Contains("not a GGUF", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_that_would_leave_the_folder_is_refused()
    {
        using var server = new LoopbackServer(_ => new(200, "[{\"type\":\"file\",\"path\":\"../../../x-Q8_0.gguf\"}]"u8.ToArray()));
        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => Store(server).PullAsync("hf:owner/evil", progress: null, default));
        Assert.Contains("not a safe file name", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_pulls_of_one_file_do_not_mix()
    {
        var gate = new TaskCompletionSource();
        using var server = new LoopbackServer(r => LoopbackServer.File(r, content, "\"v1\"") with { Before = gate.Task });
        var store = Store(server);
        var first = store.PullAsync($"{server.Address}m.gguf", progress: null, default);

        var error = await Assert.ThrowsAnyAsync<ErgonException>(() => store.PullAsync($"{server.Address}m.gguf", progress: null, default));
        Assert.Contains("another pull", error.Message, StringComparison.Ordinal);
        gate.SetResult();
        await first;
        Assert.Equal(content, File.ReadAllBytes(store.Resolve("m")));
    }

    private ModelStore Store(LoopbackServer hub, string? token = Token) =>
        new(root, Path.Combine(root, "none"), hub.Address, token, new Immediate());

    private LoopbackServer Hub(string? oid) => new(request => request.Path switch
    {
        "/api/models/owner/Tiny-GGUF/tree/main?recursive=true" => new(200, Encoding.UTF8.GetBytes($$$"""
            [{"type":"directory","path":"q8"},{"type":"file","path":"README.md","size":3},
             {"type":"file","path":"mmproj-Q8_0.gguf","size":4},{"type":"file","path":"Tiny-Q5_0.gguf","size":4},
             {"type":"file","path":"q8/Tiny-Q8_0-00002-of-00002.gguf","size":{{{content.Length}}},"lfs":{"oid":"{{{oid}}}"}},
             {"type":"file","path":"q8/Tiny-Q8_0-00001-of-00002.gguf","size":{{{content.Length}}},"lfs":{"oid":"{{{oid}}}"}}]
            """)),
        "/api/models/owner/Other-GGUF/tree/main?recursive=true" => new(401, []),
        var path when path.StartsWith("/owner/Tiny-GGUF/resolve/main/q8/", StringComparison.Ordinal) => LoopbackServer.File(request, content, "\"v1\""),
        _ => new(404, []),
    });

    private static byte[] Noise(int count, int seed = 1)
    {
        var bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private sealed class Now(Action<PullProgress> report) : IProgress<PullProgress>
    {
        public void Report(PullProgress value) => report(value);
    }

    /// <summary>A clock whose delays end at once.</summary>
    private sealed class Immediate : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, TimeSpan.Zero, period);
    }
}
