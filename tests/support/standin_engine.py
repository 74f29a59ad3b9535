"""A stand-in for engines that cannot be installed here: NOT the real thing, and it says so.

    python standin_engine.py vllm serve MODEL --port 8000 ...
    python standin_engine.py sglang | trtllm-serve | llama-server | ollama | lms | mlx_lm.server | plain ...

It speaks their command lines and HTTP surfaces as their documentation and sources give them: flags it does not know are
an error, keys are asked for where the real one asks, routes that need a switch are 404 without it, metrics bear the
real names. Its "model" repeats the last words it was given, one word a token. `write_commands` makes it callable under
the real names. Only the standard library, so that it starts in a moment.

Misbehaviour, by the environment variable STANDIN (words separated by commas):

    silent              never listens                    loading        listens, and loads for ever
    slow=SECONDS        loads that long                  exits          a traceback, then status 1
    segfault            dies of SIGSEGV while loading    garbage        bytes that are no text on stdout and stderr
    taken=FILE          once: says that the port is taken, and ends (FILE remembers)
    everywhere          listens on all addresses         deaf           ignores SIGTERM
    dies=N              ends during its Nth generation   wedges=N       from its Nth on: health is well, no byte comes
    escapes=FILE        forks a child that leaves the session and outlives it; its pid goes to FILE
    pace=SECONDS        between tokens
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SAYS = "stand-in engine: not the real one"
COMMANDS = ("vllm", "sglang", "trtllm-serve", "llama-server", "ollama", "lms", "mlx_lm.server", "plain")
FOREVER = 3600.0
Answer = tuple[int, Any]


def write_commands(folder: Path) -> Path:
    """Writes launch scripts with the engines' real names into `folder`, to be put on the PATH; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" {name} "$@"\n')
        script.chmod(0o755)
    return folder


class Faults:
    def __init__(self, text: str) -> None:
        self._words = dict(word.partition("=")[::2] for word in text.split(",") if word)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def text(self, word: str) -> str:
        return self._words[word]

    def number(self, word: str, default: float) -> float:
        return float(self._words.get(word, default))


class Engine:
    """What all of them share: models, LoRA weights, counters, sleep. Subclasses say how they differ."""

    owner = "stand-in"
    loads_before_listening = True

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        self.options = options
        self.faults = faults
        self.loras: dict[str, str] = {}
        self.asleep: set[str] = set()
        self.loading = True
        self.lock = threading.Lock()
        self.generated = self.prompted = self.running = self.generations = self.steps = 0

    # what differs

    @property
    def names(self) -> list[str]:
        return [self.options.name]

    def key_for(self, path: str) -> str:
        """The key that `path` asks for; empty for none."""
        return ""

    def health(self) -> Answer:
        return 200, ""

    def metrics(self) -> str | None:
        return None

    def choose(self, body: dict[str, Any]) -> str:
        """Returns the name of the LoRA in use, empty for the base. Raises KeyError for a model it does not have."""
        name = body.get("model")
        if name in self.loras:
            return str(name)
        if name not in self.names:
            raise KeyError(name)
        return ""

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        return None

    # what does not

    def counters(self, names: dict[str, float], label: str) -> str:
        lines = [f"# a {SAYS}"]
        for name, value in names.items():
            lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", f"{name}{label} {value}"]
        return "\n".join(lines) + "\n"

    def words(self, body: dict[str, Any]) -> list[str]:
        """The tokens of the answer."""
        text = body.get("prompt") or ""
        for message in body.get("messages", ()):
            content = message.get("content")
            text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or ())
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        lora = self.choose(body)
        said = ([f"[{lora}]"] if lora else []) + ["stand-in:", *str(text).split()]
        return said[: int(most)]

    def tokens(self, body: dict[str, Any]) -> Iterator[str]:
        words = self.words(body)
        with self.lock:
            self.generations += 1
            number = self.generations
            self.running += 1
            self.prompted += 1
        try:
            if "wedges" in self.faults and number >= self.faults.number("wedges", 1):
                time.sleep(FOREVER)
            for index, word in enumerate(words):
                if "dies" in self.faults and number >= self.faults.number("dies", 1):
                    os._exit(9)
                time.sleep(self.faults.number("pace", 0.0))
                with self.lock:
                    self.generated += 1
                    self.steps += 1
                yield word if index == 0 else f" {word}"
        finally:
            with self.lock:
                self.running -= 1

    def vector(self, text: str) -> list[float]:
        return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


class Vllm(Engine):
    owner = "vllm"

    @property
    def names(self) -> list[str]:
        return list(self.options.served_model_name or [self.options.model])

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        for module in options.lora_modules or ():
            one = json.loads(module)
            self.loras[one["name"]] = one["path"]
        if self.loras and not options.enable_lora:
            sys.exit("ValueError: --lora-modules without --enable-lora")

    def key_for(self, path: str) -> str:
        guarded = path.startswith(("/v1", "/v2", "/inference"))
        return (self.options.api_key or os.environ.get("VLLM_API_KEY", "")) if guarded else ""

    def metrics(self) -> str:
        values = {
            "vllm:num_requests_running": float(self.running),
            "vllm:num_requests_waiting": 0.0,
            "vllm:kv_cache_usage_perc": 0.25,
            "vllm:prompt_tokens_total": float(self.prompted),
            "vllm:generation_tokens_total": float(self.generated),
        }
        return self.counters(values, f'{{engine="0",model_name="{self.names[0]}"}}')

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        if path == "/version":
            return 200, {"version": SAYS}
        if path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() not in ("1", "true"):
                return None
            return load_lora(self, path.startswith("/v1/load"), body)
        if os.environ.get("VLLM_SERVER_DEV_MODE") != "1" or (method != "POST" and path != "/is_sleeping"):
            return None
        if path == "/sleep" and self.options.enable_sleep_mode:
            self.asleep = {"weights", "kv_cache"} | ({"content"} if query.get("level") == ["2"] else set())
            return 200, ""
        if path == "/wake_up":
            self.asleep -= set(query.get("tags", ["weights", "kv_cache"]))
            return 200, ""
        if path == "/collective_rpc" and body.get("method") == "reload_weights" and "weights" not in self.asleep:
            self.asleep.discard("content")
            return 200, {"results": [None]}
        return (200, {"is_sleeping": bool(self.asleep)}) if path == "/is_sleeping" else None


class Sglang(Engine):
    owner = "sglang"
    loads_before_listening = False

    @property
    def names(self) -> list[str]:
        return [self.options.served_model_name or self.options.model_path]

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        self.key = options.api_key or ""
        if options.config:
            said = json.loads(Path(options.config).read_text())  # JSON is YAML
            if unknown := set(said) - {"api-key", "model-path", "port"}:
                sys.exit(f"unknown keys in the configuration: {unknown}")
            self.key = said.get("api-key", self.key)
        for entry in options.lora_paths or ():
            one = json.loads(entry)
            self.loras[one["lora_name"]] = one["lora_path"]

    def key_for(self, path: str) -> str:
        return "" if path.startswith(("/health", "/metrics")) else self.key

    def health(self) -> Answer:
        return (503, "") if self.loading else (200, "")

    def metrics(self) -> str | None:
        if not self.options.enable_metrics:
            return None
        values = {
            "sglang:num_running_reqs": float(self.running),
            "sglang:num_queue_reqs": 0.0,
            "sglang:token_usage": 0.25,
            "sglang:prompt_tokens_total": float(self.prompted),
            "sglang:generation_tokens_total": float(self.generated),
        }
        return self.counters(values, f'{{model_name="{self.names[0]}",tp_rank="0"}}')

    def choose(self, body: dict[str, Any]) -> str:
        if body.get("model") not in self.names:
            raise KeyError(body.get("model"))
        wanted = body.get("lora_path") or ""
        if wanted and wanted not in self.loras:
            raise KeyError(wanted)
        return str(wanted)

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        if path == "/health_generate":
            return (503, "") if self.loading else (200, "".join(self.tokens({"model": self.names[0], "prompt": "a"})))
        if method == "POST" and path in ("/load_lora_adapter", "/unload_lora_adapter"):
            if not self.options.enable_lora:
                return 400, {"success": False, "error_message": "LoRA is not enabled"}
            return load_lora(self, path.startswith("/load"), body)
        if path in ("/release_memory_occupation", "/resume_memory_occupation") and method == "POST":
            if not self.options.enable_memory_saver:
                return 500, "memory saver is not enabled"
            lost = set() if self.options.enable_weights_cpu_backup else {"content"}
            self.asleep = {"weights", "kv_cache"} | lost if "release" in path else self.asleep & {"content"}
            return 200, None
        if path == "/update_weights_from_disk" and method == "POST":
            if not Path(body["model_path"]).exists():
                return 400, {"success": False, "message": "no such weights"}
            self.asleep.discard("content")
            return 200, {"success": True, "message": "Succeeded to update model weights."}
        return None


class TrtLlm(Engine):
    owner = "tensorrt_llm"

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        said = json.loads(Path(options.extra_llm_api_options).read_text()) if options.extra_llm_api_options else {}
        self.statistics = said.get("enable_iter_perf_stats", False)
        self.directories = said.get("lora_config", {}).get("lora_dir", [])
        self.reported = 0

    @property
    def names(self) -> list[str]:
        return [Path(self.options.model).name]

    def metrics(self) -> str:
        """A list of the iterations since the last question."""
        if not self.statistics or self.steps == self.reported:
            return "[]"
        self.reported = self.steps
        blocks = {"maxNumBlocks": 100, "usedNumBlocks": 25}
        one = {"iter": self.steps, "numActiveRequests": self.running, "numQueuedRequests": 0, "kvCacheStats": blocks}
        return json.dumps([one])

    def choose(self, body: dict[str, Any]) -> str:
        """Any name will do; LoRA weights are asked for by path."""
        wanted = body.get("lora_request")
        if wanted is None:
            return ""
        if wanted["lora_path"] not in self.directories or not isinstance(wanted["lora_int_id"], int):
            raise KeyError(wanted["lora_name"])
        return str(wanted["lora_name"])


class LlamaServer(Engine):
    owner = "llamacpp"
    loads_before_listening = False

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        self.adapters = options.lora or []

    @property
    def names(self) -> list[str]:
        return [self.options.alias or self.options.model]

    def key_for(self, path: str) -> str:
        open_to_all = path in ("/health", "/v1/health", "/models", "/v1/models")
        return "" if open_to_all else self.options.api_key or os.environ.get("LLAMA_API_KEY", "")

    def health(self) -> Answer:
        if self.loading:
            return 503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
        return 200, {"status": "ok"}

    def metrics(self) -> str | None:
        if not self.options.metrics:
            return None
        values = {
            "llamacpp:prompt_tokens_total": float(self.prompted),
            "llamacpp:tokens_predicted_total": float(self.generated),
            "llamacpp:n_decode_total": float(self.steps),
            "llamacpp:requests_processing": float(self.running),
            "llamacpp:requests_deferred": 0.0,
        }
        return self.counters(values, "")

    def choose(self, body: dict[str, Any]) -> str:
        """Any name will do; LoRA weights are chosen by number and scale, none of them where they were not applied."""
        default = [] if self.options.lora_init_without_apply else [{"id": id_} for id_ in range(len(self.adapters))]
        for one in body.get("lora", default):
            if one.get("scale", 1.0) != 0.0:
                return Path(self.adapters[one["id"]]).stem
        return ""

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        if path == "/props":
            vision = {"vision": bool(self.options.mmproj), "audio": False}
            return 200, {"modalities": vision, "chat_template_caps": {"supports_tools": self.options.jinja}}
        if path == "/lora-adapters":
            return 200, [{"id": number, "path": one, "scale": 0.0} for number, one in enumerate(self.adapters)]
        if path in ("/v1/embeddings", "/embeddings") and not self.options.embeddings:
            return 501, {"error": {"message": "This server does not support embeddings. Start it with `--embeddings`"}}
        if path in ("/v1/rerank", "/rerank") and not self.options.reranking:
            return 501, {"error": {"message": "This server does not support reranking. Start it with `--reranking`"}}
        return None


class Mlx(Engine):
    owner = "mlx"

    def choose(self, body: dict[str, Any]) -> str:
        """Another name would be fetched from the hub, which is not there."""
        if body.get("model", "default_model") not in ("default_model", self.options.model):
            raise KeyError(body["model"])
        return ""

    def health(self) -> Answer:
        return 200, {"status": "ok"}


class Plain(Engine):
    """Any other server: for the adapter `command`."""

    def key_for(self, path: str) -> str:
        return os.environ.get("PLAIN_KEY", "")


class Ollama(Engine):
    """A daemon that has the models of STANDIN_MODELS."""

    loads_before_listening = False

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        self.has = os.environ.get("STANDIN_MODELS", "tiny:latest").split()
        self.loaded: dict[str, dict[str, Any]] = {}

    def choose(self, body: dict[str, Any]) -> str:
        """A model that is not loaded is loaded by asking it."""
        if body.get("model") not in self.has:
            raise KeyError(body.get("model"))
        self.loaded.setdefault(str(body["model"]), {})
        return ""

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        name = body.get("model", "")
        if path == "/api/version":
            return 200, {"version": SAYS}
        if path == "/api/tags":
            return 200, {"models": [{"name": one, "model": one} for one in self.has]}
        if path == "/api/ps":
            return 200, {"models": [{"name": one, "model": one, "size": 1, "size_vram": 0} for one in self.loaded]}
        if path in ("/api/show", "/api/generate", "/api/embed") and name not in self.has:
            return 404, {"error": f"model '{name}' not found"}
        if path == "/api/show":
            able = ["embedding"] if "embed" in name else ["completion", "tools"]
            return 200, {"capabilities": able, "details": {}}
        if path == "/api/generate" and "embed" in name:
            return 400, {"error": f'"{name}" does not support generate'}
        if path in ("/api/generate", "/api/embed") and not body.get("prompt") and not body.get("input"):
            if body.get("keep_alive") == 0:
                self.loaded.pop(name, None)
                return 200, {"model": name, "response": "", "done": True, "done_reason": "unload"}
            time.sleep(self.faults.number("slow", 0.0))
            self.loaded[name] = body.get("options", {})
            return 200, {"model": name, "response": "", "done": True, "done_reason": "load"}
        return None


class LmStudio(Engine):
    """A daemon that has the models of STANDIN_MODELS."""

    loads_before_listening = False

    def __init__(self, options: argparse.Namespace, faults: Faults) -> None:
        super().__init__(options, faults)
        self.has = os.environ.get("STANDIN_MODELS", "tiny").split()
        self.loaded: dict[str, dict[str, Any]] = {}

    def key_for(self, path: str) -> str:
        return os.environ.get("STANDIN_TOKEN", "")

    def choose(self, body: dict[str, Any]) -> str:
        if body.get("model") not in self.loaded:
            raise KeyError(body.get("model"))
        return ""

    def other(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> Answer | None:
        if path == "/api/v1/models" and method == "GET":
            return 200, {"models": [self._entry(name) for name in self.has]}
        if path == "/api/v1/models/load":
            name = body.get("model")
            if name not in self.has:
                return 404, {"error": {"type": "model_not_found", "message": f"no model {name}"}}
            if unknown := set(body) - {"model", "context_length", "eval_batch_size", "flash_attention", "num_experts",
                                       "offload_kv_cache_to_gpu", "echo_load_config"}:  # fmt: skip
                return 400, {"error": {"type": "invalid_request", "message": f"unrecognized keys {unknown}"}}
            self.loaded[name] = {"context_length": body.get("context_length", 4096)}
            return 200, {"type": "llm", "instance_id": name, "load_time_seconds": 0.0, "status": "loaded"}
        if path == "/api/v1/models/unload":
            if self.loaded.pop(str(body.get("instance_id")), None) is None:
                return 404, {"error": {"type": "model_not_found", "message": "not loaded"}}
            return 200, {"instance_id": body["instance_id"]}
        return None

    def _entry(self, name: str) -> dict[str, Any]:
        instances = [{"id": name, "config": self.loaded[name]}] if name in self.loaded else []
        if "embed" in name:
            return {"type": "embedding", "key": name, "loaded_instances": instances}
        able = {"vision": False, "trained_for_tool_use": True}
        return {"type": "llm", "key": name, "loaded_instances": instances, "capabilities": able}


def load_lora(engine: Engine, load: bool, body: dict[str, Any]) -> Answer:
    """vLLM and SGLang agree on the fields."""
    name = body.get("lora_name")
    if not isinstance(name, str):
        return 400, {"error": {"message": "lora_name is required"}}
    if not load:
        if engine.loras.pop(name, None) is None:
            return 404, {"error": {"message": f"The lora adapter '{name}' cannot be found."}}
        return 200, f"Success: LoRA adapter '{name}' removed successfully."
    if name in engine.loras:
        return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
    if not (Path(str(body.get("lora_path"))) / "adapter_config.json").is_file():
        return 404, {"error": {"message": f"No adapter found for {body.get('lora_path')}"}}
    engine.loras[name] = body["lora_path"]
    return 200, f"Success: LoRA adapter '{name}' added successfully."


# command lines


def flags(parser: argparse.ArgumentParser, **known: Any) -> None:
    """`port=int` is --port N, `lora=list` is repeatable, `metrics=bool` is a switch, `modules="+"` takes several."""
    for name, kind in known.items():
        flag = (
            name if name.startswith("-") else "--" + (name if parser.prog == "trtllm-serve" else name.replace("_", "-"))
        )
        if kind is bool:
            parser.add_argument(flag, action="store_true")
        elif kind is list:
            parser.add_argument(flag, action="append")
        elif kind == "+":
            parser.add_argument(flag, nargs="+")
        else:
            parser.add_argument(flag, type=kind)


def parse(command: str, words: list[str]) -> tuple[type[Engine], argparse.Namespace]:
    """Returns the engine and its options; an unknown flag ends the program with status 2, as in the real ones."""
    parser = argparse.ArgumentParser(prog=command, allow_abbrev=False)
    flags(parser, host=str, port=int)
    kind: type[Engine]
    if command in ("vllm", "sglang", "ollama"):
        parser.add_argument("verb", choices=["serve"])
    if command == "vllm":
        kind = Vllm
        parser.add_argument("model")
        flags(parser, served_model_name="+", api_key=str, max_model_len=int, max_num_seqs=int, lora_modules="+",
              gpu_memory_utilization=float, trust_remote_code=bool, enable_lora=bool, max_loras=int, max_lora_rank=int,
              enable_sleep_mode=bool, enable_auto_tool_choice=bool, tool_call_parser=str,
              disable_uvicorn_access_log=bool, tensor_parallel_size=int, dtype=str)  # fmt: skip
    elif command == "sglang":
        kind = Sglang
        flags(parser, model_path=str, served_model_name=str, api_key=str, config=str, context_length=int,
              max_running_requests=int, mem_fraction_static=float, trust_remote_code=bool, is_embedding=bool,
              enable_metrics=bool, enable_memory_saver=bool, enable_weights_cpu_backup=bool, enable_lora=bool,
              max_lora_rank=int, max_loras_per_batch=int, lora_target_modules="+", lora_paths="+",
              tp_size=int)  # fmt: skip
    elif command == "trtllm-serve":
        kind = TrtLlm
        parser.add_argument("model")
        flags(parser, backend=str, max_seq_len=int, max_batch_size=int, extra_llm_api_options=str,
              kv_cache_free_gpu_memory_fraction=float, trust_remote_code=bool, tp_size=int)  # fmt: skip
    elif command == "llama-server":
        kind = LlamaServer
        flags(parser, model=str, alias=str, api_key=str, ctx_size=int, parallel=int, n_gpu_layers=int, threads=int,
              batch_size=int, ubatch_size=int, jinja=bool, metrics=bool, embeddings=bool, reranking=bool, lora=list,
              sse_ping_interval=int, lora_init_without_apply=bool, mmproj=str, reverse_prompt=str)  # fmt: skip
    elif command == "mlx_lm.server":
        kind = Mlx
        flags(parser, model=str, adapter_path=str, decode_concurrency=int, log_level=str, trust_remote_code=bool)
    elif command == "lms":
        kind = LmStudio
        parser.add_argument("noun", choices=["server"])
        parser.add_argument("verb", choices=["start"])
    else:
        kind = Ollama if command == "ollama" else Plain
        flags(parser, name=str, weights=str)
    options = parser.parse_args(words)
    options.name = getattr(options, "name", None) or "tiny"
    if command == "ollama":
        options.host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
        options.port = int(port)
    weights = getattr(options, "model_path", None) or getattr(options, "model", None)
    if weights is not None and not Path(weights).exists():
        sys.exit(f"OSError: {weights} is not a local folder and there is no hub to ask")
    return kind, options


# HTTP


def handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = f"standin-{engine.owner}"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            key = engine.key_for(url.path)
            if key and self.headers.get("authorization") != f"Bearer {key}":
                self.answer(401, {"error": "Unauthorized"})
                return
            try:
                body = json.loads(sent) if sent else {}
            except ValueError:
                self.answer(400, {"error": {"message": "not JSON"}})
                return
            try:
                self.route(url.path, parse_qs(url.query), body)
            except KeyError as error:
                missing = f"The model `{error.args[0]}` does not exist."
                self.answer(404, {"error": {"message": missing, "type": "NotFoundError", "code": 404}})

        do_POST = do_GET  # noqa: N815

        def route(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> None:
            if path == "/health":
                self.answer(*engine.health())
                return
            if engine.loading:
                self.answer(503, {"error": {"message": "Loading model"}})
                return
            if path == "/metrics" and (text := engine.metrics()) is not None:
                self.answer(200, text)
                return
            if (found := engine.other(self.command, path, query, body)) is not None:
                self.answer(*found)
                return
            if path == "/v1/models":
                listed = [*engine.names, *engine.loras]
                entries = [{"id": name, "object": "model", "owned_by": engine.owner} for name in listed]
                self.answer(200, {"object": "list", "data": entries})
                return
            work: dict[str, Callable[[dict[str, Any]], None]] = {
                "/v1/chat/completions": lambda body: self.generate(body, chat=True),
                "/v1/completions": lambda body: self.generate(body, chat=False),
                "/v1/embeddings": self.embed,
                "/v1/rerank": self.rerank,
            }
            if path not in work or self.command != "POST":
                self.answer(404, {"detail": "Not Found"})
                return
            if engine.asleep:
                self.answer(500, {"error": {"message": f"asleep: {sorted(engine.asleep)}"}})
                return
            work[path](body)

        def generate(self, body: dict[str, Any], *, chat: bool) -> None:
            head = {
                "id": "stand-in",
                "created": int(time.time()),
                "model": body.get("model"),
                "system_fingerprint": SAYS,
            }
            kind = "chat.completion" if chat else "text_completion"
            tokens = engine.tokens(body)
            if not body.get("stream"):
                said = list(tokens)
                text: dict[str, Any] = {"message": {"role": "assistant", "content": "".join(said)}} if chat else {
                    "text": "".join(said)
                }  # fmt: skip
                choice = {"index": 0, "finish_reason": "stop", **text}
                usage = {"prompt_tokens": 1, "completion_tokens": len(said), "total_tokens": 1 + len(said)}
                self.answer(200, {**head, "object": kind, "choices": [choice], "usage": usage})
                return
            engine.choose(body)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            count = 0
            for word in tokens:
                count += 1
                piece: dict[str, Any] = {"delta": {"content": word}} if chat else {"text": word}
                choices = [{"index": 0, "finish_reason": None, **piece}]
                self.event({**head, "object": kind + ".chunk", "choices": choices})
            last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
            self.event({**head, "object": kind + ".chunk", "choices": [{"index": 0, "finish_reason": "stop", **last}]})
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": 1 + count}
                self.event({**head, "object": kind + ".chunk", "choices": [], "usage": usage})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")

        def embed(self, body: dict[str, Any]) -> None:
            engine.choose(body)
            texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
            data = [
                {"object": "embedding", "index": index, "embedding": engine.vector(str(text))}
                for index, text in enumerate(texts)
            ]
            usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
            self.answer(200, {"object": "list", "data": data, "model": body.get("model"), "usage": usage})

        def rerank(self, body: dict[str, Any]) -> None:
            results = [{"index": n, "relevance_score": 1.0 / (n + 1)} for n, _ in enumerate(body["documents"])]
            self.answer(200, {"object": "list", "model": body.get("model"), "results": results})

        def event(self, value: dict[str, Any]) -> None:
            self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

        def chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def answer(self, status: int, value: Any) -> None:
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "text/plain" if isinstance(value, str) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = False

    def server_bind(self) -> None:
        """Without the look-up of our own name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()


def misbehave(faults: Faults) -> None:
    """What goes wrong before it listens."""
    if "deaf" in faults:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "garbage" in faults:
        for stream in (1, 2):
            os.write(stream, bytes(range(256)) * 64 + b"\n" + b"x" * 100_000 + b"\n{]\n")
    if "taken" in faults and not Path(faults.text("taken")).exists():
        Path(faults.text("taken")).touch()
        sys.exit("[Errno 98] error while attempting to bind on address: address already in use")
    if "exits" in faults:
        try:
            raise RuntimeError("CUDA error: out of memory")
        except RuntimeError:
            traceback.print_exc()
            sys.exit(1)
    if "segfault" in faults:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "silent" in faults:
        time.sleep(FOREVER)


def escape(file: Path) -> None:
    """Leaves a process that is in no group of ours, and whose parent has ended."""
    if os.fork() == 0:
        os.setsid()
        orphan = os.fork()
        if orphan == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(FOREVER)
        file.write_text(str(orphan))
        os._exit(0)
    os.wait()


def main(command: str, words: list[str]) -> None:
    if words == ["--version"]:
        sys.stdout.write(f"{command} {SAYS}\n")
        return
    kind, options = parse(command, words)
    faults = Faults(os.environ.get("STANDIN", ""))
    sys.stderr.write(f"{command}: {SAYS}\n")
    engine = kind(options, faults)
    misbehave(faults)
    if "escapes" in faults:
        escape(Path(faults.text("escapes")))
    load = FOREVER if "loading" in faults else 0.0 if isinstance(engine, Ollama) else faults.number("slow", 0.0)
    if kind.loads_before_listening:
        time.sleep(load)
        engine.loading = False
    host = "0.0.0.0" if "everywhere" in faults else options.host or "127.0.0.1"
    server = Listener((host, options.port or 0), handler(engine))
    if not kind.loads_before_listening:
        threading.Timer(load, lambda: setattr(engine, "loading", False)).start() if load else setattr(
            engine, "loading", False
        )
    if "deaf" not in faults:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.stderr.write(f"listening on {host}:{server.server_port}\n")
    sys.stderr.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
