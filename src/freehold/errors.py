"""Every error Freehold shows, in one tree. A leaf: any room may import it, it imports nothing of ours.

    FreeholdError
    ├── CallerError        the request is wrong; sending it again unchanged cannot help
    │   ├── BadRequest         400  malformed JSON, wrong type, impossible combination
    │   ├── Unauthorized       401  no key, unknown key
    │   ├── Forbidden          403  the key may not do this
    │   ├── NotFound           404  no such path, model or deployment
    │   ├── MethodNotAllowed   405
    │   ├── TooLarge           413  body over the limit
    │   └── ClientGone         499  the client left; nobody reads this answer
    ├── PolicyError        the request is fine, a rule of this gateway refuses it
    │   ├── ApprovalRequired   403  a person has to approve it first
    │   ├── RateLimited        429  the key's own request or token limit
    │   ├── LossRefused        400  a field the chosen provider cannot carry, and strict is on
    │   └── NoCandidate        400/503  every deployment was dropped, each with its reason
    ├── ProviderError      somebody else's machine failed
    │   ├── UpstreamRefused    4xx  the provider says the request is wrong
    │   ├── UpstreamLimited    429  the provider's rate limit or quota
    │   ├── UpstreamAuth       502  our key for the provider is wrong; never shown as the client's 401
    │   ├── UpstreamOverloaded 503
    │   ├── UpstreamBroken     502  garbage, a stream without an end
    │   │   └── UpstreamCut    502  the connection ended before the answer did
    │   ├── UpstreamTimeout    504
    │   └── UpstreamUnreachable 502 no connection
    ├── EngineError        503  an owned engine is starting, full or crashed
    ├── InternalError      500  our bug
    └── ConfigError        freehold.yaml is wrong; never reaches a client

Each knows whose fault it is (`fault`), the HTTP `status`, whether and where a retry can help (`retry`), a stable
machine-readable `code`, and the fix in one line (`hint`). Dialects render it in the client's own shape.
No message may hold a secret: texts from upstream pass `redact` first.
"""

import re
from typing import ClassVar, Literal

Fault = Literal["caller", "policy", "provider", "engine", "us"]
Retry = Literal["no", "same", "other"]
"""no: pointless. same: the same deployment may answer later. other: only another deployment can help."""


class FreeholdError(Exception):
    """Base of all errors; see the module docstring for the tree."""

    fault: ClassVar[Fault] = "us"
    default_status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    default_retry: ClassVar[Retry] = "no"
    counted = False
    """The metrics have the request already, as one that ended so."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry: Retry | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status or self.default_status
        self.code = code or self.default_code
        self.param = param
        self.retry: Retry = retry or self.default_retry
        self.retry_after = retry_after
        """Seconds to wait, where the other side named them."""

    @property
    def text(self) -> str:
        """Message and hint as one string, for dialects that have a single field."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class CallerError(FreeholdError):
    fault = "caller"
    default_status = 400
    default_code = "invalid_request"


class BadRequest(CallerError):
    pass


class Unauthorized(CallerError):
    default_status = 401
    default_code = "invalid_api_key"


class Forbidden(CallerError):
    default_status = 403
    default_code = "permission_denied"


class NotFound(CallerError):
    default_status = 404
    default_code = "not_found"


class MethodNotAllowed(CallerError):
    default_status = 405
    default_code = "method_not_allowed"


class TooLarge(CallerError):
    default_status = 413
    default_code = "request_too_large"


class ClientGone(CallerError):
    default_status = 499
    default_code = "client_gone"


class PolicyError(FreeholdError):
    fault = "policy"
    default_status = 403
    default_code = "policy"
    found: str | None = None
    """Where a check or a label refuses a request: what was found in it, as the journal has it (`secret=block`), or
    nothing. Such a refusal is written down (serve/safety/refused.py). None: it is none of these."""
    label = ""
    """How sensitive that request is, where that was known already."""


class ApprovalRequired(PolicyError):
    """`approval` is the id under which a person decides, and that the repeated request has to name."""

    default_code = "approval_required"
    approval = ""


class RateLimited(PolicyError):
    default_status = 429
    default_code = "rate_limit_exceeded"
    default_retry: ClassVar[Retry] = "same"


class LossRefused(PolicyError):
    default_status = 400
    default_code = "unsupported_by_provider"


class NoCandidate(PolicyError):
    default_status = 503
    default_code = "no_candidate"


class ProviderError(FreeholdError):
    fault = "provider"
    default_status = 502
    default_code = "upstream_error"
    default_retry: ClassVar[Retry] = "other"


class UpstreamRefused(ProviderError):
    default_status = 400
    default_code = "upstream_refused"
    default_retry: ClassVar[Retry] = "no"


class UpstreamLimited(ProviderError):
    default_status = 429
    default_code = "upstream_rate_limited"
    default_retry: ClassVar[Retry] = "same"


class UpstreamAuth(ProviderError):
    default_code = "upstream_auth"


class UpstreamOverloaded(ProviderError):
    default_status = 503
    default_code = "upstream_overloaded"
    default_retry: ClassVar[Retry] = "same"


class UpstreamBroken(ProviderError):
    default_code = "upstream_broken"


class UpstreamCut(UpstreamBroken):
    pass


class UpstreamTimeout(ProviderError):
    default_status = 504
    default_code = "upstream_timeout"


class UpstreamUnreachable(ProviderError):
    default_code = "upstream_unreachable"


class EngineError(FreeholdError):
    fault = "engine"
    default_status = 503
    default_code = "engine_unavailable"
    default_retry: ClassVar[Retry] = "other"


class InternalError(FreeholdError):
    pass


class ConfigError(FreeholdError):
    """A mistake in freehold.yaml: `where` is `file:line:column`, `key` the dotted path."""

    default_code = "config_error"

    def __init__(self, message: str, *, where: str = "", key: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.where = where
        self.key = key

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.where, self.key, self.message)))


_SECRET = re.compile(
    r"(?:sk|pk|rk|fh|gsk|xai|hf|r8|csk|fw|tgp)[-_][A-Za-z0-9_\-]{8,}"
    r"|AIza[A-Za-z0-9_\-]{20,}"
    r"|(?<=[?&]key=)[^&\s\"']+"
    r"|(?i:(?<=bearer )|(?<=x-api-key: ))[A-Za-z0-9._~+/=\-]{8,}"
)


def redact(text: str, limit: int = 2000) -> str:
    """Returns `text` cut to `limit` characters with everything that looks like a credential masked.

    Used on error paths only, so a regular expression is cheap enough.
    """
    return _SECRET.sub("[redacted]", text[: limit * 2])[:limit]
