"""Brings files into a folder: `python3 fetch.py LIST FOLDER`; LIST is JSON, [{"name", "url", "sha256", "size"}, ...].

A file that is there with the right hash stays. A transfer that breaks is taken up where it ended. What has another hash
than it should is deleted and ends the program: an engine must never see it. HF_TOKEN, where it is set, is sent to the
host of the URL and nobody else: a hub redirects to storage that has its own signature.

Exit status: 0 all there, 1 not to be had or not what it should be.
"""

import hashlib
import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request

TRIES = 8
CHUNK = 1 << 20
TIMEOUT = 60.0


class KeepSecrets(urllib.request.HTTPRedirectHandler):
    """Drops the token when a redirect leads to another host."""

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req: urllib.request.Request, fp, code, msg, headers, newurl: str
    ) -> "urllib.request.Request | None":
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and new.host != req.host:
            new.remove_header("Authorization")
        return new


def main(words: "list[str]") -> int:
    with open(words[0], encoding="utf-8") as file:
        wanted = json.load(file)
    for one in wanted:
        target = os.path.join(words[1], *one["name"].split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            fetch(one["url"], target, one["sha256"], one["size"])
        except (OSError, ValueError) as error:
            say(f"{one['name']}: {error}")
            return 1
    return 0


def fetch(url: str, target: str, sha256: str, size: int) -> None:
    """Brings one file. Raises OSError when it cannot be had, ValueError when it is not what it should be."""
    if os.path.exists(target):
        if os.path.getsize(target) == size and digest(target) == sha256:
            say(f"{target} is there")
            return
        os.unlink(target)
    part = f"{target}.{socket.gethostname()}.part"
    for attempt in range(TRIES):
        try:
            receive(url, part, size)
            break
        except (OSError, EOFError) as error:
            if attempt == TRIES - 1 or final(error):
                raise OSError(f"{url.split('?')[0]}: {error}") from error
            time.sleep(pause(attempt, error))
    found = digest(part)
    if found != sha256:
        os.unlink(part)
        raise ValueError(f"its sha256 is {found}, not {sha256}")
    os.replace(part, target)
    say(f"{target} is there, {size} bytes, sha256 {sha256}")


def receive(url: str, part: str, size: int) -> None:
    """Adds to `part` what is missing. Raises EOFError when the other side ends too early."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    if have > size:
        os.unlink(part)
        have = 0
    if have == size:
        return
    headers = {"User-Agent": "freehold-fetch"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 the list is written by freehold render
    token = os.environ.get("HF_TOKEN")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.build_opener(KeepSecrets).open(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        with open(part, "ab" if resumed else "wb") as file:
            have = have if resumed else 0
            while have < size:
                chunk = answer.read(min(CHUNK, size - have))
                if not chunk:
                    raise EOFError(f"the connection ended after {have} of {size} bytes")
                file.write(chunk)
                have += len(chunk)


def final(error: Exception) -> bool:
    """Whether another try would end the same way."""
    return isinstance(error, urllib.error.HTTPError) and error.code in (400, 401, 403, 404, 410, 451)


def pause(attempt: int, error: Exception) -> float:
    asked = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return min(60.0, float(asked)) if asked.isdecimal() else min(30.0, 0.5 * (1 << attempt))


def digest(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
