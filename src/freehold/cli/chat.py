"""`freehold chat`: a conversation with a model, line by line.

On a terminal a line can be edited and recalled; in a pipe each line is a turn, so a script or a test can talk too.
Commands begin with a slash. What was said lives in this process only, unless /save writes it to a file.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from freehold.cli import client, output
from freehold.cli.ask import Printer, tell
from freehold.errors import FreeholdError
from freehold.home import write_private

HELP = """\
/model NAME    ask another model from here on; without a name, say which one is asked
/system TEXT   set the instructions that stand before everything; without a text, take them away
/reset         forget what was said
/save FILE     write the conversation, as JSON where FILE ends in .json, else as Markdown
/help          these lines
/quit          leave; Ctrl-D does too
A line that ends in \\ goes on in the next one. Ctrl-C stops an answer."""


@click.command()
@click.option("--model", "-m", default="auto", show_default=True, help="A name that `freehold models` lists.")
@click.option("--system", "-s", help="Instructions that stand before everything.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, in tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print each answer as one line of JSON.")
@click.option("--url", help="Another gateway than the one started here; also FREEHOLD_URL.")
@click.option("--key", help="The key to send; also FREEHOLD_API_KEY.")
def command(
    model: str, system: str | None, max_tokens: int | None, as_json: bool, url: str | None, key: str | None
) -> None:
    """Have a conversation with a model.

    /help lists what can be typed besides words. Answers go to stdout, everything else to stderr. In a pipe each line
    is a turn, and the first error ends the conversation.
    """
    chat = Chat(client.find(url, key), model, system, max_tokens, as_json)
    interactive = sys.stdin.isatty()
    if interactive:
        _editing()
        output.say(f"talking to {model} at {chat.gateway.url}; /help lists commands, Ctrl-D leaves")
    while (line := _read_turn(interactive)) is not None:
        if line.startswith("/"):
            if not chat.obey(line):
                break
        elif line:
            chat.answer(line, forgiving=interactive)


class Chat:
    """A conversation and its settings. `obey` takes a slash command, `answer` a turn."""

    def __init__(
        self, gateway: client.Running, model: str, system: str | None, max_tokens: int | None, as_json: bool
    ) -> None:
        self.gateway = gateway
        self.model = model
        self.system = system
        self.turns: list[dict[str, str]] = []
        self._max_tokens = max_tokens
        self._as_json = as_json
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._set_model,
            "/system": self._set_system,
            "/reset": self._reset,
            "/save": self._save,
            "/help": lambda _: output.say(HELP),
        }

    def obey(self, line: str) -> bool:
        """Carries out a command; returns False when it was the wish to leave."""
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit"):
            return False
        run = self._commands.get(word)
        if run is None:
            output.say(f"there is no {word}; /help lists what there is")
        else:
            run(rest.strip())
        return True

    def answer(self, words: str, *, forgiving: bool) -> None:
        """Asks with everything said so far. A stopped answer stays as far as it came; a failed turn is taken back.

        Raises FreeholdError, unless `forgiving`: then it is only told.
        """
        self.turns.append({"role": "user", "content": words})
        printer = Printer(silent=self._as_json)
        heard: list[str] = []

        def hear(text: str) -> None:
            heard.append(text)
            printer.write(text)

        try:
            answer = asyncio.run(client.converse(self.gateway, self._request(), hear))
        except KeyboardInterrupt:
            printer.close()
            output.say("stopped")
            self._keep("".join(heard))
            if not forgiving:
                raise
            return
        except FreeholdError as error:
            printer.close()
            self.turns.pop()
            if not forgiving:
                raise
            output.fail(error)
            return
        printer.close()
        self._keep(answer.text)
        if self._as_json:
            output.emit(answer)
        else:
            tell(answer)

    def _request(self) -> dict[str, Any]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, *self.turns],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return request | ({"max_tokens": self._max_tokens} if self._max_tokens else {})

    def _keep(self, text: str) -> None:
        """Adds the assistant's turn; one that said nothing would be refused by providers, so its question goes too."""
        if text:
            self.turns.append({"role": "assistant", "content": text})
        else:
            self.turns.pop()

    def _set_model(self, name: str) -> None:
        self.model = name or self.model
        output.say(f"model: {self.model}")

    def _set_system(self, text: str) -> None:
        self.system = text or None
        output.say(f"system: {text or 'none'}")

    def _reset(self, _: str) -> None:
        self.turns.clear()
        output.say("forgotten")

    def _save(self, name: str) -> None:
        if not name:
            output.say("say where: /save FILE")
            return
        path = Path(name).expanduser()
        system = [{"role": "system", "content": self.system}] if self.system else []
        said = [*system, *self.turns]
        if path.suffix == ".json":
            text = json.dumps({"model": self.model, "messages": said}, ensure_ascii=False, indent=2) + "\n"
        else:
            text = "".join(f"## {turn['role']}\n\n{turn['content']}\n\n" for turn in said)
        try:
            write_private(path, text.encode())
        except OSError as error:
            output.say(f"not saved: {error.strerror}: {path}")
            return
        output.say(f"saved {len(self.turns)} turns to {path}")


def _editing() -> None:
    """Makes `input` editable; a Python built without readline still works, line by line."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401


def _read_turn(interactive: bool) -> str | None:
    """Returns the next turn, lines that end in a backslash joined; None at the end. Ctrl-C drops what was typed."""
    lines: list[str] = []
    while True:
        try:
            line = input("... " if lines else "> ") if interactive else input()
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            if not interactive:
                raise
            sys.stderr.write("\n")
            lines.clear()
            continue
        if not line.endswith("\\"):
            lines.append(line)
            return "\n".join(lines).strip()
        lines.append(line[:-1])
