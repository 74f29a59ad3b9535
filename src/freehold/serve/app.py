"""The application: paths to endpoints, and the last place where an error becomes an answer.

The paths that models answer are one dictionary look-up; everything else goes to the control application (control.py).
Paths come from the request line, never from a URL that a Host header could have shaped.
"""

import asyncio
import sys
import threading
import traceback
from typing import Any

from freehold.errors import FreeholdError, InternalError, MethodNotAllowed, PolicyError
from freehold.serve import asgi
from freehold.serve.answer import send_error
from freehold.serve.control import Control
from freehold.serve.endpoints import Endpoint, find
from freehold.serve.exchange import Exchange
from freehold.serve.gateway import Gateway
from freehold.serve.pipeline import respond
from freehold.serve.safety.refused import note


class App:
    """One worker's application. `gateway` is replaced as a whole when the configuration changes."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.draining = False
        self._control = Control(self)

    async def __call__(self, exchange: Exchange) -> None:
        gateway = self.gateway
        endpoint = find(exchange.path, exchange.query)
        try:
            if endpoint is None:
                await asgi.run(self._control, exchange, gateway.max_body)
            elif exchange.method != "POST":
                raise MethodNotAllowed(f"{exchange.path} takes POST, not {exchange.method}")
            else:
                await respond(gateway, endpoint, exchange)
        except FreeholdError as error:
            self._fail(gateway, exchange, endpoint, error)
        except asyncio.CancelledError:
            stopped = InternalError("this gateway was stopped", hint="send it again", status=503, code="shutdown")
            self._fail(gateway, exchange, endpoint, stopped)
        except Exception as error:
            report(error, exchange.request_id)
            failed = InternalError(
                "this gateway failed on the request", hint="its log has the details under this request id"
            )
            self._fail(gateway, exchange, endpoint, failed)

    def _fail(self, gateway: Gateway, exchange: Exchange, endpoint: Endpoint | None, error: FreeholdError) -> None:
        client = endpoint.client if endpoint is not None else "chat"
        if not error.counted:
            gateway.metrics.observe(("unknown", "unknown", client, str(error.status)), 0, 0, 0, None)
        if endpoint is not None and isinstance(error, PolicyError) and error.found is not None:
            try:
                note(gateway, endpoint, exchange, error)
            except FreeholdError as unwritten:  # it is refused all the same
                report(unwritten, exchange.request_id)
        if exchange.begun:
            exchange.abort()
        elif error.status != 499:
            send_error(exchange, client, error)


def report(error: BaseException, request_id: str) -> None:
    """Writes a bug of ours to stderr: where it happened, without the values that were handled there."""
    frames = "".join(traceback.format_tb(error.__traceback__)[-8:])
    sys.stderr.write(f"freehold: internal error in {request_id}: {type(error).__name__}\n{frames}")
    sys.stderr.flush()


def say_no_values(loop: asyncio.AbstractEventLoop) -> None:
    """Has what nobody catches reported as `report` does, in tasks, callbacks, threads and destructors: what Python says
    of it by itself has the exception's message in it, and arguments, which may be a prompt."""

    def uncaught(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        report(error if isinstance(error, BaseException) else RuntimeError(), "a task or callback")

    def in_thread(given: threading.ExceptHookArgs) -> None:
        report(given.exc_value or RuntimeError(), "a thread")

    def in_destructor(given: "sys.UnraisableHookArgs") -> None:
        report(given.exc_value or RuntimeError(), "a destructor")

    loop.set_exception_handler(uncaught)
    threading.excepthook = in_thread
    sys.unraisablehook = in_destructor
