"""The media type of a fetched file by its first bytes, which a server cannot be trusted to know.

Signatures as in the WHATWG's MIME Sniffing standard (https://mimesniff.spec.whatwg.org/), and HEIC, AVIF, TIFF and FLAC
from their own.
"""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\1\0", "image/x-icon"),
    (b"%PDF-", "application/pdf"),
    (b"OggS\0", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def sniff(data: bytes) -> str | None:
    """The type that the first bytes name, None where they name none."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":  # two letters alone begin many a text
        return "image/bmp"
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return "image/heic" if data[8:12] in _HEIF else _BRANDS.get(data[8:12])
    if len(data) > 3 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06:
        return "audio/mpeg"  # a frame without a tag before it
    return None


def media_type(data: bytes, declared: str) -> str | None:
    """The type to go by, None where content and `declared` do not fit together.

    Images and PDF files must show their signature. Sounds have too many formats for that, and text has none: there
    the declared type counts, unless the content says otherwise.
    """
    group = declared.partition("/")[0]
    if group == "text":
        return declared if is_text(data) else None
    seen = sniff(data)
    if group == "audio":
        return declared if seen is None else seen if seen.startswith("audio/") else None
    if seen is None or (group == "image" and not seen.startswith("image/")):
        return None
    return seen if declared != "application/pdf" or seen == declared else None


def is_text(data: bytes) -> bool:
    """Whether `data` is UTF-8 without NUL bytes."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
