"""Qwen3Guard-Gen (Alibaba): lines `Safety: Safe|Unsafe|Controversial`, `Categories: ...`, and for answers `Refusal:`.

Source: https://huggingface.co/Qwen/Qwen3Guard-Gen-8B and arXiv 2510.14276. The model's own chat template writes the
policy around the messages and asks about the last of them, so the messages go as they are. `Controversial` is harm in
one reading and none in another: it scores a half of what unsafe does, just under the usual threshold, so that a policy
with lower ones can catch it.

Qwen3Guard-Stream is another model: it judges each token inside the engine that generates, needs remote code and a GPU
beside the engine, and no chat route serves it. It is not supported; text that streams is judged by what is held back.
"""

import re
from collections.abc import Mapping, Sequence

from freehold.check.moderate.guards.asked import SURE, Guard, failed, probability, request, said, turns_of
from freehold.check.moderate.verdict import Verdict
from freehold.dialects.conversation import Conversation, Reply

NAME = "qwen3guard"
TOKENS = 64
CONTROVERSIAL = 0.45
_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "Violent": ("violence", "illicit/violent"),
    "Non-violent Illegal Acts": ("illicit",),
    "Sexual Content or Sexual Acts": ("sexual",),
    "Suicide & Self-Harm": ("self-harm",),
    "Unethical Acts": ("harassment", "hate"),
    "PII": (),
    "Politically Sensitive Topics": (),
    "Copyright Violation": (),
    "Jailbreak": (),
}
"""OpenAI's nearest. `Unethical Acts` is bias, insults, threats and hate together: the model does not say which."""
_SAFETY = re.compile(r"^\s*(?:<think>\s*</think>\s*)?Safety:\s*(Safe|Unsafe|Controversial)\s*$", re.MULTILINE)
_NAMED = re.compile(r"^\s*Categories:\s*(.+?)\s*$", re.MULTILINE)
_UNSAFE, _SAFE = frozenset({"unsafe", "un"}), frozenset({"safe", "controversial", "contro", "cont"})


def _requests(model: str, conversation: Conversation, answer: str | None) -> list[Conversation]:
    return [request(model, turns_of(conversation, answer), TOKENS)]


def _read(replies: Sequence[Reply | None]) -> Verdict:
    reply = replies[0] if len(replies) == 1 else None
    text = said(reply)
    if reply is None or text is None:
        return failed(NAME, "the guard model gave no answer")
    safety, named = _SAFETY.findall(text), _NAMED.findall(text)
    if len(safety) != 1 or len(named) != 1:
        return failed(NAME, "the guard model's answer has not one line of safety and one of categories")
    names = [name.strip() for name in named[0].split(",")]
    if any(name not in _CATEGORIES and name != "None" for name in names):
        return failed(NAME, "the guard model's answer names a category that it does not have")
    if safety[0] == "Safe":
        return Verdict.of({}, NAME, {})
    kinds = [name for name in names if name != "None"]
    if not kinds:
        return failed(NAME, "the guard model's answer is unsafe in no category")
    measured = probability(reply, _UNSAFE, _SAFE)
    score = CONTROVERSIAL if safety[0] == "Controversial" else max(0.5, SURE if measured is None else measured)
    scores = {category: score for name in kinds for category in _CATEGORIES[name]}
    return Verdict.of(scores, NAME, {}, also=tuple(name for name in kinds if not _CATEGORIES[name]))


QWEN3GUARD = Guard(NAME, _requests, _read)
