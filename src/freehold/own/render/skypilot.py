"""SkyPilot: a service (SkyServe) on whatever cloud or cluster it finds.

Readiness is a request for one token, not /health. Weights that were pulled are fetched by each replica and checked
against their sha256; a file or folder of this machine is carried along (`file_mounts`). Engines in Python are installed
by pip in `setup`, llama.cpp comes as an image. Secrets are named under `secrets` without a value: SkyPilot takes them
from the environment at launch (`--secret NAME`) and fills them into the headers of the readiness request.
Source: https://docs.skypilot.co/en/latest/reference/yaml-spec.html
"""

import json
import shlex
from importlib.resources import files
from typing import Any

from freehold.errors import EngineError
from freehold.own.render.deployment import Deployment
from freehold.own.render.pod import whole_gib
from freehold.own.render.recipe import KEY, KEY_VARIABLE, Recipe, Where, recipe
from freehold.own.render.rendered import Options, Rendered, key_variable, provider
from freehold.own.render.text import documents

FOLDER, ADAPTERS = "/tmp/models", "/tmp/adapters"  # noqa: S108 paths on the replica
VENV = "~/engine"
START_SECONDS = 1800
SPARE_DISK = 64
"""GiB beside the weights: the system, the engine's packages, caches."""


def write(deployment: Deployment, options: Options) -> Rendered:
    """Returns the service. Raises EngineError for weights that no replica can get."""
    weights = deployment.weights
    if weights.volume is not None:
        raise EngineError(
            "a volume of a Kubernetes cluster is nothing to SkyPilot",
            code="not_renderable",
            retry="no",
            hint="leave --weights away: what was pulled is fetched, what lies here is carried along",
        )
    folder = f"{FOLDER}/{deployment.slug}"
    where = Where(
        f"{folder}/{weights.entry}" if weights.entry else folder,
        f"{folder}/{weights.projector}" if weights.projector else None,
        {one.name: f"{ADAPTERS}/{one.name}" for one in deployment.adapters},
    )
    made = recipe(deployment, where, image=options.image)
    image = made.image if made.bare or options.image else None
    secrets = list(deployment.secrets)
    if made.key:
        secrets.append(KEY_VARIABLE)
    if weights.files:
        secrets.append("HF_TOKEN")
    task: dict[str, Any] = {
        "name": deployment.slug,
        "service": {
            "readiness_probe": _readiness(deployment, made),
            "replica_policy": {"min_replicas": options.replicas, "max_replicas": options.replicas},
        },
        "resources": _resources(deployment, made, options, image),
        "envs": {**made.env, **deployment.env},
    }
    if secrets:
        task["secrets"] = dict.fromkeys(secrets)
    mounts = {where.adapters[one.name]: str(one.local.absolute()) for one in deployment.adapters}
    if not weights.files:
        mounts[where.model] = str(weights.local.absolute())
    if mounts:
        task["file_mounts"] = mounts
    task["setup"] = _setup(deployment, made, image)
    task["run"] = _run(made, folder, image, fetched=bool(weights.files))
    return Rendered(
        text=documents([task], ["Written by freehold render skypilot: " + weights.origin]),
        notes=_notes(deployment, made, secrets),
        provider=provider(deployment, "sky", "http://ENDPOINT/v1", key=made.key is not None),
        model=deployment.name,
        extra=[one.name for one in deployment.adapters],
    )


def _readiness(deployment: Deployment, made: Recipe) -> dict[str, Any]:
    probe: dict[str, Any] = {
        "path": "/v1/completions",
        "post_data": {"model": deployment.name, "prompt": "a", "max_tokens": 1, "temperature": 0},
        "initial_delay_seconds": START_SECONDS,
        "timeout_seconds": 30,
    }
    headers = {"Content-Type": "application/json"}
    if made.key:
        headers["Authorization"] = f"Bearer ${{{KEY_VARIABLE}}}"
    return probe | {"headers": headers}


def _resources(deployment: Deployment, made: Recipe, options: Options, image: str | None) -> dict[str, Any]:
    held: dict[str, Any] = {
        "ports": made.port,
        "cpus": f"{deployment.cpus}+",
        "memory": f"{whole_gib(deployment.memory)}+",
        "disk_size": max(256, whole_gib(2 * deployment.weights.size) + SPARE_DISK),
    }
    if deployment.gpus:
        if options.accelerator is None:
            raise EngineError(
                "SkyPilot has to be told which GPU", code="no_accelerator", retry="no", hint="--accelerator L4, for one"
            )
        held["accelerators"] = f"{options.accelerator}:{deployment.gpus}"
    if image is not None:
        held["image_id"] = f"docker:{image}"
    return held


def _setup(deployment: Deployment, made: Recipe, image: str | None) -> str:
    lines = ["set -e"]
    if image is not None:
        lines.append("command -v python3 >/dev/null || { apt-get update -qq && apt-get install -y -qq python3; }")
    else:
        lines += [f"python3 -m venv {VENV}", f"{VENV}/bin/pip install -q {shlex.join(made.packages)}"]
    if deployment.weights.files:
        listed = json.dumps(
            [{"name": f.name, "url": f.url, "sha256": f.sha256, "size": f.size} for f in deployment.weights.files]
        )
        program = (files("freehold.own.render") / "payload" / "fetch.py").read_text()
        lines += ["cat > ~/fetch.py <<'END_OF_PROGRAM'", program.rstrip(), "END_OF_PROGRAM"]
        lines += ["cat > ~/files.json <<'END_OF_LIST'", listed, "END_OF_LIST"]
    return "\n".join(lines) + "\n"


def _run(made: Recipe, folder: str, image: str | None, *, fetched: bool) -> str:
    command = shlex.join(made.command).replace(shlex.quote(KEY), f'"${KEY_VARIABLE}"')
    lines = ["set -e"]
    if image is None:
        lines.append(f'export PATH="$(echo {VENV})/bin:$PATH"')
    if fetched:
        lines.append(f"python3 ~/fetch.py ~/files.json {folder}")
    if made.key and made.key != KEY_VARIABLE:
        lines.append(f'export {made.key}="${KEY_VARIABLE}"')
    return "\n".join([*lines, f"exec {command}"]) + "\n"


def _notes(deployment: Deployment, made: Recipe, secrets: list[str]) -> list[str]:
    lines = []
    if made.key:
        lines.append(f"export {KEY_VARIABLE}=$(openssl rand -hex 32) {key_variable(deployment)}=${KEY_VARIABLE}")
    if "HF_TOKEN" in secrets:
        lines.append("export HF_TOKEN=   # empty will do where the weights are public")
    asked = "".join(f" --secret {name}" for name in secrets)
    lines.append(f"sky serve up -n {deployment.slug} FILE{asked}")
    lines.append(f"ENDPOINT in base_url is what this prints: sky serve status --endpoint {deployment.slug}")
    if made.key is None:
        lines.append(f"{deployment.engine} knows no keys: SkyPilot's endpoint is open to whoever finds it")
    if deployment.weights.private:
        lines.append(
            f"a replica cannot fetch from {', '.join(deployment.weights.private)}: pull from a hub that it reaches"
        )
    return lines
