using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using Ergon.Devices;
using Ergon.Devices.Profiles;
using Ergon.Energy;
using Ergon.Native;
using Ergon.Runtime;
using Ergon.Units;

namespace Ergon.Tests.Runtime;

/// <summary>Who may see what runs, and what is left of processes that are gone.</summary>
public sealed class StatusSocketTests : IDisposable
{
    private readonly TemporaryFolder _runtime = new();
    private readonly EnergyMonitor _monitor = new(new MeterSet([new ModelledMeter("package-0", EnergyDomain.Package, "test", new Watts(10), TimeProvider.System)], TimeProvider.System), TimeProvider.System,
        _ => (EstimatedProfile.Of(new DeviceInfo("CPU", DeviceKind.Cpu, "AMD EPYC", "CPU", null, 8L << 30), 2, new SystemFiles("/nowhere")), null));

    private string Folder => Path.Combine(_runtime.Path, "ergon");

    [Fact]
    public async Task Two_readers_at_once_get_a_line_at_once_and_one_a_second()
    {
        using (await OpenAsync())
        {
            var lines = await Task.WhenAll(ReadLinesAsync(2), ReadLinesAsync(2));
            foreach (var line in lines.SelectMany(l => l))
            {
                using var json = JsonDocument.Parse(line);
                Assert.Equal(["pid", "model", "devices", "open_requests", "totals"], json.RootElement.EnumerateObject().Select(p => p.Name));
                Assert.Equal(["name", "watts", "celsius", "tokens_per_second", "prompt_rows_per_second", "joules_per_token", "source", "reason"], json.RootElement.GetProperty("devices")[0].EnumerateObject().Select(p => p.Name));
            }
            var status = Assert.Single(await StatusSocket.ReadAllAsync(Folder, CancellationToken.None));
            Assert.Equal(Environment.ProcessId, status.Pid);
        }
        Assert.Empty(Directory.GetFiles(Folder));
    }

    [Fact]
    public async Task A_process_may_have_two_and_each_removes_its_own()
    {
        var first = await OpenAsync();
        using (await OpenAsync(number: 2))
        {
            Assert.Equal(2, (await StatusSocket.ReadAllAsync(Folder, CancellationToken.None)).Count);
            first.Dispose();
            Assert.Equal([Name(2)], Directory.GetFiles(Folder).Select(Path.GetFileName));
        }
        Assert.Empty(Directory.GetFiles(Folder));
    }

    [Fact]
    public void One_that_is_disposed_at_once_leaves_nothing_behind()
    {
        new StatusSocket(_monitor, Folder, Fail).Dispose();
        Assert.Empty(Directory.GetFiles(Folder));
    }

    [Fact]
    public async Task What_a_dead_process_left_is_removed_by_whoever_meets_it()
    {
        StatusFolder.Make(Folder);
        var (old, young) = (Leave("4242.sock"), Leave("4243.sock"));
        File.SetLastWriteTimeUtc(old, File.GetLastWriteTimeUtc(old).AddMinutes(-1));
        Assert.Empty(await StatusSocket.ReadAllAsync(Folder, CancellationToken.None));
        Assert.False(File.Exists(old));
        // It may be about to listen.
        Assert.True(File.Exists(young));

        // A process of this one's number was before it.
        Leave(Name(1));
        using (await OpenAsync())
            Assert.Equal(Environment.ProcessId, Assert.Single(await StatusSocket.ReadAllAsync(Folder, CancellationToken.None)).Pid);
    }

    [Fact]
    public async Task A_process_that_does_not_answer_is_shown_without_figures()
    {
        StatusFolder.Make(Folder);
        using var silent = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        silent.Bind(new UnixDomainSocketEndPoint(Path.Combine(Folder, "4242.sock")));
        silent.Listen();
        var status = Assert.Single(await StatusSocket.ReadAllAsync(Folder, CancellationToken.None));
        Assert.Equal((4242, null, 0), (status.Pid, status.Totals, status.Devices.Count));
    }

    [Fact]
    public async Task A_folder_that_is_not_there_has_no_processes()
    {
        Assert.Empty(await StatusSocket.ReadAllAsync(Folder, CancellationToken.None));
        Assert.False(Directory.Exists(Folder));
    }

    [Fact]
    public async Task A_socket_that_cannot_be_opened_is_said_and_no_error()
    {
        // A socket's path has room for about a hundred bytes.
        var said = new TaskCompletionSource<string>();
        using var socket = new StatusSocket(_monitor, Path.Combine(_runtime.Path, new string('x', 120)), said.SetResult);
        Assert.Contains("set XDG_RUNTIME_DIR", await said.Task.WaitAsync(TimeSpan.FromSeconds(10)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_is_made_for_its_user_alone()
    {
        if (OperatingSystem.IsWindows())
            return;
        StatusFolder.Make(Folder);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Folder));
        Assert.Null(StatusFolder.Problem(Folder));
        if (OperatingSystem.IsLinux())
            Assert.Equal(FileOwner.Me, FileOwner.Of(Folder));
    }

    [Fact]
    public void A_folder_that_others_may_enter_own_or_point_elsewhere_is_refused()
    {
        if (OperatingSystem.IsWindows())
            return;
        Directory.CreateDirectory(Folder);
        File.SetUnixFileMode(Folder, (UnixFileMode)0b111_101_101);
        Assert.Contains($"'chmod 700 {Folder}'", Assert.Throws<ErgonException>(() => StatusFolder.Make(Folder)).Message, StringComparison.Ordinal);

        var link = Path.Combine(_runtime.Path, "link");
        Directory.CreateSymbolicLink(link, Folder);
        Assert.Contains($"is a link to '{Folder}'", Assert.Throws<ErgonException>(() => StatusFolder.Make(link)).Message, StringComparison.Ordinal);

        var file = _runtime.File("file", []);
        Assert.Contains("cannot be made", Assert.Throws<ErgonException>(() => StatusFolder.Make(file)).Message, StringComparison.Ordinal);

        if (OperatingSystem.IsLinux())
            Assert.Contains("belongs to the user", StatusFolder.Problem(SomebodyElses())!, StringComparison.Ordinal);
    }

    [Fact]
    public void The_folder_is_the_runtime_folders_only_where_that_is_the_users_own()
    {
        if (!OperatingSystem.IsLinux())
            return;
        var other = $"/tmp/ergon-{FileOwner.Me}";
        Assert.Equal(Folder, StatusFolder.OfUser(_runtime.Path));
        Assert.Equal(other, StatusFolder.OfUser(SomebodyElses()));
        Assert.Equal(other, StatusFolder.OfUser(Path.Combine(_runtime.Path, "absent")));
        Assert.Equal(other, StatusFolder.OfUser("relative"));
        Assert.Equal(other, StatusFolder.OfUser(null));
    }

    // Root owns what a usual user does not, and may give away what is root's.
    private string SomebodyElses()
    {
        if (FileOwner.Me != 0)
            return "/";
        var folder = Directory.CreateDirectory(Path.Combine(_runtime.Path, "else")).FullName;
        using var chown = Process.Start("chown", ["12345", folder]);
        chown.WaitForExit();
        return folder;
    }

    private static string Name(int number) => string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}{(number == 1 ? "" : $"-{number}")}.sock");

    private static void Fail(string problem) => throw new InvalidOperationException(problem);

    private async Task<StatusSocket> OpenAsync(int number = 1)
    {
        var socket = new StatusSocket(_monitor, Folder, Fail);
        for (var waited = 0; waited < 200; waited++)
        {
            if ((await StatusSocket.ReadAllAsync(Folder, CancellationToken.None)).Count == number)
                return socket;
            await Task.Delay(50);
        }
        throw new TimeoutException("The socket was not opened.");
    }

    // A file as a process that was killed leaves it.
    private string Leave(string name)
    {
        var (bound, left) = (Path.Combine(Folder, "bound"), Path.Combine(Folder, name));
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(bound));
        File.Move(bound, left);
        return left;
    }

    private async Task<List<string>> ReadLinesAsync(int count)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(Folder, Name(1))));
        using var reader = new StreamReader(new NetworkStream(socket));
        var lines = new List<string>();
        while (lines.Count < count)
            lines.Add((await reader.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(10)))!);
        return lines;
    }

    public void Dispose()
    {
        _monitor.Dispose();
        _runtime.Dispose();
    }
}
