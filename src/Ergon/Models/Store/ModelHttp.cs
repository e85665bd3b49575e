using System.Net;
using System.Net.Http.Headers;

namespace Ergon.Models.Store;

/// <summary>Gets over HTTP for the store: follows redirects itself, so that a token reaches one host only.</summary>
/// <param name="endpoint">The Hub; the token goes to its scheme, host and port alone.</param>
/// <param name="token">An access token, or null. Never part of a message.</param>
internal sealed class ModelHttp(Uri endpoint, string? token) : IDisposable
{
    private const int MaxRedirects = 10;

    private readonly HttpClient _client = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        ConnectTimeout = TimeSpan.FromSeconds(20),
    })
    {
        // A model takes as long as it takes; stalls are noticed read by read.
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    /// <summary>Gets an address; the answer's body is not read yet.</summary>
    /// <param name="address">http or https.</param>
    /// <param name="prepare">Adds headers to every request of the chain.</param>
    /// <param name="cancellationToken">Ends the request.</param>
    /// <exception cref="ErgonException">Unreachable, missing, forbidden, or any failure but 416.</exception>
    public async Task<HttpAnswer> GetAsync(Uri address, Action<HttpRequestHeaders>? prepare, CancellationToken cancellationToken)
    {
        string? sha256 = null;
        for (var hop = 0; hop <= MaxRedirects; hop++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            request.Headers.UserAgent.Add(new ProductInfoHeaderValue("ergon", null));
            if (token is not null && Uri.Compare(address, endpoint, UriComponents.SchemeAndServer, UriFormat.UriEscaped, StringComparison.OrdinalIgnoreCase) == 0)
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            prepare?.Invoke(request.Headers);

            var response = await SendAsync(request, cancellationToken);
            sha256 ??= LinkedHash(response);
            if (response.StatusCode is HttpStatusCode.RequestedRangeNotSatisfiable || response.IsSuccessStatusCode)
                return new HttpAnswer(response, sha256);

            using (response)
            {
                if (response.Headers.Location is not { } location || (int)response.StatusCode is not (301 or 302 or 303 or 307 or 308))
                    throw Failure(address, response.StatusCode);
                var next = new Uri(address, location);
                if (next.Scheme is not ("https" or "http") || (address.Scheme == "https" && next.Scheme == "http"))
                    throw new ErgonException($"{Shown(address)} redirects to an address that is not secure ({Shown(next)}); Ergon does not follow it.");
                address = next;
            }
        }
        throw new ErgonException($"{Shown(address)} redirects more than {MaxRedirects} times.");
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        }
        catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new UnavailableException($"Cannot reach {request.RequestUri!.Authority} ({e.Message.TrimEnd('.')}); check the address and the network.", e);
        }
    }

    /// <summary>An address for people: without query and user, which may hold secrets.</summary>
    public static string Shown(Uri address) => $"{address.Scheme}://{address.Authority}{address.AbsolutePath}";

    // The Hub answers a file's address with a redirect whose X-Linked-ETag is the sha256 of the content.
    private static string? LinkedHash(HttpResponseMessage response) =>
        response.Headers.TryGetValues("X-Linked-ETag", out var values) && values.First().Trim('"') is { Length: 64 } hash && hash.All(char.IsAsciiHexDigit)
            ? hash.ToLowerInvariant()
            : null;

    private ErgonException Failure(Uri address, HttpStatusCode status) => status switch
    {
        HttpStatusCode.NotFound => new ErgonException($"There is nothing at {Shown(address)} (404); check the spelling."),
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden =>
            new ErgonException($"{address.Authority} refuses {address.AbsolutePath} ({(int)status}); {(token is null ? "check the spelling, or set HF_TOKEN to a token that may read it" : "the token in HF_TOKEN may not read it")}."),
        _ => new UnavailableException($"{address.Authority} answered {(int)status} to {address.AbsolutePath}; try again later."),
    };
}

/// <summary>An answer whose body is still to be read, and the content's sha256 if a header of the chain told it.</summary>
internal sealed record HttpAnswer(HttpResponseMessage Response, string? Sha256) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Response.Dispose();
}
