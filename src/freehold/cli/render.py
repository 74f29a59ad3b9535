"""`freehold render`: an owned deployment, written for an engine of scale."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.own.render import Deployment, Rendered

TARGETS = ("ray-serve", "kserve", "k8s", "skypilot")


@click.command()
@click.argument("target", type=click.Choice(TARGETS))
@click.argument("name")
@click.option("--output", "-o", "file", type=click.Path(path_type=Path, dir_okay=False),
              help="File to write; stdout without it. An existing file is not overwritten.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option("--engine", help="Another engine than here: vllm, sglang, transformers, llama-server.")
@click.option("--weights", metavar="pvc://CLAIM/PATH", help="A volume of the cluster that holds the weights already.")
@click.option("--adapters", metavar="URI", help="Where the LoRA adapters are on the other side.")
@click.option("--gpus", type=click.IntRange(0, 64), help="GPUs of one replica; else what the engine and its args say.")
@click.option("--accelerator", help="Which GPU, as the target names it: L4, H100.")
@click.option("--replicas", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many.")
@click.option("--image", help="Another container image.")
@click.option("--namespace", default="default", show_default=True, help="Of Kubernetes.")
@click.option("--storage-class", "storage", help="Of the volume claim for the weights.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where Ray Serve listens; it knows no keys.")
@click.option("--llm", is_flag=True, help="kserve: an LLMInferenceService instead of an InferenceService.")
@click.option("--entry", is_flag=True, help="Print what to add to freehold.yaml instead.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: text, config, models and notes.")
def command(
    target: str,
    name: str,
    file: Path | None,
    force: bool,
    engine: str | None,
    weights: str | None,
    adapters: str | None,
    gpus: int | None,
    entry: bool,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write what another engine of scale needs to run NAME.

    NAME is an owned model: an entry under own: or one that was pulled, also NAME@v3. The weights are pinned by revision
    and sha256, no secret is written. What is to be done before it can be applied, and how this gateway then uses it,
    is said on stderr.
    """
    from freehold.own.render import Options, render

    deployment = _described(name, config, engine, weights, adapters, gpus)
    rendered = render(target, deployment, Options(**options))
    if as_json:
        output.emit(
            {
                "text": rendered.text,
                "config": rendered.config,
                "models": rendered.deployments,
                "notes": rendered.notes,
            }
        )
        return
    if entry:
        sys.stdout.write(_config(rendered))
    elif file is None:
        sys.stdout.write(rendered.text)
    else:
        _write(file, rendered.text, force=force)
        output.say(f"written to {file}: {deployment.weights.origin}")
    sys.stdout.flush()
    if not entry:
        _explain(rendered)


def _described(
    name: str,
    configuration: Path | None,
    engine: str | None,
    weights: str | None,
    adapters: str | None,
    gpus: int | None,
) -> "Deployment":
    from freehold.call.providers import load_config
    from freehold.cli import client
    from freehold.own.render import describe
    from freehold.own.weights.store import open_store

    loaded = load_config(client.configuration(configuration), os.environ)
    return describe(name, loaded, open_store(), engine=engine, weights=weights, adapters=adapters, gpus=gpus)


def _write(file: Path, text: str, *, force: bool) -> None:
    from freehold.errors import BadRequest

    try:
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise BadRequest(f"{file} exists already", hint="name another file, or --force", code="exists") from None


def _config(rendered: "Rendered") -> str:
    from freehold.own.render.text import dump

    return dump(rendered.config)


def _explain(rendered: "Rendered") -> None:
    for line in rendered.notes:
        output.say(f"  {line}")
    output.say("\nfor freehold.yaml, so that the endpoint comes back as " + ", ".join(rendered.deployments) + ":\n")
    output.say(_config(rendered))
