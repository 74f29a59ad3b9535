"""Ray Serve: a config for `serve deploy`. https://docs.ray.io/en/latest/serve/production-guide/config.html

vLLM goes to Ray's own builder, `ray.serve.llm:build_openai_app`: replicas, placement over several nodes, routing by
prefix are Ray's. Every other engine goes to an application of this package (ray_app.py), which runs the same adapter
that the steward runs here; the nodes then need Freehold installed (`pip install 'freehold[own]' 'ray[serve]'`).

`serve deploy` replaces all applications of a cluster with those of the file: put this one beside the others.
"""

from typing import Any

import yaml

from freehold.errors import EngineError
from freehold.own.render.deployment import Deployment
from freehold.own.render.rendered import Options, Rendered, provider
from freehold.own.render.text import documents

PORT = 8000
OWN_APP = "freehold.own.render.ray_app:build"
LLM_APP = "ray.serve.llm:build_openai_app"
ENGINE = "Engine"
"""The name of ray_app's one deployment."""
REMOTE = ("s3://", "gs://", "abfss://", "azure://")
START_SECONDS = 1800


def write(deployment: Deployment, options: Options) -> Rendered:
    """Returns the config. Raises EngineError for what Ray cannot run or reach."""
    if deployment.weights.volume is not None:
        raise EngineError(
            "a volume of a Kubernetes cluster is nothing to Ray",
            code="not_renderable",
            retry="no",
            hint="leave --weights away",
        )
    through_ray = deployment.engine == "vllm"
    application = _llm(deployment, options) if through_ray else _own(deployment, options)
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": options.host, "port": PORT, "request_timeout_s": 900.0},
        "applications": [{"name": deployment.slug, "route_prefix": f"/{deployment.slug}", **application}],
    }
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104 compared, not bound
    return Rendered(
        text=documents([config], ["Written by freehold render ray-serve: " + deployment.weights.origin]),
        notes=_notes(deployment, options, through_ray=through_ray),
        provider=provider(
            deployment, "ray", f"http://{host}:{PORT}/{deployment.slug}/v1", key=False, timeouts={"first_byte": 600.0}
        ),
        model=deployment.name,
        extra=[one.name for one in deployment.adapters],
    )


def _own(deployment: Deployment, options: Options) -> dict[str, Any]:
    weights = deployment.weights
    args: dict[str, Any] = {
        "name": deployment.name,
        "engine": deployment.engine,
        "context": deployment.context,
        "parallel": deployment.parallel,
    }
    if weights.files and weights.repository:
        args["pull"] = {"reference": weights.pull, "files": _pins(deployment)}
    else:
        args["path"] = str(weights.local.absolute())
        if weights.projector:
            args["projector"] = weights.projector
    if deployment.threads:
        args["threads"] = deployment.threads
    if deployment.gpu_layers:
        args["gpu_layers"] = deployment.gpu_layers
    if deployment.args:
        args["args"] = list(deployment.args)
    if deployment.adapters:
        args["adapters"] = [
            {"name": one.name, "path": str(one.local.absolute()), "scale": one.scale} for one in deployment.adapters
        ]
    if deployment.remote_code:
        args["remote_code"] = True
    engine = {
        "name": ENGINE,
        "num_replicas": options.replicas,
        "max_ongoing_requests": 2 * deployment.parallel,
        "health_check_period_s": 10.0,
        "health_check_timeout_s": 60.0,
        "graceful_shutdown_timeout_s": 60.0,
        "ray_actor_options": _actor(deployment, options),
    }
    return {"import_path": OWN_APP, "args": args, "deployments": [engine], **_runtime(deployment)}


def _pins(deployment: Deployment) -> dict[str, str]:
    return {file.name: file.sha256 for file in deployment.weights.files}


def _actor(deployment: Deployment, options: Options) -> dict[str, Any]:
    actor: dict[str, Any] = {"num_cpus": deployment.threads or 1, "memory": deployment.memory}
    if deployment.gpus:
        actor["num_gpus"] = deployment.gpus
        if options.accelerator:
            actor["accelerator_type"] = options.accelerator
    return actor


def _llm(deployment: Deployment, options: Options) -> dict[str, Any]:
    weights = deployment.weights
    engine: dict[str, Any] = {"max_model_len": deployment.context, "max_num_seqs": deployment.parallel}
    if weights.files and weights.repository:
        source = weights.repository
        engine |= {"revision": weights.revision, "tokenizer_revision": weights.revision}
    else:
        source = str(weights.local.absolute())
    if deployment.gpus > 1:
        engine["tensor_parallel_size"] = deployment.gpus
    if deployment.remote_code:
        engine["trust_remote_code"] = True
    engine |= _keywords(deployment.args)
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": deployment.name, "model_source": source},
        "engine_kwargs": engine,
        "deployment_config": {"num_replicas": options.replicas, "max_ongoing_requests": 2 * deployment.parallel},
    }
    if options.accelerator:
        config["accelerator_type"] = options.accelerator
    if deployment.adapters:
        source = deployment.adapter_source or ""
        if not source.startswith(REMOTE):
            raise EngineError(
                "Ray loads adapters from object storage only",
                code="adapters_not_published",
                retry="no",
                hint="copy each into a folder of its name there and say where: --adapters s3://BUCKET/PATH",
            )
        engine["enable_lora"] = True
        config["lora_config"] = {
            "dynamic_lora_loading_path": source.rstrip("/"),
            "max_num_adapters_per_replica": max(16, len(deployment.adapters)),
        }
    return {"import_path": LLM_APP, "args": {"llm_configs": [config]}, **_runtime(deployment)}


def _keywords(args: tuple[str, ...]) -> dict[str, Any]:
    """Returns a command line as the keyword arguments of vLLM's engine: `--max-loras 4` is `max_loras: 4`, `--no-x` is
    `x: false`. Raises EngineError for what is no flag."""
    found: dict[str, Any] = {}
    flag = ""
    for word in (part for arg in args for part in (arg.split("=", 1) if arg.startswith("--") else [arg])):
        if word.startswith("--"):
            flag = word[2:].replace("-", "_")
            found[flag.removeprefix("no_")] = not flag.startswith("no_")
        elif flag:
            found[flag] = yaml.safe_load(word)
            flag = ""
        else:
            raise EngineError(
                f"{word!r} is no argument of vLLM by name", code="bad_args", retry="no", hint="write --name value"
            )
    return found


def _runtime(deployment: Deployment) -> dict[str, Any]:
    return {"runtime_env": {"env_vars": dict(deployment.env)}} if deployment.env else {}


def _notes(deployment: Deployment, options: Options, *, through_ray: bool) -> list[str]:
    weights = deployment.weights
    lines = []
    if deployment.secrets:
        lines.append(f"set these where ray starts on each node: {', '.join(deployment.secrets)}")
    if not weights.files:
        lines.append(f"{weights.local} must be on every node that may run a replica")
    if not through_ray:
        lines.append("every node needs: pip install 'freehold[own]' 'ray[serve]'")
        if deployment.adapters:
            lines.append("the adapters' files must be on every node that may run a replica")
    lines.append("serve deploy FILE   # replaces all applications of the cluster: put this one beside the others")
    if options.host not in ("127.0.0.1", "localhost"):
        lines.append(f"Ray Serve knows no keys: whoever reaches {options.host}:{PORT} may use it")
    return lines
