"""The pod that Kubernetes and KServe run: weights brought and checked first, then the engine, judged by its tokens.

It may do as little as possible: no root, no capabilities, no token of the cluster, a root file system that cannot be
written. What is written goes to an empty folder at /tmp, which is HOME too. Keys come from Secrets by reference.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from freehold.errors import EngineError
from freehold.own.render.deployment import Deployment
from freehold.own.render.recipe import KEY_VARIABLE, Recipe, Where, image_of, recipe
from freehold.own.render.rendered import Options
from freehold.own.render.weights import Volume, volume_of

FETCH_IMAGE = "python:3.12-slim"
USER = 10001
MODELS, ADAPTERS, TOOLS = "/models", "/adapters", "/freehold"
PROBE_PERIOD = 15
PROBE_TIMEOUT = 30
"""Longer than the probe's own limits: it then says why."""
START_SECONDS_PER_GIB = 30
START_SECONDS = 600
GIB = 1 << 30


def names(deployment: Deployment) -> dict[str, str]:
    """The names of the objects beside the pod."""
    slug = deployment.slug
    return {"tools": f"{slug}-tools", "models": f"{slug}-models", "key": f"{slug}-key", "env": f"{slug}-env"}


def labels(deployment: Deployment) -> dict[str, str]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/"""
    return {"app.kubernetes.io/name": deployment.slug, "app.kubernetes.io/managed-by": "freehold"}


def where(deployment: Deployment) -> Where:
    """Paths in the pod."""
    weights = deployment.weights
    folder = f"{MODELS}/{deployment.slug}"
    return Where(
        f"{folder}/{weights.entry}" if weights.entry else folder,
        f"{folder}/{weights.projector}" if weights.projector else None,
        {one.name: f"{ADAPTERS}/{deployment.shown(one.name)}" for one in deployment.adapters},
    )


def made_for(deployment: Deployment, options: Options) -> Recipe:
    """The recipe for the pod. Raises EngineError for weights or adapters that the pod could not get."""
    weights = deployment.weights
    if not weights.files and weights.volume is None:
        raise EngineError(
            f"nobody else has these weights: {weights.origin}",
            code="weights_not_published",
            retry="no",
            hint="copy them to a volume of the cluster and name it: --weights pvc://CLAIM/PATH",
        )
    if deployment.adapters and deployment.adapter_source is None:
        listed = ", ".join(deployment.shown(one.name) for one in deployment.adapters)
        raise EngineError(
            f"its adapters are on this machine only: {', '.join(str(one.local) for one in deployment.adapters)}",
            code="adapters_not_published",
            retry="no",
            hint=f"copy them to a volume of the cluster as {listed} and name it: --adapters pvc://CLAIM/PATH",
        )
    return recipe(deployment, where(deployment), image=options.image)


def pod(deployment: Deployment, made: Recipe, container: str, port_name: str) -> dict[str, Any]:
    """Returns the pod's spec; `container` and `port_name` are what the one who runs it calls them."""
    weights = deployment.weights
    mounts = [
        {"name": "tools", "mountPath": TOOLS, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 a path in the container
        {"name": "models", "mountPath": f"{MODELS}/{deployment.slug}", "readOnly": True, **_sub_path(weights.volume)},
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "tools", "configMap": {"name": names(deployment)["tools"]}},
        {"name": "tmp", "emptyDir": {}},
        _claim("models", weights.volume.claim if weights.volume else names(deployment)["models"]),
    ]
    if deployment.adapters:
        held = volume_of(deployment.adapter_source or "", "--adapters")
        mounts.append({"name": "adapters", "mountPath": ADAPTERS, "readOnly": True, **_sub_path(held)})
        volumes.append(_claim("adapters", held.claim))
    if deployment.gpus:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 a path in the container
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}})
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 120,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if weights.files:
        spec["initContainers"] = [_fetcher(deployment)]
    spec["containers"] = [
        {
            "name": container,
            "image": image_of(made, deployment),
            "command": list(made.command),
            "env": _environment(deployment, made),
            "ports": [{"name": port_name, "containerPort": made.port, "protocol": "TCP"}],
            "resources": resources(deployment),
            "startupProbe": _probe(deployment, made, failures=_start_looks(deployment)),
            "readinessProbe": _probe(deployment, made, failures=2),
            "livenessProbe": _probe(deployment, made, failures=4),
            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
            "securityContext": _CLOSED,
            "volumeMounts": mounts,
        }
    ]
    spec["volumes"] = volumes
    return spec


def tools(deployment: Deployment, made: Recipe, options: Options) -> dict[str, Any]:
    """The ConfigMap with the programs of payload/ that the pod needs, and the list of files to fetch."""
    held = {"probe.sh": _payload("probe.sh")} if made.bare else {"probe.py": _payload("probe.py")}
    if deployment.weights.files:
        held["fetch.py"] = _payload("fetch.py")
        listed = [
            {"name": one.name, "url": one.url, "sha256": one.sha256, "size": one.size}
            for one in deployment.weights.files
        ]
        held["files.json"] = json.dumps(listed, indent=1) + "\n"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(deployment, options, names(deployment)["tools"]),
        "data": held,
    }


def claim(deployment: Deployment, options: Options) -> list[dict[str, Any]]:
    """The volume claim for weights that are fetched; none for those that lie on a volume already."""
    if deployment.weights.volume is not None:
        return []
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce" if options.replicas == 1 else "ReadWriteMany"],
        "resources": {"requests": {"storage": f"{whole_gib(int(deployment.weights.size * 1.05) + GIB)}Gi"}},
    }
    if options.storage:
        spec["storageClassName"] = options.storage
    held = metadata(deployment, options, names(deployment)["models"])
    return [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": held, "spec": spec}]


def notes(deployment: Deployment, made: Recipe, options: Options) -> list[str]:
    """What a person does before applying, as commands, and what is to be known."""
    own, there = names(deployment), f"-n {options.namespace}"
    lines = []
    if made.key:
        lines.append(
            f'kubectl create secret generic {own["key"]} {there} --from-literal=api-key="$(openssl rand -hex 32)"'
        )
    if deployment.secrets:
        listed = " ".join(f"--from-literal={name}=VALUE" for name in deployment.secrets)
        lines.append(f"kubectl create secret generic {own['env']} {there} {listed}")
    if made.key is None:
        lines.append(f"{deployment.engine} knows no keys: whoever reaches its port may use it")
    source = (deployment.adapter_source or "").rstrip("/")
    lines += [f"copy {one.local} to {source}/{deployment.shown(one.name)}" for one in deployment.adapters]
    if deployment.weights.private:
        lines.append(
            f"a cluster cannot fetch from {', '.join(deployment.weights.private)}: pull from a hub that it reaches"
        )
    if options.replicas > 1 and deployment.weights.volume is None:
        lines.append("more than one replica needs a storage class with ReadWriteMany")
    return lines


def metadata(deployment: Deployment, options: Options, name: str, **annotations: str) -> dict[str, Any]:
    held: dict[str, Any] = {"name": name, "namespace": options.namespace, "labels": labels(deployment)}
    if annotations:
        held["annotations"] = annotations
    return held


def whole_gib(size: int) -> int:
    return max(1, -(-size // GIB))


_CLOSED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _fetcher(deployment: Deployment) -> dict[str, Any]:
    folder = f"{MODELS}/{deployment.slug}"
    token = {"secretKeyRef": {"name": "hf-token", "key": "HF_TOKEN", "optional": True}}
    return {
        "name": "weights",
        "image": FETCH_IMAGE,
        "command": ["python3", f"{TOOLS}/fetch.py", f"{TOOLS}/files.json", folder],
        "env": [{"name": "HF_TOKEN", "valueFrom": token}],
        "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}},
        "securityContext": _CLOSED,
        "volumeMounts": [
            {"name": "tools", "mountPath": TOOLS, "readOnly": True},
            {"name": "models", "mountPath": folder},
        ],
    }


def _environment(deployment: Deployment, made: Recipe) -> list[dict[str, Any]]:
    """Plain values first, then references. USER is for libraries that look up a user whom the image does not know."""
    plain = {"HOME": "/tmp", "USER": "freehold", **made.env, **deployment.env}  # noqa: S108 a path in the container
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    if made.key:
        held = {"secretKeyRef": {"name": names(deployment)["key"], "key": "api-key"}}
        env += [{"name": name, "valueFrom": held} for name in dict.fromkeys((made.key, KEY_VARIABLE))]
    for name in deployment.secrets:
        env.append({"name": name, "valueFrom": {"secretKeyRef": {"name": names(deployment)["env"], "key": name}}})
    return env


def resources(deployment: Deployment) -> dict[str, Any]:
    """What one replica asks for and may take. CPU is not limited: a throttled engine only wastes its memory."""
    memory = f"{whole_gib(deployment.memory)}Gi" if deployment.memory > GIB else f"{max(64, deployment.memory >> 20)}Mi"
    requests = {"cpu": str(deployment.cpus), "memory": memory}
    limits = {"memory": memory}
    if deployment.gpus:
        limits["nvidia.com/gpu"] = str(deployment.gpus)
    return {"requests": requests, "limits": limits}


def _probe(deployment: Deployment, made: Recipe, *, failures: int) -> dict[str, Any]:
    program: Sequence[str] = ("sh", f"{TOOLS}/probe.sh") if made.bare else ("python3", f"{TOOLS}/probe.py")
    return {
        "exec": {"command": [*program, str(made.port), deployment.name, *made.counters]},
        "periodSeconds": PROBE_PERIOD,
        "timeoutSeconds": PROBE_TIMEOUT,
        "failureThreshold": failures,
    }


def _start_looks(deployment: Deployment) -> int:
    """Looks that a start may take: weights are read from a network volume, kernels may be compiled."""
    return (START_SECONDS + START_SECONDS_PER_GIB * whole_gib(deployment.weights.size)) // PROBE_PERIOD


def _claim(name: str, claim_name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim_name}}


def _sub_path(volume: Volume | None) -> dict[str, str]:
    return {"subPath": volume.folder} if volume is not None and volume.folder else {}


def _payload(name: str) -> str:
    return (files("freehold.own.render") / "payload" / name).read_text()
