"""The child process that runs llama.cpp: `python -m freehold.own.engines.llamacpp_worker NAME`, started by the steward.

    stdin    one line of JSON (`llamacpp.WorkerMessage`); then it stays open, and its end means: the parent is gone
    stdout   one line of JSON, {"url": ...} or {"error": ...}, and nothing else ever
    stderr   llama.cpp's own words, errors only; the parent keeps the last of them

It dies with its parent twice over: the kernel kills it (PR_SET_PDEATHSIG), and where the kernel does not, end of file
on stdin ends it. SIGTERM lets running requests end, for a limited time. The server listens on 127.0.0.1 only.
"""

import ctypes
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from typing import Any

import msgspec

from freehold.own.engines.llamacpp import WorkerMessage

ERRORS = 1
POLL = 0.05
QUIET_POLLS = 4
"""A request that is worked on no more may still have its last bytes on their way to the client."""
_PR_SET_PDEATHSIG = 1
_BUSY = re.compile(r"^llamacpp:requests_(?:processing|deferred) ([0-9.]+)", re.MULTILINE)


def main() -> int:
    """Runs until SIGTERM or the parent's death. Returns the exit status: 0 drained, 3 could not start."""
    die_with_parent()
    answer = _private_stdout()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    line = sys.stdin.buffer.readline(1 << 20)
    if not line:
        return 0
    message = msgspec.json.decode(line, type=WorkerMessage)
    _limit_memory(message.memory_limit)
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        server = serve(message)
    except (RuntimeError, OSError, ImportError, ValueError, MemoryError) as error:
        _say(answer, {"error": _why(message, error), "kind": "port" if isinstance(error, OSError) else "load"})
        return 3
    _say(answer, {"url": server.listening_address})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    deadline = time.monotonic() + message.drain
    quiet = 0
    while time.monotonic() < deadline and quiet < QUIET_POLLS:
        quiet = 0 if busy(server) else quiet + 1
        if signal.sigtimedwait({signal.SIGINT}, POLL):
            break
    sys.stderr.flush()
    os._exit(0)


def serve(message: WorkerMessage) -> Any:
    """Loads the model and listens; returns the server. Raises RuntimeError when llama.cpp gives up."""
    _check_port(message.port)
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.verbosity = ERRORS
    params.model.path = message.path
    params.model_alias = {message.name}
    params.hostnames = ["127.0.0.1"]
    params.port = message.port
    params.api_keys = [message.api_key]
    params.n_ctx = message.context * message.parallel
    params.n_parallel = message.parallel
    params.n_batch = params.n_ubatch = message.batch
    params.n_gpu_layers = message.gpu_layers
    params.cpuparams.n_threads = message.threads
    params.cpuparams_batch.n_threads = message.threads
    params.embedding = True
    if message.pooling == "mean":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    elif message.pooling == "rank":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if message.loras:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in message.loras]
        params.lora_init_without_apply = True
    if message.projector:
        params.mmproj.path = message.projector
    params.cache_ram_mib = message.prompt_cache_mib
    params.use_jinja = True
    if message.chat_template is not None:
        params.chat_template = message.chat_template
    params.antiprompt = message.ends
    # As the templates' own default: llama.cpp says "false" to those in which it finds no marks of thinking.
    params.default_template_kwargs = {"enable_thinking": "true"}
    params.sse_ping_interval = -1  # its pings come even when the engine hangs, which must be seen
    params.warmup = False
    params.fit_params = False
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.ui = False
    params.offline = True
    params.cors_origins = "http://127.0.0.1"
    params.cors_credentials = False
    return xllamacpp.Server(params)


def busy(server: Any) -> bool:
    """Whether any request is being worked on or waits, by llama.cpp's own count."""
    text = server.handle_metrics()
    return any(float(value) > 0 for value in _BUSY.findall(text if isinstance(text, str) else str(text)))


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the thread that started it ends (Linux; elsewhere stdin must do)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _limit_memory(limit: int) -> None:
    """Past `limit` bytes an allocation fails, which llama.cpp answers with 400, instead of exhausting the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _watch_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _private_stdout() -> int:
    """Returns a descriptor only we know; what native code prints to stdout goes to stderr."""
    answer = os.dup(1)
    os.set_inheritable(answer, False)
    os.dup2(2, 1)
    return answer


def _say(descriptor: int, value: dict[str, str]) -> None:
    os.write(descriptor, msgspec.json.encode(value) + b"\n")
    os.close(descriptor)


def _check_port(port: int) -> None:
    """llama.cpp says only that it failed; find out here whether the port is the reason."""
    if port:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def _why(message: WorkerMessage, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"port {message.port} on 127.0.0.1 cannot be had: {error.strerror}"
    if isinstance(error, ImportError):
        return f"xllamacpp cannot be imported: {error}"
    return "llama.cpp could not load the model"


if __name__ == "__main__":
    sys.exit(main())
