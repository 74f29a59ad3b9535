"""What is written for each engine of scale: whole, pinned, without a secret, judged by tokens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from freehold.config.load import Loaded, loads
from freehold.errors import EngineError
from freehold.own.render import TARGETS, Deployment, Options, Rendered, describe, render
from freehold.own.weights.store import Store

Pulled = Callable[..., Deployment]
SECRET = "sk-not-to-be-seen-anywhere"


def objects(rendered: Rendered) -> dict[str, dict[str, Any]]:
    return {value["kind"]: value for value in yaml.safe_load_all(rendered.text)}


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    else:
        yield str(value)


@pytest.fixture
def vllm(loaded: Callable[..., Loaded], store: Store, folder: Path) -> Callable[..., Deployment]:
    def make(entry: dict[str, Any] | None = None, **options: Any) -> Deployment:
        config = loaded({"own": [{"path": str(folder), "engine": "vllm", **(entry or {})}]})
        return describe("folder", config, store, **options)

    return make


@pytest.mark.parametrize("target", TARGETS)
def test_no_secret_is_written(target: str, pulled: Pulled) -> None:
    deployment = pulled({"env": {"SOME_TOKEN": SECRET, "PLAIN": "seen"}})
    rendered = render(target, deployment, Options())
    everything = [rendered.text, *rendered.notes, *strings(rendered.config)]
    assert not [text for text in everything if SECRET in text]
    assert any("SOME_TOKEN" in text for text in everything)
    assert "seen" in rendered.text


@pytest.mark.parametrize("target", TARGETS)
def test_the_endpoint_comes_back_as_a_deployment(target: str, pulled: Pulled) -> None:
    rendered = render(target, pulled(), Options())
    config = loads(yaml.safe_dump(rendered.config).encode(), {"TINY_KEY": "k" * 32}).config
    (name,) = config.providers
    provider = config.providers[name]
    assert provider.owned is True
    assert provider.models["tiny"].context == 512
    assert rendered.deployments == [f"{name}/tiny"]
    assert (provider.api_key is None) == (target == "ray-serve")


def test_kubernetes_gets_the_whole(pulled: Pulled) -> None:
    made = objects(render("k8s", pulled(), Options(namespace="ai", storage="fast")))
    assert list(made) == ["ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"]
    assert {value["metadata"]["namespace"] for value in made.values()} == {"ai"}
    assert made["PersistentVolumeClaim"]["spec"]["storageClassName"] == "fast"
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (engine,) = pod["containers"]
    assert engine["command"][:3] == ["/app/llama-server", "--model", "/models/tiny/tiny-F32.gguf"]
    assert {"name": "LLAMA_API_KEY", "valueFrom": {"secretKeyRef": {"name": "tiny-key", "key": "api-key"}}} in engine[
        "env"
    ]
    assert (
        made["Service"]["spec"]["selector"].items()
        <= made["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )
    assert made["Service"]["spec"]["ports"][0]["targetPort"] == engine["ports"][0]["name"]
    mounted = {volume["name"] for volume in pod["volumes"]}
    assert {
        mount["name"] for one in (*pod["containers"], *pod["initContainers"]) for mount in one["volumeMounts"]
    } == mounted


def test_the_pod_is_closed(pulled: Pulled) -> None:
    pod = objects(render("k8s", pulled(), Options()))["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_every_probe_looks_for_work_not_for_health(probe: str, pulled: Pulled) -> None:
    made = objects(render("k8s", pulled(), Options()))
    (engine,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    program = engine[probe]["exec"]["command"][1].removeprefix("/freehold/")
    assert "/v1/completions" in made["ConfigMap"]["data"][program]
    assert engine[probe]["exec"]["command"][2:4] == ["8080", "tiny"]


def test_weights_on_a_volume_are_not_fetched(pulled: Pulled) -> None:
    made = objects(render("k8s", pulled(weights="pvc://shared/llms/tiny"), Options()))
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert "PersistentVolumeClaim" not in made
    assert "initContainers" not in pod
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "shared"}} in pod["volumes"]
    assert {"name": "models", "mountPath": "/models/tiny", "readOnly": True, "subPath": "llms/tiny"} in (
        pod["containers"][0]["volumeMounts"]
    )


@pytest.mark.parametrize("target", ["k8s", "kserve"])
def test_weights_that_nobody_else_has_are_refused(target: str, vllm: Callable[..., Deployment]) -> None:
    with pytest.raises(EngineError, match="nobody else has these weights") as caught:
        render(target, vllm(), Options())
    assert "pvc://" in (caught.value.hint or "")


def test_several_replicas_roll_over_one_is_replaced(pulled: Pulled) -> None:
    one, many = (objects(render("k8s", pulled(), Options(replicas=count))) for count in (1, 3))
    assert one["Deployment"]["spec"]["strategy"]["type"] == "Recreate"
    assert many["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert one["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert many["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_vllm_on_gpus_with_adapters(vllm: Callable[..., Deployment]) -> None:
    entry = {"adapters": [{"name": "legal", "path": "lora/legal"}], "args": ["--tensor-parallel-size", "2"]}
    deployment = vllm(entry, weights="pvc://m", adapters="pvc://loras/x")
    made = objects(render("k8s", deployment, Options()))
    (engine,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "legal=/adapters/legal" in engine["command"]
    assert engine["command"].count("--tensor-parallel-size") == 1
    assert "/dev/shm" in {mount["mountPath"] for mount in engine["volumeMounts"]}
    with pytest.raises(EngineError, match="adapters are on this machine only"):
        render("k8s", vllm(entry, weights="pvc://m"), Options())


def test_kserve_runs_the_same_pod(pulled: Pulled) -> None:
    made = objects(render("kserve", pulled(), Options()))
    predictor = made["InferenceService"]["spec"]["predictor"]
    assert made["InferenceService"]["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Standard"}
    assert [one["name"] for one in predictor["containers"]] == ["kserve-container"]
    assert predictor["initContainers"][0]["command"][1] == "/freehold/fetch.py"


def test_an_llm_inference_service_is_for_vllm(pulled: Pulled, vllm: Callable[..., Deployment]) -> None:
    deployment = vllm({"args": ["--swap-space", "4"]}, weights="pvc://m/folder")
    (made,) = objects(render("kserve", deployment, Options(llm=True, replicas=2))).values()
    assert made["kind"] == "LLMInferenceService"
    assert made["spec"]["model"] == {"uri": "pvc://m/folder", "name": "folder"}
    (main,) = made["spec"]["template"]["containers"]
    said = next(one["value"] for one in main["env"] if one["name"] == "VLLM_ADDITIONAL_ARGS")
    assert said == "--max-model-len 8192 --max-num-seqs 4 --swap-space 4"
    with pytest.raises(EngineError, match="runs vLLM"):
        render("kserve", pulled(), Options(llm=True))


def test_ray_gets_our_application_for_llama_cpp(pulled: Pulled) -> None:
    (application,) = yaml.safe_load(render("ray-serve", pulled(), Options()).text)["applications"]
    assert application["import_path"] == "freehold.own.render.ray_app:build"
    assert application["args"]["pull"]["reference"] == "acme/tiny@0123456789abcdef0123456789abcdef01234567:F32"
    assert len(application["args"]["pull"]["files"]["tiny-F32.gguf"]) == 64


def test_ray_gets_its_own_builder_for_vllm(vllm: Callable[..., Deployment], folder: Path) -> None:
    deployment = vllm(
        {"args": ["--max-loras", "4", "--no-enable-prefix-caching", "--dtype=bfloat16"], "env": {"A": "1"}}
    )
    (application,) = yaml.safe_load(render("ray-serve", deployment, Options(accelerator="L4")).text)["applications"]
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    assert application["runtime_env"] == {"env_vars": {"A": "1"}}
    (config,) = application["args"]["llm_configs"]
    assert config["accelerator_type"] == "L4"
    assert config["model_loading_config"] == {"model_id": "folder", "model_source": str(folder)}
    assert config["engine_kwargs"] == {
        "max_model_len": 8192,
        "max_num_seqs": 4,
        "max_loras": 4,
        "enable_prefix_caching": False,
        "dtype": "bfloat16",
    }


def test_skypilot_asks_for_a_token_and_takes_files_along(vllm: Callable[..., Deployment], folder: Path) -> None:
    task = yaml.safe_load(render("skypilot", vllm(), Options(accelerator="L4")).text)
    assert task["service"]["readiness_probe"]["post_data"]["max_tokens"] == 1
    assert task["resources"]["accelerators"] == "L4:1"
    assert task["file_mounts"] == {"/tmp/models/folder": str(folder)}
    assert "exec vllm serve /tmp/models/folder" in task["run"]
    with pytest.raises(EngineError, match="which GPU"):
        render("skypilot", vllm(), Options())


def test_skypilot_fetches_what_was_pulled(pulled: Pulled) -> None:
    task = yaml.safe_load(render("skypilot", pulled(), Options()).text)
    assert task["secrets"] == {"FREEHOLD_ENGINE_KEY": None, "HF_TOKEN": None}
    assert task["service"]["readiness_probe"]["headers"]["Authorization"] == "Bearer ${FREEHOLD_ENGINE_KEY}"
    assert "python3 ~/fetch.py ~/files.json /tmp/models/tiny" in task["run"]
    assert "LLAMA_API_KEY" in task["run"]


def test_an_engine_without_an_image_says_so(vllm: Callable[..., Deployment]) -> None:
    deployment = vllm({"engine": "transformers"}, weights="pvc://m")
    with pytest.raises(EngineError, match="no published image") as caught:
        render("k8s", deployment, Options())
    assert "--image" in (caught.value.hint or "")
    made = objects(render("k8s", deployment, Options(image="registry.example/t:1")))
    (engine,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert engine["image"] == "registry.example/t:1"
    assert not [one for one in engine["env"] if "secretKeyRef" in str(one)]
