"""`freehold ask`: one question to the running gateway, over HTTP like any client."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from freehold.cli import client, output
from freehold.cli.prompt import output_format, piped, printable, user_message

_FINISHES = {
    "length": "the answer was cut at its token limit; --max-tokens raises it",
    "content_filter": "the provider withheld the answer, or a part of it",
    "tool_calls": "the model asked for a tool instead of answering",
}


@click.command()
@click.argument("words", metavar="[PROMPT]", required=False)
@click.option("--model", "-m", default="auto", show_default=True, help="A name that `freehold models` lists.")
@click.option("--system", "-s", help="Instructions that stand before the question.")
@click.option("--file", "-f", "files", multiple=True, type=click.Path(path_type=Path), help="Text, image, PDF, audio.")
@click.option("--schema", type=click.Path(path_type=Path), help="JSON Schema that the answer has to match.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, in tokens.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole.")
@click.option("--json", "as_json", is_flag=True, help="Print text, usage and who answered as JSON.")
@click.option("--url", help="Another gateway than the one started here; also FREEHOLD_URL.")
@click.option("--key", help="The key to send; better in FREEHOLD_API_KEY, which other users cannot see.")
def command(
    words: str | None,
    model: str,
    system: str | None,
    files: tuple[Path, ...],
    schema: Path | None,
    max_tokens: int | None,
    no_stream: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Ask the running gateway one question.

    What is piped in is read too, and stands after the PROMPT: `git diff | freehold ask "write a commit message"`.
    The answer goes to stdout; a line on stderr says who gave it, why, and what it took.
    """
    gateway = client.find(url, key)
    question = "\n\n".join(part for part in ("" if words == "-" else words, piped()) if part)
    if not question and not files:
        raise click.UsageError("there is no question", click.get_current_context())
    request: dict[str, Any] = {"model": model, "messages": [user_message(question, files)]}
    if system:
        request["messages"].insert(0, {"role": "system", "content": system})
    if schema is not None:
        request["response_format"] = output_format(schema)
    if max_tokens is not None:
        request["max_tokens"] = max_tokens
    if not (no_stream or as_json):
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    printer = Printer(silent=as_json)
    try:
        answer = asyncio.run(client.converse(gateway, request, printer.write))
    finally:
        printer.close()
    if as_json:
        output.emit(msgspec.to_builtins(answer))
        return
    tell(answer)


class Printer:
    """Writes an answer to stdout as it comes, and ends its last line however it ends."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._terminal = sys.stdout.isatty()
        self._last = "\n"

    def write(self, text: str) -> None:
        if self._silent:
            return
        self._last = text
        sys.stdout.write(printable(text) if self._terminal else text)
        sys.stdout.flush()

    def close(self) -> None:
        if not self._last.endswith("\n"):
            self.write("\n")


def tell(answer: client.Answer) -> None:
    """Says on stderr who answered, and what the text alone does not show."""
    output.say(answer.line())
    if answer.finish in _FINISHES:
        output.warn(_FINISHES[answer.finish])
    if answer.lost:
        output.warn(f"{answer.deployment} could not be given {', '.join(answer.lost)}")
