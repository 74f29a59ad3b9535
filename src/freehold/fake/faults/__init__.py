"""Everything a provider can do wrong, as one table of small functions, by the layer they break.

A fault takes the drafted response and returns the steps that go out instead. Its docstring is its description in
`freehold fake --list-faults`; `applies` says to which requests it can be done: `any`, `stream` (any streamed reply),
`events` (streamed as events of whatever form, not as one JSON array), `sse` (as server-sent events) or `whole`.
Asking for one where it cannot apply is refused, because a test whose fault never happened would prove nothing. Stalls
end after the reply's `stall_ms`, endless streams after the script's `cap` of events, and bombs unpack to 64 MiB: no
fault is unbounded.
"""

from freehold.fake.faults import body, connection, http
from freehold.fake.faults.table import FAULTS, Fault, find, fits

__all__ = ["FAULTS", "Fault", "body", "connection", "find", "fits", "http"]
