"""Ways out of a rendered answer: an image or a link whose address carries text away when it is shown or clicked.

An image is fetched by showing it, so its address alone can carry what a model was told to put there. A hit is an image
(Markdown or HTML) from another host whose query or path holds data or a place for data, and a link with the same in
its query. Hosts that are trusted, data: images and plain addresses of pictures are none. Where `Rules.trusted_hosts` is
given, an image from any other host is a hit.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from freehold.check.detect.checks import entropy
from freehold.check.detect.expression import Expression
from freehold.check.detect.finding import Hit
from freehold.check.detect.view import View

_KNOWN = ("img.shields.io", "badge.fury.io", "github.com", "raw.githubusercontent.com", "codecov.io", "readthedocs.org")
_FIND = Expression(
    rb"(!?)\[[^\]\n]{0,300}\]\(\s{0,3}<?((?:https?:)?//[^\s)>]{4,1000})"
    rb"|<(i)mg\b[^>]{0,300}?\bsrc\s{0,2}=\s{0,2}[\"']?((?:https?:)?//[^\s\"'>]{4,1000})"
    rb"|!\[[^\]\n]{0,200}\]\[[^\]\n]{1,80}\]"
)
_PLACE = re.compile(
    rb"\{[^}]{1,80}\}|\[[^\]]{2,80}\]|<[^>]{2,80}>|%7b|%5b|\$\{|data_here|insert|secret_here|your_data|conversation|system_prompt|api_?key|password",
    re.I,
)
_PARAM = re.compile(rb"[?&#][^=&#\s]{1,60}=([^&#\s]{0,900})")
_SUSPECT = re.compile(
    rb"[?&](?:q|d|data|c|x|p|s|msg|info|log|leak|exfil|secret|content|payload|text|t|stolen|key|token|pw|pass|conversation|chat"
    rb"|history|prompt|user|email|name)=[^&\s]{4,}",
    re.I,
)


class Links:
    name = "markdown-exfiltration"
    exact = False
    longest = 1700
    literals = (b"](http", b"](//", b"](<http", b"](<//", b"<img")

    def __init__(self, trusted: Collection[str] = ()) -> None:
        self._strict = bool(trusted)
        self._trusted = frozenset(host.lower() for host in (*trusted, *_KNOWN))

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done = 0
        for place in places:
            if place < done:
                continue
            start = place if data[place] == 60 else self._opening(data, place)
            if start is None:
                continue
            match = _FIND.match(data, start, len(data))
            if match is None or match.span(0)[1] <= place:
                continue
            done = match.end()
            image = match.group(1) == b"!" or match.group(3) != b""
            address = match.group(2) or match.group(4)
            score = self._score(address, image)
            if score is not None:
                yield Hit("exfiltration", start, match.end(), "markdown-image" if image else "markdown-link", score, 1)

    @staticmethod
    def _opening(data: bytes, place: int) -> int | None:
        start = data.rfind(b"[", max(0, place - 300), place)
        if start < 0:
            return None
        return start - 1 if start and data[start - 1] == 33 else start

    def _score(self, address: bytes, image: bool) -> float | None:
        host = re.split(rb"[/?#:]", address.partition(b"//")[2], maxsplit=1)[0].decode("utf-8", "replace").lower()
        if any(host == known or host.endswith("." + known) for known in self._trusted):
            return None
        values = [value for value in _PARAM.findall(address) if value]
        if any(_PLACE.search(value) for value in values) or _PLACE.search(
            address.partition(b"//")[2].partition(b"/")[2]
        ):
            return 0.9 if image else 0.6
        long = any(len(value) >= 20 and entropy(value.decode("utf-8", "replace")) > 3.0 for value in values)
        if image and (long or _SUSPECT.search(address)):
            return 0.8
        if not image and any(len(value) >= 64 and entropy(value.decode("utf-8", "replace")) > 4.0 for value in values):
            return 0.5
        return 0.6 if image and self._strict else None
