"""One engine from launch to end, whatever kind of launch it is.

Methods and attributes that all lives share (documented at `Child`): answering, ask, exited, stop, end, kill, pids,
memory, last_words; pid (None where no process is ours), origin, api_key.
"""

from freehold.own.attached import Attached
from freehold.own.child import Child
from freehold.own.engine import LaunchPlan
from freehold.own.pipes import BoundedLog, describe
from freehold.own.processes import Used

__all__ = ["BoundedLog", "Life", "Used", "describe", "launch"]

Life = Child | Attached


async def launch(plan: LaunchPlan, log: BoundedLog) -> Life:
    """Begins a life. Raises EngineError when the system will not start the process."""
    if plan.kind == "daemon":
        return Attached(plan)
    return await Child.spawn(plan, log)
