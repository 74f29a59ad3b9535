"""`freehold feedback`: rates an answer, so that routing can learn from it. What clients do with POST /v1/feedback."""

import asyncio
from typing import Any

import click
import msgspec

from freehold.cli import client, output
from freehold.errors import BadRequest, CallerError, ProviderError, UpstreamBroken

_SECONDS = 10.0


@click.command()
@click.argument("answer", metavar="ID")
@click.option("--score", type=click.FloatRange(0, 1), help="0 wrong to 1 right.")
@click.option("--up", "rating", flag_value="up", help="It was right.")
@click.option("--down", "rating", flag_value="down", help="It was not.")
@click.option("--reason", help="A code, such as incomplete; other texts are not kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--url", help="Another gateway than the one started here; also FREEHOLD_URL.")
@click.option("--key", help="The key that asked; better in FREEHOLD_API_KEY, which other users cannot see.")
def command(
    answer: str,
    score: float | None,
    rating: str | None,
    reason: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Say how good the answer ID was, so that routing can learn from it.

    ID is what the answer's header x-request-id says (it begins with req_), or the id in the answer itself. A key can
    rate only what it has asked.
    """
    if (score is None) == (rating is None):
        raise click.UsageError("give one of --score, --up and --down", click.get_current_context())
    if not 1 <= len(answer) <= 200:
        raise BadRequest("that is no id of an answer", hint="the x-request-id header of the answer has it")
    said: dict[str, Any] = {"request_id" if answer.startswith("req_") else "response_id": answer}
    said |= {"score": score} if score is not None else {"rating": rating}
    if reason is not None:
        said["reason"] = reason
    kept = asyncio.run(_rate(client.find(url, key), said))
    if as_json:
        output.emit(kept)
    else:
        output.say(f"{kept['score']:g} for the answer of {kept['deployment']}")
        if kept.get("not_kept"):
            output.say(f"not kept: {', '.join(kept['not_kept'])}")


async def _rate(gateway: client.Running, said: dict[str, Any]) -> dict[str, Any]:
    """Raises FreeholdError, the gateway's own where it has one to say."""
    from freehold.call.transport.fetch import fetch

    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {gateway.key}"}
    status, _, body = await fetch(
        "POST", f"{gateway.url}/v1/feedback", headers, msgspec.json.encode(said), timeout=_SECONDS
    )
    try:
        answer: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UpstreamBroken(f"the gateway's answer cannot be read: {error}", hint="is --url a Freehold?") from error
    if status != 200:
        message, _, hint = str(answer.get("error", {}).get("message", f"status {status}")).partition(" (hint: ")
        kind = CallerError if status < 500 else ProviderError
        raise kind(message, hint=hint.removesuffix(")") or None, status=status)
    return answer
