"""`make fidelity`: what the recorded exchanges show, as tables. Read the tests for what is compared."""

import sys
from collections import Counter

from readings import STREAM, WHOLE, Failure
from recorded import FILE, left_out, recordings, rows
from replaying import CLIENTS, replay, shown
from resending import REFUSED, requests, unsent

from freehold.errors import FreeholdError


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def main() -> int:
    if not FILE.exists():
        say("../shared/recorded is absent: there is nothing to replay")
        return 0
    total, equal = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for recording in recordings():
        kind = f"{recording.provider} {recording.dialect} {'stream' if recording.streamed else 'whole'}"
        kind += "" if recording.truth is not None else " (failures)"
        for client in CLIENTS:
            total[kind, client] += 1
            read = (STREAM if recording.streamed else WHOLE)[client]
            want = None if recording.truth is None else shown(recording.truth, client, recording.dialect)
            try:
                equal[kind, client] += read(replay(recording, client, recording.dialect, recording.number)) == want
            except (FreeholdError, Failure):
                equal[kind, client] += want is None
    say(f"{len(rows())} recorded exchanges\n\nAnswers that a client reads as the provider said them, of all:\n")
    say(f"{'':44}" + "".join(f"{client:>14}" for client in CLIENTS))
    for kind in dict.fromkeys(kind for kind, _ in total):
        say(f"{kind:44}" + "".join(f"{equal[kind, c]:>8}/{total[kind, c]:<5}" for c in CLIENTS))
    say(f"{'all':44}" + f"{sum(equal.values()):>8}/{sum(total.values())}")
    say("\nExchanges whose answer is not replayed:\n")
    for (reason, what), count in sorted(Counter((one.reason, one.what) for one in left_out()).items()):
        say(f"{count:>5}  {reason:62} {what}")
    say(f"\n{len(requests())} requests are sent again. Exchanges whose request is not:\n")
    for reason, count in Counter(reason for row in rows() if (reason := unsent(row))).most_common():
        say(f"{count:>5}  {reason}")
    say("\nRefused here, before anybody is asked:\n")
    for reason in REFUSED.values():
        say(f"       {reason}")
    return 0 if equal == total else 1


if __name__ == "__main__":
    sys.exit(main())
