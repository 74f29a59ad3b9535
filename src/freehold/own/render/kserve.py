"""KServe: an InferenceService that runs the same pod, or (vLLM only) an LLMInferenceService, whose pod KServe writes.

InferenceService     serving.kserve.io/v1beta1, standard deployment mode (a Deployment and a Service, no Knative): the
                     weights are brought and checked by the pod itself, as in pod.py
LLMInferenceService  serving.kserve.io/v1alpha2: KServe brings the weights (`hf://ORG/NAME:REVISION`: pinned), and adds
                     routing by cache and load; engine arguments go into VLLM_ADDITIONAL_ARGS

Sources: https://kserve.github.io/website/docs/reference/crd-api and the storage provider pages beside it.
"""

import shlex
from typing import Any

from msgspec import structs

from freehold.errors import EngineError
from freehold.own.render import pod
from freehold.own.render.deployment import Deployment
from freehold.own.render.recipe import Where, recipe
from freehold.own.render.rendered import Options, Rendered, provider
from freehold.own.render.text import documents


def write(deployment: Deployment, options: Options) -> Rendered:
    """Returns the manifests. Raises EngineError for what the chosen kind cannot run."""
    return _llm(deployment, options) if options.llm else _inference_service(deployment, options)


def _inference_service(deployment: Deployment, options: Options) -> Rendered:
    made = pod.made_for(deployment, options)
    mode = {"serving.kserve.io/deploymentMode": "Standard"}
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": pod.metadata(deployment, options, deployment.slug, **mode),
        "spec": {
            "predictor": {
                "minReplicas": options.replicas,
                "maxReplicas": options.replicas,
                "deploymentStrategy": {"type": "Recreate" if options.replicas == 1 else "RollingUpdate"},
                **pod.pod(deployment, made, "kserve-container", "http1"),
            }
        },
    }
    objects = [pod.tools(deployment, made, options), *pod.claim(deployment, options), service]
    return Rendered(
        text=documents(objects, ["Written by freehold render kserve: " + deployment.weights.origin]),
        notes=pod.notes(deployment, made, options),
        provider=provider(
            deployment,
            "kserve",
            f"http://{deployment.slug}-predictor.{options.namespace}.svc.cluster.local/v1",
            key=made.key is not None,
        ),
        model=deployment.name,
        extra=[one.name for one in deployment.adapters],
    )


def _llm(deployment: Deployment, options: Options) -> Rendered:
    if deployment.engine != "vllm":
        raise EngineError(
            f"an LLMInferenceService runs vLLM, not {deployment.engine}",
            code="not_renderable",
            retry="no",
            hint="--engine vllm, or leave --llm away",
        )
    container: dict[str, Any] = {
        "name": "main",
        "env": [
            *({"name": name, "value": value} for name, value in deployment.env.items()),
            *(_from_secret(deployment, name) for name in deployment.secrets),
            {"name": "VLLM_ADDITIONAL_ARGS", "value": shlex.join(_arguments(deployment))},
        ],
        "resources": pod.resources(deployment),
    }
    if options.image:
        container["image"] = options.image
    model: dict[str, Any] = {"uri": _uri(deployment), "name": deployment.name}
    if deployment.adapters:
        source = _adapter_source(deployment)
        model["lora"] = {"adapters": [{"name": one.name, "uri": f"{source}/{one.name}"} for one in deployment.adapters]}
    service = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": pod.metadata(deployment, options, deployment.slug),
        "spec": {
            "model": model,
            "replicas": options.replicas,
            "router": {"gateway": {}, "route": {}, "scheduler": {}},
            "template": {"containers": [container]},
        },
    }
    return Rendered(
        text=documents([service], ["Written by freehold render kserve --llm: " + deployment.weights.origin]),
        notes=[
            "GATEWAY in base_url is the address of the cluster's inference gateway: kubectl get llminferenceservice "
            f"{deployment.slug} -n {options.namespace} prints the whole URL",
            "the pods' health is KServe's own: /health, which does not look for tokens",
        ],
        provider=provider(deployment, "kserve", f"http://GATEWAY/{options.namespace}/{deployment.slug}/v1", key=False),
        model=deployment.name,
        extra=[one.name for one in deployment.adapters],
    )


def _uri(deployment: Deployment) -> str:
    weights = deployment.weights
    if weights.volume is not None:
        return f"pvc://{weights.volume.claim}/{weights.volume.folder}".rstrip("/")
    if weights.repository and weights.revision:
        return f"hf://{weights.repository}:{weights.revision}"
    raise EngineError(
        f"nobody else has these weights: {weights.origin}",
        code="weights_not_published",
        retry="no",
        hint="copy them to a volume of the cluster and name it: --weights pvc://CLAIM/PATH",
    )


def _adapter_source(deployment: Deployment) -> str:
    if deployment.adapter_source is None:
        raise EngineError(
            "its adapters are on this machine only",
            code="adapters_not_published",
            retry="no",
            hint="copy them where KServe can read and say so: --adapters pvc://CLAIM/PATH or hf://ORG or s3://BUCKET/PATH",
        )
    return deployment.adapter_source.rstrip("/")


def _arguments(deployment: Deployment) -> list[str]:
    """vLLM's arguments but for those that KServe writes itself: model, its name, address, adapters."""
    bare = recipe(structs.replace(deployment, adapters=()), Where(""))
    words = list(bare.command)
    return words[words.index("--max-model-len") :]


def _from_secret(deployment: Deployment, name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": pod.names(deployment)["env"], "key": name}}}
