"""Faults of the connection: FIN, RST, silence, at every point of a response."""

from freehold.fake.faults.table import SOON, before, fault, half
from freehold.fake.wire import Draft, End, Steps, steps


@fault("any")
def cut_before_headers(draft: Draft) -> Steps:
    """FIN without a byte of response."""
    return [End.CLOSE]


@fault("any")
def cut_after_headers(draft: Draft) -> Steps:
    """FIN after the headers."""
    return [*before(draft, 0), End.CLOSE]


@fault("any")
def cut_mid_event(draft: Draft) -> Steps:
    """FIN in the middle of an event, or of the body."""
    return [*half(draft), End.CLOSE]


@fault("stream")
def cut_between_events(draft: Draft) -> Steps:
    """FIN after half of the events, without the last chunk."""
    return [*before(draft, draft.middle), End.CLOSE]


@fault("stream")
def end_between_events(draft: Draft) -> Steps:
    """A clean end of the HTTP response after half of the events."""
    draft.parts = draft.parts[: max(1, draft.middle)]
    return steps(draft)


@fault("any")
def reset_before_headers(draft: Draft) -> Steps:
    """RST without a byte of response."""
    return [End.RESET]


@fault("any")
def reset_mid_stream(draft: Draft) -> Steps:
    """RST in the middle of an event, or of the body."""
    return [*half(draft), SOON, End.RESET]


@fault("any")
def stall_before_headers(draft: Draft) -> Steps:
    """Silence instead of a response."""
    return [End.STALL]


@fault("any")
def stall_after_headers(draft: Draft) -> Steps:
    """Silence after the headers."""
    return [*before(draft, 0), End.STALL]


@fault("any")
def stall_mid_stream(draft: Draft) -> Steps:
    """Silence after half of the events, or half of the body."""
    return [*(before(draft, draft.middle) if draft.streamed else half(draft)), End.STALL]


@fault("any")
def half_open(draft: Draft) -> Steps:
    """The host dies after half of the response: no FIN, no data, and the client's leaving goes unnoticed."""
    return [*half(draft), End.HOLD]


@fault("any")
def half_close(draft: Draft) -> Steps:
    """FIN for the response's direction after half of it, while still reading."""
    return [*half(draft), End.HALF_CLOSE, End.STALL]


@fault("any")
def close_after_reply(draft: Draft) -> Steps:
    """A good keep-alive response, then FIN: the next request on this connection meets a closed socket."""
    return [*steps(draft), End.CLOSE]
