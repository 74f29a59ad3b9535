"""Images, sounds and files on their way between dialects: data URLs taken apart, media types found out."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

_MAGIC = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)
"""How base64 of a format begins. RIFF is WebP here: sounds name their format."""

_SUFFIXES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".html": "text/html",
    ".csv": "text/csv",
    ".json": "application/json",
    ".mp3": "audio/mp3",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
}


def split_data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 of a `data:` URL; None for any other URL and for a data URL that is not base64."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    kind, *options = head.split(";")
    return (kind or None, data) if comma and "base64" in options else None


def sniff(data: str) -> str | None:
    """The media type of base64 `data` by its first bytes."""
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def guess(url: str) -> str | None:
    """The media type of `url` by the suffix of its path."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    return _SUFFIXES.get(PurePosixPath(path).suffix.lower())
