using System.Buffers.Binary;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Ergon.Models.Gguf;

/// <summary>Reads a file's little-endian fields in order through one small window, so that a count or
/// a length in the file never decides how much memory is taken. Every read that would pass the end of
/// the file throws <see cref="GgufException"/> with the field's name. Not thread-safe.</summary>
internal sealed class GgufCursor : IDisposable
{
    /// <summary>The longest single <see cref="Read"/>.</summary>
    public const int Window = 32 * 1024;

    private readonly SafeFileHandle _file;
    private byte[] _window = [];
    private long _windowStart;
    private int _windowLength;

    private GgufCursor(string path, SafeFileHandle file)
    {
        Path = path;
        _file = file;
        Length = RandomAccess.GetLength(file);
    }

    public string Path { get; }

    /// <summary>The file's length in bytes.</summary>
    public long Length { get; }

    /// <summary>Where the next read begins.</summary>
    public long Position { get; set; }

    /// <exception cref="GgufException">There is no such file, or it cannot be read.</exception>
    public static GgufCursor Open(string path)
    {
        if (Directory.Exists(path))
            throw new GgufException(path, "is a directory: name the .gguf file in it");
        if (!File.Exists(path))
            throw new GgufException(path, "does not exist: check the path, or pull the model");
        try
        {
            // A pipe or a device reports no length; opening one could wait for ever.
            if (new FileInfo(File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path).Length == 0)
                throw new GgufException(path, "is empty, or is not a regular file: download it again");
            return new(path, File.OpenHandle(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new GgufException(path, $"cannot be read ({e.Message.TrimEnd('.')})", e);
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>The next <paramref name="count"/> bytes, valid until the next read.</summary>
    public ReadOnlySpan<byte> Read(int count, string field, long index = -1)
    {
        long offset = Position - _windowStart;
        if (offset < 0 || offset + count > _windowLength)
        {
            Fill(count, field, index);
            offset = 0;
        }
        Position += count;
        return _window.AsSpan((int)offset, count);
    }

    /// <summary>Fills all of <paramref name="destination"/>.</summary>
    public void ReadInto(Span<byte> destination, string field)
    {
        Require(destination.Length, field);
        for (int done = 0; done < destination.Length;)
        {
            int read = ReadAt(destination[done..], Position, field);
            done += read;
            Position += read;
        }
    }

    public void Skip(long count, string field, long index = -1)
    {
        Require(count, field, index);
        Position += count;
    }

    public uint ReadUInt32(string field, long index = -1) =>
        BinaryPrimitives.ReadUInt32LittleEndian(Read(4, field, index));

    public ulong ReadUInt64(string field, long index = -1) =>
        BinaryPrimitives.ReadUInt64LittleEndian(Read(8, field, index));

    /// <summary>A length that must fit in what is left of the file.</summary>
    public long ReadLength(string field, long index = -1)
    {
        ulong length = ReadUInt64(field, index);
        if (length > (ulong)(Length - Position))
        {
            throw Error(Label(field, index), Position - 8,
                $"has length {length}, but only {Length - Position} bytes follow: the file is damaged or incomplete, download it again");
        }
        return (long)length;
    }

    public GgufException Error(string field, long offset, string problem) => new(Path, field, offset, problem);

    /// <summary>Text from the file, fit for a message: quoted, bounded, and with nothing in it that a
    /// terminal would obey.</summary>
    public static string Quote(ReadOnlySpan<byte> text)
    {
        const int longest = 64;
        var quoted = new StringBuilder("'");
        foreach (var rune in Encoding.UTF8.GetString(text[..Math.Min(text.Length, longest)]).EnumerateRunes())
        {
            bool visible = rune.Value == ' ' || Rune.IsLetterOrDigit(rune) || Rune.IsPunctuation(rune) || Rune.IsSymbol(rune);
            quoted.Append(visible ? rune : Rune.ReplacementChar);
        }
        return quoted.Append(text.Length > longest ? "...'" : "'").ToString();
    }

    private void Fill(int count, string field, long index)
    {
        Require(count, field, index);
        if (_window.Length == 0)
            _window = new byte[Math.Min(Window, Length)];
        _windowStart = Position;
        _windowLength = 0;
        while (_windowLength < count)
            _windowLength += ReadAt(_window.AsSpan(_windowLength), _windowStart + _windowLength, field);
    }

    private int ReadAt(Span<byte> destination, long position, string field)
    {
        try
        {
            int read = RandomAccess.Read(_file, destination, position);
            return read > 0 ? read : throw Error(field, position, "is gone: another program is writing the file, open it again afterwards");
        }
        catch (IOException e)
        {
            throw new GgufException(Path, $"cannot be read ({e.Message.TrimEnd('.')})", e);
        }
    }

    private void Require(long count, string field, long index = -1)
    {
        if (count > Length - Position)
            throw Truncated(count, field, index);
    }

    private GgufException Truncated(long count, string field, long index) => Error(Label(field, index), Position,
        $"needs {count} bytes, but the file ends at byte {Length}: it is incomplete, download it again");

    private static string Label(string field, long index) => index < 0 ? field : $"{field}[{index}]";
}
