"""How each engine is started in a container: image, command line, port, key, and what tells that it makes progress.

Command lines are those of the engines' own documentation. The versions below are the ones whose flags and routes this
file was written against; `--image` replaces an image. The key is never part of a command line: it is an environment
variable, from a Secret, or `KEY` marks its place where an engine takes it by flag only.
"""

from collections.abc import Callable

from msgspec import Struct, field, structs

from freehold.errors import EngineError
from freehold.own.render.deployment import PROMPT_CACHE, Deployment

EVERYWHERE = "0.0.0.0"  # noqa: S104 in a container, whose network decides who reaches it
VLLM, SGLANG, TRANSFORMERS, LLAMACPP = "0.33.0", "0.5.23", "5.23.0", "b11549"
KEY = "$(FREEHOLD_ENGINE_KEY)"
"""As Kubernetes writes a variable in a command line; other targets replace it by their own form."""
KEY_VARIABLE = "FREEHOLD_ENGINE_KEY"


class Where(Struct, frozen=True):
    """Paths on the other side. `model` is the file or folder the engine opens, `adapters` maps names to theirs."""

    model: str
    projector: str | None = None
    adapters: dict[str, str] = field(default_factory=dict)


class Recipe(Struct, frozen=True):
    """`image` None: nobody publishes one that we know. `packages` are what pip installs instead.

    `key` is the environment variable in which the engine looks for the key that it then demands; None: it knows no
    keys. `counters` are metrics that move whenever it works. `bare`: its image has no Python, only a shell and curl.
    """

    image: str | None
    command: tuple[str, ...]
    port: int
    packages: tuple[str, ...] = ()
    key: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    counters: tuple[str, ...] = ()
    bare: bool = False


def recipe(deployment: Deployment, where: Where, *, image: str | None = None) -> Recipe:
    """Returns how to run `deployment` in a container. Raises EngineError where no image is known and none is given."""
    made = RECIPES[deployment.engine](deployment, where)
    return structs.replace(made, image=image or made.image)


def image_of(made: Recipe, deployment: Deployment) -> str:
    """Returns the image. Raises EngineError where none is known."""
    if made.image is None:
        raise EngineError(
            f"no published image is known that runs {deployment.engine} by itself",
            code="no_image",
            retry="no",
            hint=f"give one that holds {' '.join(made.packages)}: --image REGISTRY/NAME:TAG",
        )
    return made.image


def _llama(deployment: Deployment, where: Where) -> Recipe:
    """https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md"""
    build = f"server-cuda-{LLAMACPP}" if deployment.gpus else f"server-{LLAMACPP}"
    words = [
        "/app/llama-server", "--model", where.model, "--alias", deployment.name, "--host", EVERYWHERE, "--port", "8080",
        "--ctx-size", str(deployment.context * deployment.parallel), "--parallel", str(deployment.parallel),
        "--jinja", "--metrics", "--no-webui", "--cache-ram", str(PROMPT_CACHE >> 20),
    ]  # fmt: skip
    if deployment.threads:
        words += ["--threads", str(deployment.threads)]
    if deployment.gpu_layers:
        words += ["--n-gpu-layers", str(deployment.gpu_layers)]
    if where.projector:
        words += ["--mmproj", where.projector]
    if deployment.adapters:
        raise EngineError(
            "llama-server serves no adapter as a model of its own",
            code="no_adapters",
            retry="no",
            hint="--engine vllm does",
        )
    return Recipe(
        f"ghcr.io/ggml-org/llama.cpp:{build}",
        (*words, *deployment.args),
        8080,
        key="LLAMA_API_KEY",
        counters=("llamacpp:n_decode_total", "llamacpp:tokens_predicted_total", "llamacpp:prompt_tokens_total"),
        bare=True,
    )


def _vllm(deployment: Deployment, where: Where) -> Recipe:
    """https://docs.vllm.ai/en/stable/cli/serve/"""
    words = [
        "vllm", "serve", where.model, "--served-model-name", deployment.name, "--host", EVERYWHERE, "--port", "8000",
        "--max-model-len", str(deployment.context), "--max-num-seqs", str(deployment.parallel),
    ]  # fmt: skip
    words += _split(deployment, "--tensor-parallel-size")
    if deployment.remote_code:
        words.append("--trust-remote-code")
    if deployment.adapters:
        words += ["--enable-lora", "--max-loras", str(len(deployment.adapters)), "--lora-modules"]
        words += [f"{name}={path}" for name, path in where.adapters.items()]
    return Recipe(
        f"vllm/vllm-openai:v{VLLM}",
        (*words, *deployment.args),
        8000,
        packages=(f"vllm=={VLLM}",),
        key="VLLM_API_KEY",
        env={"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        counters=("vllm:generation_tokens_total", "vllm:prompt_tokens_total"),
    )


def _sglang(deployment: Deployment, where: Where) -> Recipe:
    """https://docs.sglang.io/advanced_features/server_arguments.html"""
    words = [
        "python3", "-m", "sglang.launch_server", "--model-path", where.model, "--served-model-name", deployment.name,
        "--host", EVERYWHERE, "--port", "30000", "--context-length", str(deployment.context),
        "--max-running-requests", str(deployment.parallel), "--enable-metrics", "--api-key", KEY,
    ]  # fmt: skip
    words += _split(deployment, "--tp-size")
    if deployment.remote_code:
        words.append("--trust-remote-code")
    if deployment.adapters:
        words += ["--enable-lora", "--lora-paths", *(f"{name}={path}" for name, path in where.adapters.items())]
    return Recipe(
        f"lmsysorg/sglang:v{SGLANG}",
        (*words, *deployment.args),
        30000,
        packages=(f"sglang[all]=={SGLANG}",),
        key=KEY_VARIABLE,
        env={"HF_HUB_OFFLINE": "1"},
        counters=("sglang:generation_tokens_total", "sglang:prompt_tokens_total"),
    )


def _transformers(deployment: Deployment, where: Where) -> Recipe:
    """https://huggingface.co/docs/transformers/serving; it knows no keys and has no route with counters."""
    if deployment.adapters:
        raise EngineError(
            "transformers serve takes no LoRA adapters", code="no_adapters", retry="no", hint="--engine vllm does"
        )
    words = [
        "transformers", "serve", where.model, "--host", EVERYWHERE, "--port", "8000", "--continuous-batching",
    ]  # fmt: skip
    if deployment.remote_code:
        words.append("--trust-remote-code")
    return Recipe(
        None,
        (*words, *deployment.args),
        8000,
        packages=(f"transformers[serving]=={TRANSFORMERS}", "torch"),
        env={"HF_HUB_OFFLINE": "1"},
    )


def _split(deployment: Deployment, flag: str) -> list[str]:
    """Spreads the model over the replica's GPUs, unless the arguments say how."""
    said = any(arg.split("=")[0] in (flag, "--tp", "-tp", "-pp", "--pipeline-parallel-size") for arg in deployment.args)
    return [flag, str(deployment.gpus)] if deployment.gpus > 1 and not said else []


RECIPES: dict[str, Callable[[Deployment, Where], Recipe]] = {
    "llamacpp": _llama,
    "llama-server": _llama,
    "vllm": _vllm,
    "sglang": _sglang,
    "transformers": _transformers,
}
