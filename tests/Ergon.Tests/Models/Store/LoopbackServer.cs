using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Ergon.Tests.Models.Store;

/// <summary>An HTTP/1.1 server on a loopback port that answers as a test says, even wrongly.</summary>
internal sealed class LoopbackServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly Func<Request, Answer> answer;

    public LoopbackServer(Func<Request, Answer> answer)
    {
        this.answer = answer;
        listener.Start();
        _ = AcceptAsync();
    }

    public sealed record Request(string Path, IReadOnlyDictionary<string, string> Headers)
    {
        /// <summary>Of ASCII.</summary>
        public string Body { get; init; } = "";

        public string? this[string header] => Headers.GetValueOrDefault(header);

        /// <summary>The first byte asked for; 0 without a range.</summary>
        public int Start => this["Range"] is { } range ? int.Parse(range["bytes=".Length..^1]) : 0;
    }

    public sealed record Answer(int Status, byte[] Body, params (string Name, string Value)[] Headers)
    {
        /// <summary>Hangs up after so many bytes of the body.</summary>
        public int? CutAfter { get; init; }

        public Task Before { get; init; } = Task.CompletedTask;
    }

    public List<Request> Requests { get; } = [];

    public Uri Address => new($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/");

    public void Dispose() => listener.Dispose();

    /// <summary>A file as a well-behaved server gives it: with a validator, and from any byte on.</summary>
    public static Answer File(Request request, byte[] content, string etag)
    {
        var start = request["If-Range"] is { } condition && condition != etag ? 0 : request.Start;
        if (start >= content.Length)
            return new Answer(416, [], ("Content-Range", $"bytes */{content.Length}"));
        return start == 0
            ? new Answer(200, content, ("ETag", etag))
            : new Answer(206, content[start..], ("ETag", etag), ("Content-Range", $"bytes {start}-{content.Length - 1}/{content.Length}"));
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
                _ = ServeAsync(await listener.AcceptTcpClientAsync());
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        await using (var stream = client.GetStream())
        {
            using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
            var path = (await reader.ReadLineAsync())!.Split(' ')[1];
            var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            for (string line; (line = (await reader.ReadLineAsync())!).Length > 0;)
                headers[line[..line.IndexOf(':')]] = line[(line.IndexOf(':') + 2)..];

            var body = new char[int.Parse(headers.GetValueOrDefault("Content-Length", "0"), System.Globalization.CultureInfo.InvariantCulture)];
            // Reading nothing would wait for something.
            if (body.Length > 0)
                await reader.ReadBlockAsync(body);
            var request = new Request(path, headers) { Body = new string(body) };
            lock (Requests)
                Requests.Add(request);
            var reply = answer(request);
            await reply.Before;
            var head = new StringBuilder($"HTTP/1.1 {reply.Status} Status\r\nConnection: close\r\nContent-Length: {reply.Body.Length}\r\n");
            foreach (var (name, value) in reply.Headers)
                head.Append(name).Append(": ").Append(value).Append("\r\n");
            await stream.WriteAsync(Encoding.ASCII.GetBytes(head.Append("\r\n").ToString()));
            await stream.WriteAsync(reply.Body.AsMemory(0, reply.CutAfter ?? reply.Body.Length));
        }
    }
}
