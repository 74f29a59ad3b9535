"""`freehold explain`: the plan for a prompt, and why each dropped candidate was dropped. Nobody is called or paid.

The prompt becomes the same request body that a client would send, and goes through the same steps as in the gateway's
pipeline, up to the first one that would open a socket.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.classify import Difficulty, Facts
    from freehold.cli.view import View
    from freehold.decide import Choice, Deployment, Plan

_PIXEL = "data:image/png;base64,iVBORw0KGgo="
_TOOL = {"type": "function", "function": {"name": "tool", "parameters": {"type": "object"}}}


class Attempt(Struct):
    """A candidate that may answer. `expected_cost` is US dollars, None where a price is unknown."""

    deployment: str
    owned: bool
    context: int | None
    strength: float
    expected_cost: float | None


class Dropped(Struct):
    deployment: str
    reason: str
    lasting: bool


class Explained(Struct):
    """What `--json` prints. Sizes are estimated tokens; `difficulty` counts only where `kind` is auto."""

    model: str
    kind: str
    objective: str | None
    needs: list[str]
    input_tokens: int
    output_tokens: int
    difficulty: float
    signs: list[str]
    attempts: list[Attempt]
    reason: str
    dropped: list[Dropped]
    config: str | None
    price_date: str | None
    assumed: list[str]


@click.command()
@click.argument("words", metavar="[PROMPT]", required=False)
@click.option("--model", "-m", default="auto", show_default=True, help="The name that would be asked for.")
@click.option("--tools", is_flag=True, help="As if the request offered a tool.")
@click.option("--schema", is_flag=True, help="As if the request asked for JSON of a schema.")
@click.option("--images", is_flag=True, help="As if the request held an image.")
@click.option("--max-tokens", type=click.IntRange(1), help="As if the request limited its answer.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    words: str | None,
    model: str,
    tools: bool,
    schema: bool,
    images: bool,
    max_tokens: int | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show who would answer a PROMPT and why, calling nobody.

    The prompt may come through a pipe. Exits 1 when nobody could answer.
    """
    from freehold.cli.prompt import piped
    from freehold.cli.view import look

    prompt = "\n\n".join(part for part in ("" if words == "-" else words, piped()) if part)
    if not prompt:
        raise click.UsageError("there is no prompt", click.get_current_context())
    view = look(config)
    explained = explain(view, prompt, model, tools=tools, schema=schema, images=images, max_tokens=max_tokens)
    if as_json:
        output.emit(explained)
    else:
        _show(explained)
    if not explained.attempts:
        sys.exit(1)


def explain(
    view: "View", prompt: str, model: str, *, tools: bool, schema: bool, images: bool, max_tokens: int | None
) -> Explained:
    """Raises NotFound when nothing is called `model`."""
    from freehold.classify import difficulty, facts
    from freehold.decide import plan
    from freehold.dialects import chat

    choice = view.catalog.find(model)
    if choice is None:
        raise _unknown(view, model)
    known = facts(chat.peek(_body(prompt, model, tools, schema, images, max_tokens)))
    estimate = difficulty(prompt, turns=1, tools=tools)
    if choice.kind == "auto":
        known.difficulty, known.signs = estimate.score, estimate.signs
    return _explained(view, known, estimate, choice, plan(known, choice, view.health))


def _explained(view: "View", known: "Facts", estimate: "Difficulty", choice: "Choice", decision: "Plan") -> Explained:
    return Explained(
        model=known.asked,
        kind=choice.kind,
        objective=choice.objective if choice.kind == "auto" else None,
        needs=sorted(known.needs),
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        difficulty=estimate.score,
        signs=list(estimate.signs),
        attempts=[_attempt(deployment, known) for deployment in decision.attempts],
        reason=decision.reason,
        dropped=[Dropped(drop.deployment, drop.reason, drop.lasting) for drop in decision.dropped],
        config=str(view.loaded.path) if view.loaded.path else None,
        price_date=view.price_date or None,
        assumed=view.assumed,
    )


def _attempt(deployment: "Deployment", known: "Facts") -> Attempt:
    from freehold.decide.plan import cost

    return Attempt(deployment.name, deployment.owned, deployment.context, deployment.strength, cost(deployment, known))


def _body(prompt: str, model: str, tools: bool, schema: bool, images: bool, max_tokens: int | None) -> bytes:
    """Returns the request body that stands for the options."""
    import msgspec

    content: Any = prompt
    if images:
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": _PIXEL}}]
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": content}]}
    if tools:
        body["tools"] = [_TOOL]
    if schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return msgspec.json.encode(body)


def _unknown(view: "View", model: str) -> Exception:
    import difflib

    from freehold.errors import NotFound

    close = difflib.get_close_matches(model, view.catalog.names(), 1, 0.6)
    return NotFound(
        f"there is no model {model!r} here",
        hint=f"did you mean {close[0]!r}?" if close else "freehold models",
        code="model_not_found",
        param="--model",
    )


def _show(explained: Explained) -> None:
    candidates = len(explained.attempts) + len(explained.dropped)
    kind = {
        "direct": "one deployment, addressed directly",
        "alias": f"an alias for {candidates}, tried in this order",
        "auto": f"chosen among {candidates} by {explained.objective}",
    }[explained.kind]
    signs = f" ({', '.join(explained.signs)})" if explained.signs else ""
    unused = "" if explained.kind == "auto" else "; not looked at here, only auto uses it"
    lines = [
        ("model", f"{explained.model}: {kind}"),
        ("needs", ", ".join(explained.needs) or "nothing special"),
        ("size", f"about {explained.input_tokens:,} tokens in, up to {explained.output_tokens:,} out"),
        ("difficulty", f"{explained.difficulty:.2f}{signs}{unused}"),
        ("decision", explained.reason),
        ("prices of", explained.price_date or "the configuration"),
    ]
    for name, text in lines:
        print(f"{name:<12}{text}")
    if explained.attempts:
        print()
        columns: list[output.Column | str] = [
            output.Column("try", right=True),
            output.Column("deployment", whole=True),
            "runs",
            output.Column("context", right=True),
            output.Column("strength", right=True),
            output.Column("expected cost", right=True),
        ]
        output.table(columns, [_cells(number, one) for number, one in enumerate(explained.attempts, 1)])
    if explained.dropped:
        print()
        output.table(["dropped", "because"], [(drop.deployment, drop.reason) for drop in explained.dropped])
    for text in explained.assumed:
        output.say(text)


def _cells(number: int, attempt: Attempt) -> list[object]:
    expected = output.money(attempt.expected_cost) or "unpriced"
    return [
        number,
        attempt.deployment,
        "owned" if attempt.owned else "rented",
        output.tokens(attempt.context),
        f"{attempt.strength:.2f}",
        expected,
    ]
