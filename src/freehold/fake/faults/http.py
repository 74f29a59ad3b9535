"""Faults of HTTP: framing, encodings, statuses and headers that lie."""

import zlib
from functools import lru_cache

from freehold.fake.faults.table import fault, instead, retype
from freehold.fake.speak import JSON_TYPE
from freehold.fake.wire import (
    LAST_CHUNK,
    Draft,
    End,
    Steps,
    chunk,
    chunked_head,
    chunks,
    head,
    length_head,
    spaced,
    steps,
)

BOMB = 64 << 20
"""Bytes a bomb unpacks to."""


@fault("any")
def slow_headers(draft: Draft) -> Steps:
    """Headers byte by byte, 2 ms (or event_ms) apart."""
    first = chunked_head(draft) if draft.streamed else length_head(draft)
    trickle = spaced([bytes([byte]) for byte in first], draft.gap or 0.002)
    return [*trickle, *(steps(draft)[1:] if draft.streamed else [draft.body])]


@fault("any")
def byte_by_byte(draft: Draft) -> Steps:
    """The body one byte at a time, each byte a chunk of its own."""
    return [chunked_head(draft), *chunks(draft, [bytes([byte]) for byte in draft.body]), LAST_CHUNK]


@fault("any")
def content_length_short(draft: Draft) -> Steps:
    """Content-Length names half of what is sent."""
    return [length_head(draft, len(draft.body) // 2), draft.body, End.CLOSE]


@fault("any")
def content_length_long(draft: Draft) -> Steps:
    """Content-Length promises 100 bytes more than are sent before FIN."""
    return [length_head(draft, len(draft.body) + 100), draft.body, End.CLOSE]


@fault("any")
def bad_chunk_size(draft: Draft) -> Steps:
    """A chunk size that is no number, in the middle."""
    body = draft.body
    half = len(body) // 2
    return [chunked_head(draft), chunk(body[:half]), b"zz\r\n" + body[half:] + b"\r\n", LAST_CHUNK, End.CLOSE]


@fault("any")
def no_last_chunk(draft: Draft) -> Steps:
    """Chunked, complete, but FIN instead of the last chunk."""
    return [chunked_head(draft), *spaced([chunk(part) for part in draft.parts], draft.gap), End.CLOSE]


@fault("any")
def bad_status_line(draft: Draft) -> Steps:
    """A status line that is no HTTP."""
    return [b"ICY 2OO fine\r\n\r\n" + draft.body, End.CLOSE]


@fault("any")
def early_hints(draft: Draft) -> Steps:
    """A 103 response before the real one."""
    return [head(103, [(b"link", b"</style.css>; rel=preload")]), *steps(draft)]


@fault("any")
def redirect(draft: Draft) -> Steps:
    """307 to another address of the fake, which a gateway must not follow blindly."""
    where = (b"location", b"/__fake__/redirected")
    draft.status = 307
    return [head(307, [where, (b"content-length", b"0")])]


@fault("any")
def html_502(draft: Draft) -> Steps:
    """502 with an HTML page, as a load balancer sends it."""
    return instead(draft, 502, b"text/html", b"<html><head><title>502 Bad Gateway</title></head></html>\r\n")


@fault("any")
def empty_body(draft: Draft) -> Steps:
    """200 with an empty body."""
    return instead(draft, 200, JSON_TYPE, b"")


@fault("any")
def wrong_content_type(draft: Draft) -> Steps:
    """The right body as text/plain."""
    retype(draft, b"text/plain")
    return steps(draft)


@fault("any")
def gzip_unasked(draft: Draft) -> Steps:
    """A gzip-encoded body although nobody asked for one."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in draft.parts]
    draft.parts = [*packed[:-1], packed[-1] + packer.flush()]
    draft.headers = [*draft.headers, (b"content-encoding", b"gzip")]
    return steps(draft)


@fault("any")
def gzip_bomb(draft: Draft) -> Steps:
    """64 KiB of gzip that unpack to 64 MiB."""
    draft.headers = [*draft.headers, (b"content-encoding", b"gzip")]
    draft.parts = [_bomb(draft.streamed)]
    return steps(draft)


@fault("any")
def gzip_corrupt(draft: Draft) -> Steps:
    """Content-Encoding says gzip, the body is plain."""
    draft.headers = [*draft.headers, (b"content-encoding", b"gzip")]
    return steps(draft)


@lru_cache(maxsize=2)
def _bomb(streamed: bool) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b"x" * (1 << 20)
    packed = [packer.compress(b": " if streamed else b'{"pad":"')]
    packed += [packer.compress(block) for _ in range(BOMB >> 20)]
    packed += [packer.compress(b"\n\n" if streamed else b'"}'), packer.flush()]
    return b"".join(packed)
