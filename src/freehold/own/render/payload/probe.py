"""Exits 0 when the engine in this container works: `python3 probe.py PORT MODEL [COUNTER ...]`.

A server's /health may answer 200 while its engine hangs, for hours. So this looks at work: have the engine's own
counters moved since the last look, it works, however busy it is. Have they not, it must answer a request for one token.
The key, where the engine wants one, is in FREEHOLD_ENGINE_KEY.
"""

import http.client
import json
import os
import sys
import tempfile

METRICS_TIMEOUT = 5
TOKEN_TIMEOUT = 20


def main(port: str, model: str, *counters: str) -> int:
    if counters and moved(port, counters):
        return 0
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 1, "temperature": 0})
    status, answer = ask("POST", port, "/v1/completions", body, TOKEN_TIMEOUT)
    if status != 200 or not json.loads(answer).get("choices"):
        sys.stderr.write(f"status {status}: {answer[:200]!r}\n")
        return 1
    return 0


def moved(port: str, counters: "tuple[str, ...]") -> bool:
    """Whether a counter differs from what it was at the last look; False at the first."""
    try:
        status, answer = ask("GET", port, "/metrics", None, METRICS_TIMEOUT)
    except (OSError, http.client.HTTPException):
        return False
    lines = [line for line in answer.decode(errors="replace").splitlines() if line.startswith(counters)]
    if status != 200 or not lines:
        return False
    file = os.path.join(tempfile.gettempdir(), f"freehold-probe-{port}")
    now = "\n".join(lines)
    before = ""
    if os.path.exists(file):
        with open(file, encoding="utf-8") as held:
            before = held.read()
    with open(file, "w", encoding="utf-8") as held:
        held.write(now)
    return bool(before) and now != before


def ask(method: str, port: str, path: str, body: "str | None", timeout: float) -> "tuple[int, bytes]":
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=timeout)
    headers = {"Content-Type": "application/json"}
    if os.environ.get("FREEHOLD_ENGINE_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["FREEHOLD_ENGINE_KEY"]
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(1)
