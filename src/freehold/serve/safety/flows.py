"""What a request does besides asking a model: what it brings along out of tools, and where it tells a provider to send
or to keep something. Read only where a label makes it matter (`Rules.looks_inside`).

What cannot be read counts as the worst: it might be anything.
"""

from freehold.call.count import Count
from freehold.call.operation import Operation
from freehold.call.talk import Talk
from freehold.classify.sources import carried
from freehold.decide.world import Denied
from freehold.dialects.conversation import Conversation
from freehold.errors import FreeholdError, PolicyError
from freehold.labels import EVERYTHING, Kind, Label, Rules


def conversation_of(operation: Operation) -> Conversation | None:
    """Returns the conversation that an operation asks about, None where it asks something else. Raises BadRequest."""
    return operation.conversation if isinstance(operation, Talk | Count) else None


def brought(rules: Rules, operation: Operation) -> Label:
    """Returns the label of what a request holds out of tools."""
    sources = rules.sources
    if sources is None:
        return Label()
    try:
        conversation = conversation_of(operation)
    except FreeholdError:
        return sources.unknown
    return Label() if conversation is None else carried(conversation, sources)


def refuse_servers(rules: Rules, label: Label, operation: Operation) -> None:
    """Raises PolicyError where a request names servers of tools (MCP) that its label may not reach, or where whether it
    names one cannot be read; what stands there is not repeated, for it may be what the label is for."""
    why = rules.barred(label, Kind.MCP)
    if why is None:
        return
    try:
        conversation = conversation_of(operation)
    except FreeholdError as error:
        raise PolicyError(
            f"{why}, and whether the request names one cannot be read",
            status=400,
            code="label",
            param=error.param,
            hint="send the conversation in the form that this endpoint documents",
        ) from error
    if conversation is not None and _names_servers(conversation):
        raise PolicyError(
            why, hint="leave the servers out, or set labels: {sinks: {mcp: ...}}", param="tools", code="label"
        )


def _names_servers(conversation: Conversation) -> bool:
    if any("mcp" in name.lower() for name in conversation.unknown):
        return True
    values = (tool.opaque.value for tool in conversation.tools if tool.opaque is not None)
    return any(isinstance(value, dict) and _is_server(value) for value in values)


def _is_server(tool: dict[str, object]) -> bool:
    return "mcp" in str(tool.get("type")).lower() or "server_url" in tool or "connector_id" in tool


def not_kept(rules: Rules, label: Label, operation: Operation, denied: Denied) -> Denied:
    """Lets no rented provider answer that is asked to keep what its label does not let be kept."""
    why = rules.barred(label, Kind.RETENTION, EVERYTHING)
    if why is None or not _keeps(operation):
        return denied
    reason = f"{why}: send store: false"
    return lambda deployment: denied(deployment) if deployment.owned else (reason, True, "label")


def _keeps(operation: Operation) -> bool:
    try:
        conversation = conversation_of(operation)
    except FreeholdError:
        return True
    if conversation is None:
        return False
    return conversation.store is not False if conversation.dialect == "responses" else conversation.store is True
