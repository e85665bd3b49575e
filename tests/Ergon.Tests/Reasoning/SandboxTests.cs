using System.Net;
using System.Net.Sockets;
using Ergon.Reasoning.Sandboxes;
using Ergon.Reasoning.Tasks;

namespace Ergon.Tests.Reasoning;

/// <summary>A test that runs programs in the sandbox; skipped aloud where that does not work.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SandboxFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> s_why = new(() => new PythonSandbox(new SandboxLimits()).WhyUnavailableAsync().GetAwaiter().GetResult());

    public SandboxFactAttribute() => Skip = s_why.Value;

    /// <summary>Also needs the data sets.</summary>
    public bool NeedsShared { get => false; set => Skip ??= value ? Shared.SkipReason : null; }
}

public sealed class SandboxTests
{
    private static Task<SandboxResult> Run(string program, int seconds = 5, long memory = 256L << 20) =>
        new PythonSandbox(new SandboxLimits { Time = TimeSpan.FromSeconds(seconds), Memory = memory, Output = 1000 }).RunAsync(program);

    [SandboxFact]
    public async Task A_program_runs_and_its_failure_shows()
    {
        Assert.Equal(new SandboxResult(0, false, "3\n"), await Run("print(1 + 2)"));
        Assert.Equal(7, (await Run("raise SystemExit(7)")).ExitCode);
        Assert.Contains("AssertionError", (await Run("assert 1 == 2")).Output, StringComparison.Ordinal);
    }

    [SandboxFact]
    public async Task A_fork_bomb_and_a_flood_of_threads_start_nothing()
    {
        var result = await Run("""
            import os, threading
            try:
                while True:
                    os.fork()
            except OSError as e:
                print(type(e).__name__)
            try:
                threading.Thread(target=print).start()
            except RuntimeError as e:
                print('no thread')
            """);
        Assert.Equal("BlockingIOError\nno thread\n", result.Output);
    }

    [SandboxFact]
    public async Task An_endless_loop_and_an_endless_sleep_end()
    {
        var began = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.True((await Run("while True: pass", seconds: 1)).TimedOut);
        Assert.True((await Run("import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)", seconds: 1)).TimedOut);
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds, 2, 30);
    }

    [SandboxFact]
    public async Task Memory_ends_at_its_limit_on_every_way()
    {
        Assert.Contains("MemoryError", (await Run("x = bytearray(1 << 30)")).Output, StringComparison.Ordinal);
        Assert.Contains("MemoryError", (await Run("x = []\nwhile True: x.append(bytearray(1 << 20))")).Output, StringComparison.Ordinal);
        // Files in /tmp are memory too.
        Assert.Contains("No space left", (await Run("for i in range(1000): open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))")).Output, StringComparison.Ordinal);
    }

    [SandboxFact]
    public async Task Nothing_can_be_written_but_in_tmp_and_nothing_of_the_machine_is_seen()
    {
        using var folder = new TemporaryFolder();
        var secret = folder.File("secret", "secret"u8.ToArray());
        var result = await Run($$"""
            import os
            print(os.path.exists('{{secret}}'), os.path.exists('/etc/passwd'), os.path.exists('/home'), os.path.exists('/root'), os.path.exists('/sys'))
            print([p for p in os.listdir('/proc') if p.isdigit() and int(p) > 50])
            print(sorted(k for k in os.environ if k not in ('PWD', 'LC_CTYPE')))
            for path in ('/x', '/usr/x', '/dev/x', '/dev/shm/x', '/proc/x'):
                try:
                    open(path, 'w')
                    print('wrote', path)
                except OSError:
                    pass
            open('/tmp/x', 'w').write('y')
            print(open('/tmp/x').read(), os.getuid() != 0)
            """);
        Assert.Equal("False False False False False\n[]\n['LANG', 'PATH']\ny True\n", result.Output);
    }

    [SandboxFact]
    public async Task There_is_no_network_not_even_the_machines_own()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var result = await Run($"""
            import socket
            for address in (('127.0.0.1', {((IPEndPoint)listener.LocalEndpoint).Port}), ('8.8.8.8', 53)):
                try:
                    socket.create_connection(address, 2)
                    print('connected')
                except OSError:
                    print('refused')
            """);
        Assert.Equal("refused\nrefused\n", result.Output);
        Assert.False(listener.Pending());
    }

    [SandboxFact]
    public async Task Endless_output_is_cut_and_a_cancelled_program_dies()
    {
        var loud = await Run("while True: print('x' * 100)", seconds: 1);
        Assert.Equal((true, 1000), (loud.TimedOut, loud.Output.Length));
        using var soon = new CancellationTokenSource(300);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new PythonSandbox(new SandboxLimits()).RunAsync("while True: pass", soon.Token));
    }

    [SandboxFact(NeedsShared = true)]
    public async Task All_164_solutions_of_humaneval_pass_and_mutants_fail()
    {
        var task = HumanEval.Load(Shared.Path("data/datasets/humaneval/HumanEval.jsonl.gz"), await PythonSandbox.OpenAsync());
        Assert.Equal(164, task.Problems.Count);
        foreach (var problem in task.Problems)
            Assert.True(await task.VerifyAsync(problem, task.Solution(problem), default), problem.Id);
        foreach (var problem in task.Problems.Where((_, i) => i % 8 == 0))
        {
            Assert.False(await task.VerifyAsync(problem, "    return None\n", default), problem.Id);
            Assert.False(await task.VerifyAsync(problem, "    import os\n    os._exit(0)\n", default), problem.Id);
            Assert.False(await task.VerifyAsync(problem, "", default), problem.Id);
        }
    }

    [SandboxFact(NeedsShared = true)]
    public async Task A_function_is_judged_however_it_is_written_down()
    {
        var task = HumanEval.Load(Shared.Path("data/datasets/humaneval/HumanEval.jsonl.gz"), await PythonSandbox.OpenAsync());
        var first = task.Problems[0];
        var body = task.Solution(first);
        var whole = $"def has_close_elements(numbers: List[float], threshold: float) -> bool:\n{body}";
        string[] right =
        [
            body,
            $"{body}\n\nprint('done')\nassert False",
            whole, // its import is the prompt's
            $"Here it is:\n```python\n{whole}\n```\nand a use of it:\n```python\nhas_close_elements([1], 2)\n```\n",
            $"```\n{whole}", // cut off before the end of the block
        ];
        foreach (var text in right)
            Assert.True(await task.VerifyAsync(first, text, default), text);
        Assert.False(await task.VerifyAsync(first, $"```python\n{whole.Replace("< threshold", "> threshold", StringComparison.Ordinal)}\n```", default));
        Assert.Null(await HumanEval.Load(Shared.Path("data/datasets/humaneval/HumanEval.jsonl.gz")).VerifyAsync(first, body, default));
    }

    [Fact]
    public async Task Limits_out_of_range_are_refused() =>
        Assert.Contains("0.5 s", (await Assert.ThrowsAsync<ErgonException>(() => PythonSandbox.OpenAsync(new SandboxLimits { Time = TimeSpan.FromSeconds(0.5) }))).Message, StringComparison.Ordinal);
}
