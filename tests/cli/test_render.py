"""`freehold render`: the text on stdout or in a file, what else is to be done on stderr, nothing overwritten."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from freehold.cli.render import TARGETS, command
from freehold.errors import BadRequest, EngineError
from freehold.own import render
from freehold.own.catalog import box_file


@pytest.fixture
def config(tmp_path: Path, home: Path) -> Path:
    file = box_file()
    if file is None:
        pytest.skip("this installation has no model in the box")
    path = tmp_path / "freehold.yaml"
    path.write_text(f"box: false\ndiscover: false\nown:\n  - {{name: desk, path: {file}, context: 256}}\n")
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


def test_the_targets_are_those_that_can_be_written() -> None:
    assert tuple(render.TARGETS) == TARGETS


def test_stdout_holds_what_to_apply_and_nothing_else(config: Path) -> None:
    done = run("k8s", "own/desk", "--config", config, "--weights", "pvc://models/desk")
    kinds = [value["kind"] for value in yaml.safe_load_all(done.stdout)]
    assert kinds == ["ConfigMap", "Deployment", "Service"]
    assert "kubectl create secret" in done.stderr
    assert "owned: true" in done.stderr


def test_a_file_is_written_and_not_overwritten(config: Path, tmp_path: Path) -> None:
    target = tmp_path / "ray.yaml"
    done = run("ray-serve", "desk", "--config", config, "-o", target)
    assert done.stdout == ""
    assert yaml.safe_load(target.read_text())["applications"][0]["name"] == "desk"
    with pytest.raises(BadRequest, match="exists already"):
        run("ray-serve", "desk", "--config", config, "-o", target)
    run("ray-serve", "desk", "--config", config, "-o", target, "--force", "--replicas", "3")
    assert yaml.safe_load(target.read_text())["applications"][0]["deployments"][0]["num_replicas"] == 3


def test_the_entry_for_freehold_yaml_alone(config: Path) -> None:
    done = run("ray-serve", "desk", "--config", config, "--entry")
    assert yaml.safe_load(done.stdout)["providers"]["desk-ray"]["base_url"] == "http://127.0.0.1:8000/desk/v1"
    assert done.stderr == ""


def test_json_holds_all_of_it(config: Path) -> None:
    said = json.loads(run("skypilot", "desk", "--config", config, "--json").stdout)
    assert set(said) == {"text", "config", "models", "notes"}
    assert said["models"] == ["desk-sky/desk"]


def test_refusals_reach_the_person(config: Path) -> None:
    with pytest.raises(EngineError, match="nobody else has these weights"):
        run("kserve", "desk", "--config", config)
    with pytest.raises(EngineError, match="was not pulled"):
        run("kserve", "absent", "--config", config)
