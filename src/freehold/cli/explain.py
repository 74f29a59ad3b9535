"""`freehold explain`: the plan for a prompt, and why each dropped candidate was dropped. Nobody is called or paid.

The prompt becomes the same request body that a client would send, and goes through the same steps as in the gateway's
pipeline, up to the first one that would open a socket.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.admit.keys import Principal
    from freehold.classify import Facts
    from freehold.cli.view import View
    from freehold.decide import Candidate, Choice, Deployment, Plan
    from freehold.serve.safety.checks import Checked

_PIXEL = "data:image/png;base64,iVBORw0KGgo="
_TOOL = {"type": "function", "function": {"name": "tool", "parameters": {"type": "object"}}}


class Attempt(Struct):
    """A candidate that may answer, in the order of trying; None where nothing is known.

    `quality` is the predicted probability that its answer is right, `expected_cost` US dollars, `seconds` until the
    answer is complete."""

    deployment: str
    owned: bool
    context: int | None
    strength: float
    quality: float | None
    expected_cost: float | None
    seconds: float | None
    note: str


class Dropped(Struct):
    deployment: str
    reason: str
    lasting: bool


class Explained(Struct):
    """What `--json` prints. Sizes are estimated tokens; `findings` are types and what is done about each, such as
    `secret=label`; `signs` are what the predictor saw in the prompt, where it was
    read; `words` is what the header `x-freehold-plan` would say."""

    model: str
    kind: str
    objective: str | None
    label: str
    findings: list[str]
    needs: list[str]
    input_tokens: int
    output_tokens: int
    task: str
    signs: list[str]
    attempts: list[Attempt]
    reason: str
    dropped: list[Dropped]
    words: list[str]
    config: str | None
    price_date: str | None
    assumed: list[str]


class Asked(Struct, frozen=True):
    """A request as the options describe it."""

    prompt: str
    model: str
    tools: bool = False
    schema: bool = False
    images: bool = False
    max_tokens: int | None = None
    key: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


@click.command()
@click.argument("words", metavar="[PROMPT]", required=False)
@click.option("--model", "-m", default="auto", show_default=True, help="The name that would be asked for.")
@click.option("--tools", is_flag=True, help="As if the request offered a tool.")
@click.option("--schema", is_flag=True, help="As if the request asked for JSON of a schema.")
@click.option("--images", is_flag=True, help="As if the request held an image.")
@click.option("--max-tokens", type=click.IntRange(1), help="As if the request limited its answer.")
@click.option("--key", help="As if a key of the configuration asked, by its name.")
@click.option("--header", "-H", "headers", multiple=True, help="As if the request had this header: 'NAME: VALUE'.")
@click.option("--request", metavar="ID", help="Instead of a prompt: a request of the past, by its x-request-id.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    words: str | None,
    model: str,
    tools: bool,
    schema: bool,
    images: bool,
    max_tokens: int | None,
    key: str | None,
    headers: tuple[str, ...],
    request: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show who would answer a PROMPT and why, calling nobody.

    The prompt may come through a pipe. Exits 1 when nobody could answer.
    """
    from freehold.cli.prompt import piped
    from freehold.cli.view import look

    if request is not None:
        _recall(request, as_json=as_json)
        return
    prompt = "\n\n".join(part for part in ("" if words == "-" else words, piped()) if part)
    if not prompt:
        raise click.UsageError("there is no prompt", click.get_current_context())
    parts = [header.partition(":") for header in headers]
    sent = tuple((name.strip().lower().encode(), value.strip().encode()) for name, _, value in parts)
    asked = Asked(prompt, model, tools, schema, images, max_tokens, key, sent)
    explained = explain(look(config), asked)
    if as_json:
        output.emit(explained)
    else:
        _show(explained)
    if not explained.attempts:
        sys.exit(1)


def _recall(request: str, *, as_json: bool) -> None:
    """Shows what the ledger keeps of a decision. Raises NotFound."""
    from freehold.decide import Candidate, Drop, Plan
    from freehold.decide.explain import thoughts
    from freehold.errors import NotFound
    from freehold.home import database
    from freehold.record.outcomes import opened
    from freehold.record.plans import kept

    with opened(database()) as connection:
        found = kept(connection, request)
    if found is None:
        raise NotFound(
            f"there is no request {request!r} in the ledger",
            hint="the id stands in the answer's x-request-id; the ledger is a second or two late",
            param="--request",
        )
    if as_json:
        output.emit(found)
        return
    candidates = tuple(Candidate(one.name, one.quality, one.dollars, None, one.seconds) for one in found.thoughts)
    dropped = tuple(Drop(name, reason) for name, reason in found.dropped)
    plan = Plan((), found.reason, dropped, candidates, found.route, propensity=found.propensity)
    how = "was answered by" if found.outcome == "ok" else f"was sent to (and {found.outcome})"
    if found.deployment:
        print(f"{found.at} UTC: {found.asked} {how} {found.deployment}: {found.reason}")
    if found.refused is not None:
        by = found.refused
        print(f"{by.at} UTC: {by.asked} was refused here: {by.code} ({by.status}), asked by {by.key} as {by.dialect}")
    if found.label:
        print(f"  its label was {found.label}")
    if found.found:
        print(f"  found in it: {', '.join(found.found)}")
    if found.found_back:
        print(f"  found in the answer: {', '.join(found.found_back)}")
    for text in thoughts(plan):
        print(f"  {text}")


def explain(view: "View", asked: Asked) -> Explained:
    """Raises NotFound when nothing is called so, and what the gateway would refuse the request with."""
    import random

    from freehold.classify import facts
    from freehold.decide import World, plan
    from freehold.dialects import chat
    from freehold.serve.decision import at_home, read

    choice = view.catalog.find(asked.model)
    if choice is None:
        raise _unknown(view, asked.model)
    body = _body(asked.prompt, asked.model, asked.tools, asked.schema, asked.images, asked.max_tokens)
    headers = dict(asked.headers)
    principal = view.principal(asked.key)
    checked, body = _checked(view, principal, asked.model, body)
    known = facts(chat.peek(body))
    book = view.rulebook
    caller = book.caller(principal)
    claimed = headers.get(b"x-freehold-label")
    found = (checked.label,) if checked is not None and checked.label is not None else ()
    known.label = book.rules.label(caller.floor, claimed, found)
    policy = book.policy(choice, principal, headers)
    if choice.kind not in ("direct", "alias"):
        read(book.foresight, known, chat.read_request(body))
    now = time.time()
    denied = caller.denied(known, now)
    if checked is not None and checked.home:
        denied = at_home(denied, checked)
    world = World(view.health, denied, foresight=book.foresight, now=now, chance=random.random)
    return _explained(view, known, choice, plan(known, choice, world, policy), checked)


class _Sent:
    """As much of an exchange as the checks look at."""

    content_type = "application/json"

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.headers = {b"content-type": b"application/json"}


def _checked(view: "View", principal: "Principal", model: str, body: bytes) -> "tuple[Checked | None, bytes]":
    """Returns what the checks find, and the body without what they redact. Models that judge requests are not asked.

    Raises PolicyError for what they block."""
    from freehold.serve.safety.checks import compiled

    sent: Any = _Sent(body)
    looking = compiled(view.loaded.config).request(sent, principal, model, lambda *_: None)
    try:
        while True:  # it waits for nothing but its turn
            looking.send(None)
    except StopIteration as done:
        return done.value, sent.body


def _findings(checked: "Checked | None") -> list[str]:
    if checked is None:
        return []
    return [*checked.told, *(f"{kind}=pseudonymise" for kind in sorted(checked.private))]


def _explained(
    view: "View", known: "Facts", choice: "Choice", decision: "Plan", checked: "Checked | None"
) -> Explained:
    from freehold.decide.explain import sentences

    thoughts = {one.name: one for one in decision.candidates}
    reading = known.reading
    return Explained(
        model=known.asked,
        kind=choice.kind,
        objective=decision.objective or None,
        label=str(known.label),
        findings=_findings(checked),
        needs=sorted(known.needs),
        input_tokens=known.input_tokens,
        output_tokens=known.output_tokens,
        task=reading.task if reading is not None else "",
        signs=list(reading.signs) if reading is not None else [],
        attempts=[_attempt(deployment, known, thoughts.get(deployment.name)) for deployment in decision.attempts],
        reason=decision.reason,
        dropped=[Dropped(drop.deployment, drop.reason, drop.lasting) for drop in decision.dropped],
        words=list(sentences(decision)),
        config=str(view.loaded.path) if view.loaded.path else None,
        price_date=view.price_date or None,
        assumed=[*view.assumed, *_untried(view, checked)],
    )


def _untried(view: "View", checked: "Checked | None") -> list[str]:
    """What only a request that is really sent would show."""
    checks, untried = view.loaded.config.checks, []
    if checks.guard is not None or checks.names is not None:
        untried.append("the models that judge requests (checks.guard, checks.names) were not asked")
    if checked is not None and checked.private:
        untried.append("it was not tried whether placeholders would let it go to more places")
    if checked is not None and checked.asked:
        untried.append(f"a person would be asked first ({', '.join(checked.asked)})")
    return untried


def _attempt(deployment: "Deployment", known: "Facts", thought: "Candidate | None") -> Attempt:
    from freehold.decide.price import price

    if thought is None:
        priced = price(deployment, known)
        dollars = priced.dollars if priced is not None else None
        quality, seconds, note = None, None, ""
    else:
        dollars, quality, seconds, note = thought.dollars, thought.quality, thought.seconds, thought.note
    name, owned, context = deployment.name, deployment.owned, deployment.context
    return Attempt(name, owned, context, deployment.strength, quality, dollars, seconds, note)


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
        "auto": f"chosen among {candidates} by {explained.objective or 'rules'}",
        "split": f"split between {candidates}",
    }[explained.kind]
    seen = ", ".join([*([explained.task] if explained.task else []), *explained.signs])
    lines = [
        ("model", f"{explained.model}: {kind}"),
        ("label", explained.label),
        ("findings", ", ".join(explained.findings) or "none"),
        ("needs", ", ".join(explained.needs) or "nothing special"),
        ("size", f"about {explained.input_tokens:,} tokens in, up to {explained.output_tokens:,} out"),
        ("prompt", seen or "nothing in it stands out"),
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
            output.Column("right with", right=True),
            output.Column("expected cost", right=True),
            output.Column("seconds", right=True),
            "note",
        ]
        output.table(columns, [_cells(number, one) for number, one in enumerate(explained.attempts, 1)])
    if explained.dropped:
        print()
        output.table(["dropped", "because"], [(drop.deployment, drop.reason) for drop in explained.dropped])
    for text in explained.assumed:
        output.say(text)


def _cells(number: int, attempt: Attempt) -> list[object]:
    return [
        number,
        attempt.deployment,
        "owned" if attempt.owned else "rented",
        output.tokens(attempt.context),
        "" if attempt.quality is None else f"{attempt.quality:.2f}",
        output.money(attempt.expected_cost) or "unpriced",
        "" if attempt.seconds is None else f"{attempt.seconds:.2g}",
        attempt.note,
    ]
