"""The engines: one adapter a kind (`freehold.own.engine.Adapter`), data and pure functions.

llamacpp.py          llama.cpp inside our own child process, llamacpp_worker.py; the engine where none is named
llama_server.py      the llama-server binary: the same HTTP surface
transformers.py      `transformers serve`: the reference, slow and right
vllm.py sglang.py trtllm.py   engines for GPUs
mlx.py               `mlx_lm.server`, for Apple machines
ollama.py lmstudio.py   daemons that run already
command.py           any command line that ends in an OpenAI-compatible server
server.py            what the adapters of servers share
describe.py          what is known of a model before it is loaded
metrics.py           Prometheus text -> Progress
keeper.py            the process between the steward and a server
"""

from freehold.errors import EngineError
from freehold.own.engine import Adapter
from freehold.own.engines.command import Command
from freehold.own.engines.describe import describe
from freehold.own.engines.llama_server import LlamaServer
from freehold.own.engines.llamacpp import LlamaCpp
from freehold.own.engines.lmstudio import LmStudio
from freehold.own.engines.mlx import Mlx
from freehold.own.engines.ollama import Ollama
from freehold.own.engines.sglang import Sglang
from freehold.own.engines.transformers import Transformers
from freehold.own.engines.trtllm import TrtLlm
from freehold.own.engines.vllm import Vllm

__all__ = ["ENGINES", "adapter", "adapters", "describe"]

ENGINES = (
    "llamacpp", "llama-server", "transformers", "vllm", "sglang", "trtllm", "ollama", "lmstudio", "mlx", "command",
)  # fmt: skip


def adapters(drain: float = 30.0) -> dict[str, Adapter]:
    """Returns all adapters by name. `drain` is how many seconds our own worker lets requests finish."""
    found: tuple[Adapter, ...] = (
        LlamaCpp(drain=drain), LlamaServer(), Transformers(), Vllm(), Sglang(), TrtLlm(), Ollama(), LmStudio(), Mlx(),
        Command(),
    )  # fmt: skip
    return {one.name: one for one in found}


def adapter(name: str, drain: float = 30.0) -> Adapter:
    """Raises EngineError (code engine_missing) for a name that is none of `ENGINES`."""
    found = adapters(drain).get(name)
    if found is None:
        raise EngineError(
            f"there is no engine {name!r}", code="engine_missing", retry="no", hint=f"one of {', '.join(ENGINES)}"
        )
    return found
