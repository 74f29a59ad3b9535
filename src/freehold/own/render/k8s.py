"""Plain Kubernetes: ConfigMap, PersistentVolumeClaim, Deployment, Service.

`sleep` in preStop needs Kubernetes 1.30. A claim that one node alone may write (ReadWriteOnce) must be let go before
the next pod can take it, so a single replica is replaced, several are rolled over without losing a request.
Source: https://kubernetes.io/docs/reference/kubernetes-api/
"""

from typing import Any

from freehold.own.render import pod
from freehold.own.render.deployment import Deployment
from freehold.own.render.rendered import Options, Rendered, key_variable, provider
from freehold.own.render.text import documents

PORT = 8000


def write(deployment: Deployment, options: Options) -> Rendered:
    """Returns the manifests. Raises EngineError for weights that no cluster can get."""
    made = pod.made_for(deployment, options)
    labels = pod.labels(deployment)
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pod.metadata(deployment, options, deployment.slug),
        "spec": {
            "replicas": options.replicas,
            "selector": {"matchLabels": {"app.kubernetes.io/name": deployment.slug}},
            "strategy": _strategy(options),
            "progressDeadlineSeconds": 3600,
            "template": {"metadata": {"labels": labels}, "spec": pod.pod(deployment, made, "engine", "http")},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": pod.metadata(deployment, options, deployment.slug),
        "spec": {
            "type": "ClusterIP",
            "selector": {"app.kubernetes.io/name": deployment.slug},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    objects = [pod.tools(deployment, made, options), *pod.claim(deployment, options), workload, service]
    notes = pod.notes(deployment, made, options)
    if made.key:
        notes.append(_hand_over(deployment, options))
    return Rendered(
        text=documents(objects, ["Written by freehold render k8s: " + deployment.weights.origin]),
        notes=notes,
        provider=provider(
            deployment,
            "k8s",
            f"http://{deployment.slug}.{options.namespace}.svc.cluster.local:{PORT}/v1",
            key=made.key is not None,
        ),
        model=deployment.name,
        extra=[one.name for one in deployment.adapters],
    )


def _strategy(options: Options) -> dict[str, Any]:
    if options.replicas == 1:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def _hand_over(deployment: Deployment, options: Options) -> str:
    secret = pod.names(deployment)["key"]
    return (
        f"export {key_variable(deployment)}=$(kubectl get secret {secret} -n {options.namespace} "
        "-o jsonpath='{.data.api-key}' | base64 -d)   # for the gateway"
    )
