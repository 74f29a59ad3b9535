"""What was rendered, before the ones it is for: their published schemas, and Ray Serve itself, started here.

They need an environment of their own (apart/), which `make render` makes; without it these tests are skipped.
"""

import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI
from running import KEY, clean_environment, started

from freehold.config.load import Loaded
from freehold.own.render import Deployment, Options, describe, render
from freehold.own.weights.store import Store

APART = Path(__file__).parent / "apart"
PYTHON = APART / ".venv" / "bin" / "python"
SOURCE = Path(__file__).parents[3] / "src"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make render makes the environment of these tests")

Pulled = Callable[..., Deployment]


@pytest.fixture
def rendered(
    pulled: Pulled, loaded: Callable[..., Loaded], store: Store, folder: Path, tmp_path: Path
) -> dict[str, Path]:
    """Every target with every kind of deployment, as files; the name begins with the target."""
    entry = {"env": {"A_TOKEN": "x", "PLAIN": "y"}, "args": ["--flash-attn", "on"], "threads": 2}
    loras = [{"name": "legal", "path": "lora/legal"}]
    vllm = loaded(
        {"own": [{"path": str(folder), "engine": "vllm", "args": ["--max-lora-rank", "32"], "env": {"B": "1"}}]}
    )
    split = loaded({"own": [{"path": str(folder), "engine": "sglang", "args": ["--tp-size", "2"], "adapters": loras}]})
    tuned = loaded({"own": [{"path": str(folder), "engine": "vllm", "adapters": loras}]})
    slow = loaded({"own": [{"path": str(folder), "engine": "transformers"}]})

    def elsewhere(config: Loaded, **options: Any) -> Deployment:
        return describe("folder", config, store, **options)

    many = Options(replicas=3, namespace="ai", storage="fast", accelerator="L4", image="registry.example/engine:1")
    one = Options(accelerator="L4")
    held, loras_at = "pvc://shared/folder", "pvc://loras"
    made = {
        "k8s llama": render("k8s", pulled(entry), one),
        "k8s gpu": render("k8s", pulled({"gpu_layers": 10}), many),
        "k8s vllm": render("k8s", elsewhere(tuned, weights=held, adapters=loras_at), many),
        "k8s sglang": render("k8s", elsewhere(split, weights=held, adapters=loras_at), one),
        "k8s transformers": render("k8s", elsewhere(slow, weights=held), many),
        "kserve llama": render("kserve", pulled(entry), one),
        "kserve vllm": render("kserve", elsewhere(tuned, weights=held, adapters=loras_at), many),
        "kserve llm": render("kserve", elsewhere(vllm, weights=held), Options(llm=True)),
        "kserve llm lora": render("kserve", elsewhere(tuned, weights=held, adapters=loras_at), Options(llm=True)),
        "ray-serve llama": render("ray-serve", pulled(entry), one),
        "ray-serve gpu": render("ray-serve", pulled({"gpu_layers": 10}), many),
        "ray-serve vllm": render("ray-serve", elsewhere(vllm), many),
        "ray-serve lora": render("ray-serve", elsewhere(tuned, adapters="s3://bucket/loras"), one),
        "skypilot llama": render("skypilot", pulled(entry), one),
        "skypilot vllm": render("skypilot", elsewhere(vllm), many),
        "skypilot sglang": render("skypilot", elsewhere(split), one),
    }
    (tmp_path / "lora" / "legal").mkdir(parents=True)
    files = {}
    for name, result in made.items():
        files[name] = tmp_path / f"{name.replace(' ', '-')}.yaml"
        files[name].write_text(result.text)
    return files


def outside(*words: str | Path, home: Path) -> "subprocess.CompletedProcess[str]":
    env = clean_environment(PYTHONPATH=str(SOURCE), RAY_USAGE_STATS_ENABLED="0", SKYPILOT_DISABLE_USAGE_COLLECTION="1")
    return subprocess.run(
        [str(word) for word in (PYTHON, *words)],
        env=env | {"HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=home,
    )


def test_everything_fits_the_published_schemas(rendered: dict[str, Path], tmp_path: Path) -> None:
    words = [word for name, file in rendered.items() for word in (name.split()[0], file)]
    done = outside(APART / "schemas.py", *words, home=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {Path(one["file"]).stem: one["problems"] for one in map(json.loads, done.stdout.splitlines())}
    assert {name: problems for name, problems in found.items() if problems} == {}
    assert len(found) == len(rendered)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("k8s llama", ("containerPort:", "containerPorts:")),
        ("k8s llama", ("runAsNonRoot: true", "runAsNonRoot: 'yes'")),
        ("kserve llama", ("minReplicas:", "minReplica:")),
        ("kserve vllm", ("livenessProbe:", "livenesProbe:")),
        ("kserve llm", ("router:", "routers:")),
        ("ray-serve llama", ("num_replicas:", "replicas:")),
        ("ray-serve llama", ("parallel:", "parallell:")),
        ("ray-serve vllm", ("model_id:", "model_name:")),
        ("ray-serve vllm", ("accelerator_type: L4", "accelerator_type: L5")),
        ("skypilot llama", ("post_data:", "post:")),
        ("skypilot vllm", ("accelerators: L4:1", "accelerator: L4:1")),
    ],
)
def test_the_schemas_are_looked_at(
    name: str, spoil: tuple[str, str], rendered: dict[str, Path], tmp_path: Path
) -> None:
    text = rendered[name].read_text()
    assert spoil[0] in text
    rendered[name].write_text(text.replace(*spoil, 1))
    done = outside(APART / "schemas.py", name.split()[0], rendered[name], home=tmp_path)
    assert json.loads(done.stdout)["problems"], done.stderr


@pytest.fixture
def short() -> Iterator[str]:
    """A folder with a short name: Ray puts sockets far below it, and their paths may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="fh-", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture
def serving(
    tiny: Path, loaded: Callable[..., Loaded], store: Store, tmp_path: Path, short: str
) -> Iterator[dict[str, Any]]:
    """Ray Serve with what was rendered for a tiny GGUF; yields the entry for freehold.yaml."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")
    deployment = describe("own/ray", loaded({"own": [{"name": "ray", "path": str(tiny), "context": 256}]}), store)
    made = render("ray-serve", deployment, Options())
    port = _free_port()
    file = tmp_path / "ray.yaml"
    file.write_text(made.text.replace("port: 8000", f"port: {port}"))
    home = tmp_path / "home-of-ray"
    home.mkdir()
    process = subprocess.Popen(
        [str(PYTHON), str(APART / "ray_local.py"), str(file), short],
        env=clean_environment(PYTHONPATH=str(SOURCE), RAY_USAGE_STATS_ENABLED="0") | {"HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        words = json.loads(process.stdout.readline() or b'{"error": "it ended"}')
        assert "url" in words, words["error"]
        yield yaml.safe_load(yaml.safe_dump(made.config).replace(":8000/", f":{port}/"))
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def test_ray_serve_runs_it_and_the_gateway_uses_it(serving: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    keys = [{"name": "ci", "key": KEY}]
    base = {"server": {"port": 0, "drain_seconds": 5}, "box": False, "discover": False, "keys": keys}
    config.write_text(yaml.safe_dump({**base, **serving, "models": {"tiny": ["ray-ray/ray"]}}))
    with started("up", "--config", str(config), home=tmp_path / "home") as gateway:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
        question: Any = [{"role": "user", "content": "hello"}]
        for model in ("ray-ray/ray", "tiny"):
            answer = client.chat.completions.create(model=model, messages=question, max_tokens=4)
            assert answer.usage is not None
            assert answer.usage.completion_tokens == 4
        stream = client.chat.completions.create(model="tiny", messages=question, max_tokens=4, stream=True)
        assert list(stream)[-1].choices[0].finish_reason == "length"
        raw = client.chat.completions.with_raw_response.create(model="tiny", messages=question, max_tokens=1)
        assert raw.headers["x-freehold-deployment"] == "ray-ray/ray"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
