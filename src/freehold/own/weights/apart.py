"""Blocking work beside an event loop, in threads that nobody waits for at the end.

A Ctrl-C must not hang on a slow disk or a silent server, as it would with asyncio's own pool, which is joined.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def apart(
    function: Callable[..., Result], *args: Any, undo: Callable[[Result], object] | None = None, **named: Any
) -> Result:
    """Runs a blocking function in a thread of its own. `undo` gets a result that nobody waits for any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def resolve(result: Result, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        elif error is None and undo is not None:
            undo(result)

    def run() -> None:
        result: Any = None
        failed: BaseException | None = None
        try:
            result = function(*args, **named)
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(resolve, result, failed)
        except RuntimeError:  # the loop is closed
            if failed is None and undo is not None:
                undo(result)

    threading.Thread(target=run, daemon=True, name="freehold-pull").start()
    return await future


async def settled(function: Callable[..., Result], *args: Any) -> Result:
    """Like `apart`, for what must not be left in the middle: a cancellation waits for it."""
    task = asyncio.ensure_future(apart(function, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
