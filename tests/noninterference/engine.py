"""An engine that keeps every byte it is sent: `engine.py PORT FILE`. Run by the gateway's steward."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

from sinks import KeepingProvider


async def serve(port: int, path: Path) -> None:
    provider = KeepingProvider(b"")
    file = path.open("ab", buffering=0)

    class Written(list[bytes]):
        def append(self, data: bytes) -> None:
            file.write(data)

    provider.kept.raw = Written()
    provider.kept.requests = Written()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    await provider.listen(sock, None)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await provider.stop()


asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
