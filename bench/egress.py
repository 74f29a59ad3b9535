"""What strict mode costs: CPU per request, of all processes of the gateway together, against the same gateway without.

    python -m bench.egress [--requests 6000] [--rounds 3]

The two take turns in one run, on the same fake provider (plain HTTP on loopback), so that a noisy neighbour hits both.
`--no-witness` where there is no nft. Prints a table and one line of JSON.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import chat_body
from bench.processes import cpu_seconds, descendants

KEY = "fh-0123456789abcdef"
CONFIG = """
server: {{port: 0}}
box: false
discover: false
checks: {{}}
providers: {{openai: {{base_url: "{url}/v1", api_key: "sk-upstream-secret-000"}}}}
keys: [{{name: bench, key: "{key}"}}]
"""


class Gateway:
    """One running gateway, strict or not."""

    def __init__(self, folder: Path, url: str, *arguments: str) -> None:
        folder.mkdir()
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.format(url=url, key=KEY))
        self.process = _started("up", "--config", str(config), *arguments, home=folder / "home")
        self.url = _url(self.process)

    def cpu(self) -> float:
        return cpu_seconds([self.process.pid, *descendants(self.process.pid)])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def _started(*arguments: str, home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "freehold", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "FREEHOLD_HOME": str(home)},
    )


def _url(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["url"])


async def load(url: str, requests: int, connections: int, *, stream: bool) -> None:
    """Sends `requests`, a few at a time, and reads every answer whole. Raises RuntimeError for one that is not 200."""
    parts = urlsplit(url)
    body = chat_body("openai/gpt-4o", stream=stream).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for _ in range(count):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            if b"transfer-encoding: chunked" in answer:
                await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        writer.close()

    await asyncio.gather(*(one(requests // connections) for _ in range(connections)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-witness", action="store_true")
    asked = parser.parse_args()
    strict = ["--strict-egress", *(["--no-witness"] if asked.no_witness else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fake = _started("fake", home=folder)
        gateways: dict[str, Gateway] = {}
        try:
            url = _url(fake)
            gateways["open"] = Gateway(folder / "open", url)
            gateways["strict"] = Gateway(folder / "strict", url, *strict)
            found: dict[str, list[float]] = {}
            times: dict[str, list[float]] = {}
            for number in range(asked.rounds + 1):
                for kind, stream in (("whole", False), ("stream", True)):
                    for mode, gateway in gateways.items():
                        count = asked.requests // (4 if stream else 1) if number else 200
                        before, began = gateway.cpu(), time.perf_counter()
                        asyncio.run(load(gateway.url, count, 8, stream=stream))
                        time.sleep(0.7)  # the ledger's share, which comes a moment later
                        if number:
                            found.setdefault(f"{kind} {mode}", []).append((gateway.cpu() - before) / count * 1e6)
                            times.setdefault(f"{kind} {mode}", []).append((time.perf_counter() - began - 0.7) / count)
        finally:
            for gateway in gateways.values():
                gateway.end()
            fake.terminate()
            fake.wait(30)
    print(f"{'':16}{'CPU us per request':>20}{'requests/s':>14}")
    result = {}
    for what, values in found.items():
        cpu, rate = statistics.median(values), 1 / statistics.median(times[what])
        result[what] = {"cpu_us": round(cpu, 1), "rate": round(rate)}
        print(f"{what:16}{cpu:>20.1f}{rate:>14,.0f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
