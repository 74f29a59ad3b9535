"""`freehold fake`: runs the fake provider (freehold.fake) until SIGTERM or SIGINT."""

import os
from pathlib import Path

import click

_PATH = click.Path(path_type=Path)

_HELP = """Run a provider that answers from a script.

It speaks OpenAI (base URL .../v1), Anthropic, Gemini, Bedrock, Cohere and Ollama (base URL without a path), Mistral,
Voyage and Jina (.../mistral, .../voyage, .../jina), with the paths of Azure and Vertex too, on one port, and keeps its
own bill: GET /__fake__/served. Without a script it answers every request with a short text.

\b
Ask for something else without a script, by header or by model name:
  x-fake: status=429; retry-after=2        an error in the dialect's own shape
  x-fake: fault=stall_mid_stream           a fault (see --list-faults)
  x-fake: latency=50; first=20; event=5    milliseconds
  x-fake: events=65                        exactly 65 text events
  x-fake: text=hi%3B there; tool=NAME; thinking=...; refusal=...; finish=length; chunk=3; burst=1
  fake-tools  fake-json  fake-thinking  fake-refusal  fake-echo  fake-length  fake-chunks
  fake-status-429  fake-fault-cut-mid-event  fake-events-65+event-5
\b
A script is YAML or JSON:
  rules:
    - match: {dialect: chat, model: "gpt-*", contains: weather, nth: 1}
      reply: {tool_calls: [{name: get_weather}]}
    - match: {probability: 0.1}
      times: 3
      reply: {status: 503}
    - reply: {text: "You said: {last_user}"}
"""


@click.command(help=_HELP)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option("--script", type=_PATH, help="Rules, as YAML or JSON.")
@click.option("--replay", type=_PATH, help="Recorded exchanges to answer from (.jsonl or .jsonl.gz).")
@click.option("--rechunk", type=int, metavar="SEED", help="Cut replayed streams at random byte boundaries.")
@click.option("--served", type=_PATH, help="Append one JSON line for each accepted request.")
@click.option("--key", help="Insist on this API key, or access key of a signature.")
@click.option("--latency", default=0.0, type=click.FloatRange(0), metavar="MS", help="Before every response.")
@click.option("--jitter", default=0.0, type=click.FloatRange(0), metavar="MS", help="Up to so much more.")
@click.option("--hub", type=_PATH, metavar="FOLDER", help="Be a hub of models instead: FOLDER/ORG/NAME/files.")
@click.option("--list-faults", is_flag=True, help="Print the faults and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    list_faults: bool,
    as_json: bool,
    script: Path | None,
    replay: Path | None,
    rechunk: int | None,
    served: Path | None,
    key: str | None,
    host: str,
    port: int,
    latency: float,
    jitter: float,
    hub: Path | None,
) -> None:
    if list_faults:
        _list(as_json)
        return
    if hub is not None:
        from freehold.fake.hub import HubServer, serve

        serve(HubServer(hub, host=host, port=port), lambda running: _hub_ready(running.url, as_json))
        return
    from freehold.fake.provider import FakeProvider
    from freehold.fake.run import run

    provider = FakeProvider(
        script,
        host=host,
        port=port,
        replay=replay,
        rechunk=rechunk,
        served_file=served,
        key=key,
        latency_ms=latency,
        jitter_ms=jitter,
    )
    run(provider, lambda running: _ready(running.url, as_json))


def _ready(url: str, as_json: bool) -> None:
    """Says that the port is open; in a pipe at once, because somebody waits for the line."""
    if as_json:
        from freehold.cli import output

        output.emit({"url": url, "pid": os.getpid()})
        return
    click.echo(f"fake provider on {url}")
    click.echo(f"  OpenAI base URL     {url}/v1")
    click.echo(f"  Anthropic, Gemini   {url}")
    click.echo(f"  its bill            {url}/__fake__/served")


def _hub_ready(url: str, as_json: bool) -> None:
    if as_json:
        from freehold.cli import output

        output.emit({"url": url, "pid": os.getpid()})
        return
    click.echo(f"fake hub on {url}")
    click.echo(f"  HF_ENDPOINT={url} freehold pull ORG/NAME")
    click.echo(f"  OLLAMA_REGISTRY={url} freehold pull ollama:NAME")


def _list(as_json: bool) -> None:
    from freehold.cli import output
    from freehold.fake.faults import FAULTS

    if as_json:
        output.emit([{"name": one.name, "applies": one.applies, "summary": one.summary} for one in FAULTS.values()])
        return
    output.table(
        ["fault", "applies", "what happens"], [(one.name, one.applies, one.summary) for one in FAULTS.values()]
    )
