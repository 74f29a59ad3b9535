"""Reads rendered files and says what their own engines' schemas have against them: a line of JSON for each file.

    python schemas.py TARGET FILE [TARGET FILE ...]

kubernetes   the OpenAPI schemas of Kubernetes as JSON Schema, strict (package kubernetes-validate)
kserve       the models of KServe's own client (package kserve), which know every field but do not refuse unknown ones:
             `strange` does. The spec of an LLMInferenceService is in no package; its pod is Kubernetes' PodSpec
ray          the pydantic models that `serve deploy` and `ray.serve.llm` read with (package ray)
skypilot     the JSON Schemas that `sky serve up` reads with (package skypilot)
"""

import importlib
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml

KUBERNETES = "1.37.0"
LLM_SPEC = {"model", "replicas", "scaling", "router", "template", "parallelism", "prefill", "worker", "baseRefs"}
"""Of an LLMInferenceService's spec, read in KServe's pkg/apis/serving/v1alpha2/llm_inference_service_types.go."""


def kubernetes(value: dict[str, Any]) -> Iterator[str]:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(value, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{value['kind']}: {'/'.join(map(str, error.path))}: {error.message}"


def pod_spec(value: dict[str, Any]) -> Iterator[str]:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": value}
    yield from kubernetes(pod)


def kserve(value: dict[str, Any]) -> Iterator[str]:
    if value["kind"] == "LLMInferenceService":
        yield from strange(value, "V1alpha2LLMInferenceService", "", ("spec",))
        yield from (f"spec: unknown field {name}" for name in set(value["spec"]) - LLM_SPEC)
        # KServe merges its own container into this one, so it may lack an image
        containers = [{"image": "merged", **one} for one in value["spec"]["template"]["containers"]]
        yield from pod_spec({**value["spec"]["template"], "containers": containers})
        return
    yield from strange(value, "V1beta1InferenceService", "")
    predictor = value["spec"]["predictor"]
    own = set(model("V1beta1PredictorSpec").openapi_types) - set(model("V1PodSpec").openapi_types)
    names = {model("V1beta1PredictorSpec").attribute_map[name] for name in own}
    yield from pod_spec({name: held for name, held in predictor.items() if name not in names})


def model(name: str) -> Any:
    """The class of KServe's or Kubernetes' client of that name, without importing all of KServe."""
    if "kserve" not in sys.modules:
        folder = next(Path(path) / "kserve" for path in sys.path if (Path(path) / "kserve").is_dir())
        for part in ("kserve", "kserve.models"):
            sys.modules[part] = types.ModuleType(part)
            sys.modules[part].__path__ = [str(folder.joinpath(*part.split(".")[1:]))]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
    for package in ("kserve.models", "kubernetes.client.models"):
        try:
            return getattr(importlib.import_module(f"{package}.{snake}"), name)
        except ModuleNotFoundError:
            continue
    return None


def strange(value: Any, kind: str, path: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    """Fields that a model does not know, and values that are not of its types; models of models all the way down."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{path}: not a list"
            return
        for number, item in enumerate(value):
            yield from strange(item, found[1], f"{path}[{number}]")
        return
    basic = {"str": str, "int": int, "bool": bool, "float": (int, float)}
    if kind in basic:
        if not isinstance(value, basic[kind]):
            yield f"{path}: {value!r} is not {kind}"
        return
    known = model(kind)
    if known is None:  # a dictionary, a quantity, or a type of a later Kubernetes
        return
    fields = {known.attribute_map[name]: held for name, held in known.openapi_types.items()}
    for name, item in value.items():
        if name not in fields:
            yield f"{path}: unknown field {name}"
        elif name not in skip:
            yield from strange(item, fields[name], f"{path}.{name}")


def ray(value: dict[str, Any]) -> Iterator[str]:
    from ray.serve.schema import ServeDeploySchema

    yield from unknown(value, ServeDeploySchema, "")
    ServeDeploySchema.model_validate(value)
    for application in value["applications"]:
        if application["import_path"] == "ray.serve.llm:build_openai_app":
            from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

            for config in application["args"]["llm_configs"]:
                LLMConfig.model_validate(config)
        else:
            import msgspec

            from freehold.own.render.replica import Args

            msgspec.convert(application["args"], Args)


def unknown(value: Any, kind: Any, path: str) -> Iterator[str]:
    """Fields that pydantic would pass over in silence."""
    from pydantic import BaseModel

    models = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel)]
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown(item, kind, f"{path}[{number}]")
    elif isinstance(value, dict) and models:
        for name, item in value.items():
            if name not in models[0].model_fields:
                yield f"{path}: unknown field {name}"
            else:
                yield from unknown(item, models[0].model_fields[name].annotation, f"{path}.{name}")


def skypilot(value: dict[str, Any]) -> Iterator[str]:
    import jsonschema
    from sky.utils import schemas

    parts = {
        "task": (schemas.get_task_schema(), value),
        "service": (schemas.get_service_schema(), value["service"]),
        "resources": (schemas.get_resources_schema(), value["resources"]),
    }
    for name, (schema, part) in parts.items():
        for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(part):
            yield f"{name}: {'/'.join(map(str, error.path))}: {error.message}"
    # what the schemas leave to the code that reads the task
    import sky

    secrets = dict.fromkeys(value.get("secrets") or (), "given-at-launch")
    read = sky.Task.from_yaml_config(dict(value), secrets_overrides=list(secrets.items()))
    if read.service is None or "given-at-launch" not in str(read.service.readiness_headers or "given-at-launch"):
        yield "service: the key does not reach the readiness request"


def problems(target: str, text: str) -> Iterator[str]:
    for value in yaml.safe_load_all(text):
        if target in ("k8s", "kserve"):
            theirs = value["apiVersion"].startswith("serving.kserve.io/")
            yield from kserve(value) if theirs else kubernetes(value)
        else:
            yield from {"ray-serve": ray, "skypilot": skypilot}[target](value)


def main() -> None:
    for target, file in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        try:
            found = list(problems(target, Path(file).read_text()))
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        print(json.dumps({"file": file, "problems": found}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
