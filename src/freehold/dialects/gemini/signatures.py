"""What a thought's signature looks like to a Gemini client, whoever thought it.

`thoughtSignature` is a bytes field, so its JSON is base64 (the SDKs decode it, and may encode it again in the other
alphabet). Google's own goes through as it is. A client that talks to another provider must bring that one's signature
back too, so it is put into the field under a tag:

    anthropic:SIGNATURE            Anthropic's signature of the thought before it
    anthropic-redacted:DATA        Anthropic's redacted thinking
    openai:ENCRYPTED_CONTENT       OpenAI's reasoning item
    #ID LF                         before any of these: the item's id

`Thinking.signature` holds Google's with `gemini:` before it, see `dialects/thinking.py`. On texts and calls only Google
signs; its signature means something to its own models alone, so that it is no loss where another provider, or a client
of another dialect, is spared it.
"""

from base64 import b64encode, urlsafe_b64decode
from binascii import Error as BinasciiError

from freehold.dialects.conversation import Thinking
from freehold.dialects.thinking import GEMINI_TAG, OPENAI_TAG

_ANTHROPIC_TAG = "anthropic:"
_REDACTED_TAG = "anthropic-redacted:"
_TO_URL = str.maketrans("+/", "-_")
_LONGEST_ID = 300


def write_signature(signature: str | None, redacted: str | None = None, item: str | None = None) -> str | None:
    """The `thoughtSignature` for what a `Thinking` holds; None where it holds nothing of the kind."""
    if signature is not None and signature.startswith(GEMINI_TAG):
        return signature[len(GEMINI_TAG) :]
    if redacted is not None:
        text = _REDACTED_TAG + redacted
    elif signature is not None:
        text = signature if signature.startswith(OPENAI_TAG) else _ANTHROPIC_TAG + signature
    else:
        text = ""
    if item:
        text = f"#{item}\n{text}"
    return b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii") if text else None


def read_thinking(text: str, signature: str | None) -> Thinking:
    """The canonical thought of a part with `text` and `thoughtSignature`."""
    if not signature:
        return Thinking(text)
    tagged = _decode(signature)
    item = None
    if tagged.startswith("#"):
        head, _, tagged = tagged.partition("\n")
        item = head[1:]
    if tagged.startswith(_ANTHROPIC_TAG):
        return Thinking(text, tagged[len(_ANTHROPIC_TAG) :], id=item)
    if tagged.startswith(_REDACTED_TAG):
        return Thinking(text, redacted=tagged[len(_REDACTED_TAG) :], id=item)
    if tagged.startswith(OPENAI_TAG):
        return Thinking(text, tagged, id=item)
    if item and not tagged:
        return Thinking(text, id=item)
    return Thinking(text, GEMINI_TAG + signature)


def is_foreign(thought: Thinking) -> bool:
    """Whether another provider signed it."""
    if thought.redacted is not None or thought.id is not None:
        return True
    return thought.signature is not None and not thought.signature.startswith(GEMINI_TAG)


def _decode(signature: str) -> str:
    """The tagged text in `signature`; empty where it is Google's own."""
    try:
        raw = urlsafe_b64decode(signature.translate(_TO_URL) + "=" * (-len(signature) % 4))
        head = raw[:_LONGEST_ID]
        mine = head.startswith((b"anthropic", b"openai:")) or (head.startswith(b"#") and b"\n" in head)
        text = raw.decode("utf-8", "surrogatepass") if mine else ""
    except (BinasciiError, ValueError):
        return ""
    if text.startswith("#"):
        tagged = text.partition("\n")[2]
        return text if not tagged or tagged.startswith((_ANTHROPIC_TAG, _REDACTED_TAG, OPENAI_TAG)) else ""
    return text if text.startswith((_ANTHROPIC_TAG, _REDACTED_TAG, OPENAI_TAG)) else ""
