// Asks a model two questions through Microsoft.Extensions.AI; the second continues the conversation from its cache.
//   dotnet run --project samples/ChatSample -- models/words-l-f16.gguf
using Ergon;
using Ergon.Runtime;
using Microsoft.Extensions.AI;

if (args.Length != 1)
{
    Console.Error.WriteLine("usage: ChatSample MODEL.gguf");
    return 2;
}
try
{
    using var client = ErgonChatClient.Load(args[0]);
    var chat = new List<ChatMessage>();
    foreach (var question in (string[])["Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?", "Zoe buys 4 boxes with 6 eggs in each box. How many eggs is that?"])
    {
        chat.Add(new ChatMessage(ChatRole.User, question));
        var updates = new List<ChatResponseUpdate>();
        await foreach (var update in client.GetStreamingResponseAsync(chat))
        {
            Console.Write(update.Text);
            updates.Add(update);
        }
        var response = updates.ToChatResponse();
        chat.AddRange(response.Messages);
        Console.Error.WriteLine($"{response.Usage!.InputTokenCount} prompt tokens, {response.Usage.CachedInputTokenCount} of them from the cache, {response.Usage.OutputTokenCount} generated");
    }
    return 0;
}
catch (ErgonException e)
{
    Console.Error.WriteLine(e.Message);
    return 1;
}
