"""Bytes from another machine into the store: resumed, throttled when asked, hashed while they come, never believed.

The rules, for each file:

- It is asked for by what it is (a commit, a digest), so that nothing moves under us, and from the byte that is missing.
  A server that cannot continue, or has another file by now, starts it anew.
- 408, 429 and 5xx, a cut connection, and `stall` seconds without a byte are tried again: after what Retry-After says,
  or after pauses that double. Whoever gets nowhere `tries` times in a row is given up; progress starts the count anew.
- Its hash is computed as it is written. A file of the wrong hash or size never enters the store; if a part of it came
  from an earlier attempt it is fetched once more from the start, otherwise the other side is wrong about its own file.
- A token is sent to the origin it belongs to and to no other: redirects are followed by hand, never from https to http.
- What is there when we are interrupted stays in the store's `partial/`.

Four files are fetched at a time. A file over `SEGMENT` bytes is asked for in parts: hubs refuse it in one.
"""

import asyncio
import contextlib
import functools
import hashlib
import random
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from freehold import __version__
from freehold.errors import EngineError
from freehold.own.weights.apart import apart, settled
from freehold.own.weights.remote import (
    REDIRECTS,
    Again,
    Arrived,
    Event,
    Finished,
    Opened,
    Patience,
    Remote,
    Shared,
    host,
    origin_of,
    plain,
    redirected,
    unreachable,
    waiting,
    whole_number,
)

if TYPE_CHECKING:
    import httpx2

    from freehold.own.weights.store import FileRef, Hold, Incoming, Store

PIECE = 1 << 20
SEGMENT = 32 << 30
PROGRESS = 1 << 16
"""Bytes that make an attempt one that got somewhere."""

_AGAIN = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524}
_REDIRECT = {301, 302, 303, 307, 308}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


Refusal = Callable[[Remote, int, Mapping[str, str]], EngineError]
"""Says why a file was refused, from its status and headers."""


class _Broken(Exception):
    """This attempt failed, another may not. `pause` is what the other side asked for, in seconds."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.pause = pause


async def download(
    remotes: Iterable[Remote],
    store: "Store",
    hold: "Hold",
    client: "httpx2.AsyncClient",
    *,
    refusal: Refusal,
    tell: Callable[[Event], None] = lambda event: None,
    patience: Patience | None = None,
) -> dict[str, "FileRef"]:
    """Returns what is in the store now, by name.

    Raises EngineError: download_failed, rate_limited, wrong_hash, wrong_size, disk_full, insecure_redirect, and what
    `refusal` says of other statuses.
    """
    fetcher = _Fetcher(store, hold, client, refusal, tell, patience or Patience())
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {remote.name: group.create_task(fetcher.fetch(remote)) for remote in remotes}
    except BaseExceptionGroup as failed:
        raise _first(failed) from None
    return {name: task.result() for name, task in tasks.items()}


def _post(loop: asyncio.AbstractEventLoop, tell: Callable[[Event], None], event: Event) -> None:
    """Tells something from another thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is interested any more
        loop.call_soon_threadsafe(tell, event)


def _closed(incoming: "Incoming") -> None:
    incoming.close()


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class _Fetcher:
    def __init__(
        self,
        store: "Store",
        hold: "Hold",
        client: "httpx2.AsyncClient",
        refusal: Refusal,
        tell: Callable[[Event], None],
        patience: Patience,
    ) -> None:
        self._store, self._hold, self._client = store, hold, client
        self._refusal, self._tell, self._patience = refusal, tell, patience
        self._turns = asyncio.Semaphore(patience.at_once)

    async def fetch(self, remote: Remote) -> "FileRef":
        async with self._turns:
            with _about(remote):
                ref = await self._whole(remote)
            self._tell(Finished(remote.name, ref))
            return ref

    async def _whole(self, remote: Remote) -> "FileRef":
        shared = functools.partial(_post, asyncio.get_running_loop(), self._tell, Shared(remote.name))
        while True:
            incoming = await apart(self._open, remote, shared, undo=_closed)
            try:
                if incoming.done is not None:
                    self._tell(Opened(remote.name, incoming.done.size, incoming.done.size, whole=True))
                    return incoming.done
                resumed = incoming.offset
                self._tell(Opened(remote.name, remote.size, resumed))
                try:
                    return await self._fill(remote, incoming)
                except EngineError as error:
                    if error.code != "wrong_hash" or not resumed:
                        raise
                    self._tell(Again(remote.name, "what was left of an earlier attempt is not of this file", 0.0))
            finally:
                incoming.close()

    def _open(self, remote: Remote, shared: Callable[[], None]) -> "Incoming":
        incoming = self._store.incoming(
            self._hold, sha256=remote.sha256, size=remote.size, key=remote.key or remote.url, waiting=shared
        )
        if remote.git and not remote.sha256 and incoming.done is None and incoming.offset:
            incoming.restart()
        return incoming

    async def _fill(self, remote: Remote, incoming: "Incoming") -> "FileRef":
        """Tries until the file is whole."""
        transfer = _Transfer(remote, incoming, self._tell)
        failures = 0
        while not transfer.whole:
            before = incoming.offset
            try:
                await self._attempt(remote, transfer)
                continue
            except _Broken as broken:
                failures = 1 if incoming.offset - before >= PROGRESS else failures + 1
                if failures > self._patience.tries:
                    raise _given_up(remote, broken.why, incoming.offset) from None
                pause = broken.pause if broken.pause is not None else self._pause(failures)
                self._tell(Again(remote.name, broken.why, pause))
            await asyncio.sleep(pause)
        transfer.check()
        return await settled(incoming.finish)

    def _pause(self, failures: int) -> float:
        spread: float = random.uniform(0.75, 1.25)  # noqa: S311  spread, no secret
        return min(self._patience.longest, self._patience.pause * 2.0 ** (failures - 1)) * spread

    async def _attempt(self, remote: Remote, transfer: "_Transfer") -> None:
        """One request. Raises _Broken, EngineError."""
        import httpx2

        try:
            async with self._answer(remote, transfer.offset) as response:
                self._judge(remote, response, transfer)
                await transfer.take(response)
        except httpx2.TimeoutException:
            raise _Broken(f"nothing came for {self._patience.stall:g} seconds") from None
        except httpx2.TransportError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
                raise unreachable(remote.url, error) from None
            raise _Broken(plain(str(error) or type(error).__name__)) from None

    def _judge(self, remote: Remote, response: "httpx2.Response", transfer: "_Transfer") -> None:
        """Raises unless the body of the answer is the part of the file that was asked for."""
        status, headers = response.status_code, response.headers
        if status in _AGAIN:
            raise _Broken(f"{host(remote.url)} answered {status}", waiting(headers, remote))
        if status == 416:
            transfer.restart()
            raise _Broken("it cannot be continued where it stopped", 0.0)
        if status not in (200, 206):
            if origin_of(str(response.url)) != origin_of(remote.url):
                raise _Broken(f"its storage, {response.url.host}, answered {status}")
            raise self._refusal(remote, status, headers)
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise _Broken("it was sent compressed, though this was not asked for")
        transfer.begin(status, headers)

    @contextlib.asynccontextmanager
    async def _answer(self, remote: Remote, offset: int) -> AsyncIterator["httpx2.Response"]:
        """Yields the answer at the end of the redirects."""
        import httpx2

        patience = self._patience
        timeout = httpx2.Timeout(patience.stall, connect=patience.connect, pool=None)
        headers = {"Accept-Encoding": "identity", "User-Agent": f"freehold/{__version__}"}
        if offset or (remote.size or 0) > SEGMENT:
            headers["Range"] = f"bytes={offset}-" + (f"{offset + SEGMENT - 1}" if (remote.size or 0) > SEGMENT else "")
            if offset and remote.etag and not remote.etag.startswith("W/"):
                headers["If-Range"] = remote.etag
        url = remote.url
        for _ in range(REDIRECTS):
            secret = remote.secret if origin_of(url) == origin_of(remote.url) else {}
            request = self._client.build_request("GET", url, headers={**headers, **secret}, timeout=timeout)
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code not in _REDIRECT or "location" not in response.headers:
                    yield response
                    return
                url = redirected(url, response.headers["location"])
            finally:
                await response.aclose()
        raise _Broken(f"more than {REDIRECTS} redirects")


class _Transfer:
    """How far one file is, over all attempts. `size` is what we know of it by now."""

    def __init__(self, remote: Remote, incoming: "Incoming", tell: Callable[[Event], None]) -> None:
        self._remote, self._incoming, self._tell = remote, incoming, tell
        self.size = remote.size
        self._until: int | None = None
        self._ended = False
        self._git: Any = None

    @property
    def offset(self) -> int:
        return self._incoming.offset

    @property
    def whole(self) -> bool:
        return self._ended if self.size is None else self.offset >= self.size

    def restart(self) -> None:
        self._incoming.restart()
        self._git = None

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes what the headers of an answer with a body say. Raises _Broken, EngineError (wrong_size)."""
        coming = whole_number(headers.get("content-length", ""))
        found = _CONTENT_RANGE.match(headers.get("content-range", "")) if status == 206 else None
        if status == 206 and (found is None or int(found.group(1)) != self.offset):
            self.restart()
            raise _Broken("another part came than the one that was asked for", 0.0)
        if status == 200 and self.offset:
            self.restart()
        total = int(found.group(3)) if found and found.group(3) != "*" else coming if status == 200 else None
        if total is not None and self.size is not None and total != self.size:
            raise EngineError(
                f"{self.size:,} bytes were announced and {total:,} are there",
                code="wrong_size",
                retry="no",
                hint="the other side is wrong about its own file; try again later, or another revision or mirror",
            )
        self.size = self.size if self.size is not None else total
        self._until = int(found.group(2)) + 1 if found else total
        if self._remote.git and not self._remote.sha256 and self.offset == 0 and self.size is not None:
            self._git = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)

    async def take(self, response: "httpx2.Response") -> None:
        """Writes the body as it comes; what came before an interruption is kept. Raises _Broken when it ends early."""
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in response.aiter_raw():
                pieces.append(piece)
                size += len(piece)
                if size >= PIECE:
                    data, pieces, size = b"".join(pieces), [], 0
                    await self._write(data)
        finally:
            if pieces:
                await self._write(b"".join(pieces))
        if self._until is not None and self.offset < self._until:
            raise _Broken(f"the connection ended at byte {self.offset:,}")
        self._ended = True

    async def _write(self, data: bytes) -> None:
        await settled(self._incoming.write, data)
        if self._git is not None:
            self._git.update(data)
        self._tell(Arrived(self._remote.name, self.offset))

    def check(self) -> None:
        """Raises EngineError (wrong_hash) for a git blob that is another one."""
        if self._git is not None and self._git.hexdigest() != self._remote.git:
            self.restart()
            raise EngineError(
                f"its content is not the git blob {self._remote.git} that was announced",
                code="wrong_hash",
                retry="no",
                hint="the download was changed on its way, or the other side is wrong about its own file",
            )


def _given_up(remote: Remote, why: str, there: int) -> EngineError:
    return EngineError(
        f"given up: {why}",
        code="download_failed",
        retry="same",
        hint=f"run the same command again: it goes on at byte {there:,}"
        if there
        else "run the same command again later",
    )


@contextlib.contextmanager
def _about(remote: Remote) -> Any:
    """Puts the file's name before what an error says."""
    try:
        yield
    except EngineError as error:
        if not error.message.startswith(remote.name):
            error.message = f"{remote.name}: {error.message}"
            error.args = (error.message,)
        raise
