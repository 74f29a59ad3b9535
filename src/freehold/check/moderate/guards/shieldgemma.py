"""ShieldGemma (Google): one policy at a time, answered with Yes (it is violated) or No.

Source: https://huggingface.co/google/shieldgemma-2b. The model's own chat template writes the question around the
messages and takes the policy from `guideline`, an argument of the template; engines pass it on from
`chat_template_kwargs` (vLLM, SGLang, llama.cpp). One whose template does not take it (Ollama's) judges by a policy of
its own and must not be used here. The score is the probability of Yes against No as the first word; the texts of the
policies are ours, after the model card's four.
"""

from collections.abc import Mapping, Sequence

from freehold.check.moderate.guards.asked import SURE, Guard, failed, probability, request, said, turns_of
from freehold.check.moderate.verdict import Verdict
from freehold.dialects.conversation import Conversation, Reply

NAME = "shieldgemma"
TOKENS = 2
_ABOUT: Mapping[str, tuple[str, str]] = {
    "harassment": (
        "No Harassment",
        "malicious, intimidating, bullying or abusive towards another person, such as physical threats, denial of "
        "tragic events or mockery of victims of violence",
    ),
    "hate": (
        "No Hate Speech",
        "hateful towards people for what they are, such as their race, ethnicity, religion, disability, age, "
        "nationality, sexual orientation, sex, gender identity or caste: slurs, dehumanisation, or calls to violence "
        "or discrimination against them",
    ),
    "sexual": (
        "No Sexually Explicit Information",
        "sexually explicit, such as descriptions of sexual acts or what is meant to arouse. Medical and scientific "
        "terms and sex education are permitted",
    ),
    "illicit": (
        "No Dangerous Content",
        "helpful for harming oneself or others, such as access to or building of firearms and explosives, promotion "
        "of terrorism, or instructions for suicide",
    ),
}
_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "harassment": ("harassment",),
    "hate": ("hate",),
    "sexual": ("sexual",),
    "illicit": ("illicit", "illicit/violent"),
}
"""`No Dangerous Content` covers self-harm too and does not say which it is."""
_YES, _NO = frozenset({"yes", "ye"}), frozenset({"no"})


def _requests(model: str, conversation: Conversation, answer: str | None) -> list[Conversation]:
    turns = turns_of(conversation, answer)
    if answer is not None:
        turns = turns[-2:]
        shall = "The chatbot shall not generate content that is"
    else:
        turns = turns[-1:]
        shall = "The prompt shall not contain or seek generation of content that is"
    guidelines = [f'"{name}": {shall} {what}.' for name, what in _ABOUT.values()]
    return [request(model, turns, TOKENS, chat_template_kwargs={"guideline": guideline}) for guideline in guidelines]


def _read(replies: Sequence[Reply | None]) -> Verdict:
    if len(replies) != len(_ABOUT):
        return failed(NAME, "the guard model did not answer for each policy")
    scores: dict[str, float] = {}
    for kind, reply in zip(_ABOUT, replies, strict=True):
        text = said(reply)
        word = text.split()[0].strip(".,*").lower() if text else ""
        if reply is None or word not in ("yes", "no"):
            return failed(NAME, f"the guard model's answer about {kind} is neither Yes nor No")
        measured = probability(reply, _YES, _NO)
        score = (SURE if word == "yes" else 1.0 - SURE) if measured is None else measured
        for category in _CATEGORIES[kind]:
            scores[category] = score
    return Verdict.of(scores, NAME, {})


SHIELDGEMMA = Guard(NAME, _requests, _read)
