"""What a cloud asks for besides an address: region, project, credentials, API version.

Keys of a cloud's account are never written into freehold.yaml: Freehold reads them from the environment, under the
names that the cloud's own tools use.
"""

from freehold.config.litellm.draft import Draft, literal
from freehold.config.litellm.source import Params, Value
from freehold.config.litellm.vendors import Vendor

_FIELDS = {
    "region": ("aws_region_name", "vertex_location", "vertex_ai_location", "region_name"),
    "project": ("vertex_project", "vertex_ai_project"),
    "profile": ("aws_profile_name",),
    "credentials": ("vertex_credentials", "vertex_ai_credentials"),
}
"""Ours, and LiteLLM's names for it."""
_ACCOUNT = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "tenant_id": "AZURE_TENANT_ID",
    "client_id": "AZURE_CLIENT_ID",
    "client_secret": "AZURE_CLIENT_SECRET",
}
"""LiteLLM's fields for an account, and the variables that are read here."""
_V1 = {"v1", "latest", "preview"}
"""Versions by which LiteLLM means Azure's v1 API."""


def read_cloud(params: Params, vendor: Vendor, draft: Draft) -> tuple[tuple[str, str], ...]:
    """Returns the fields of a cloud's provider entry."""
    found: dict[str, str] = {}
    if vendor.cloud:
        for field, names in _FIELDS.items():
            value = params.get(*names)
            text = value.text() if value is not None else None
            if value is not None and text is not None and not text.startswith("{"):
                found[field] = draft.reference(value, f"the {field} for {vendor.title}") or literal(text)
    version = params.get("api_version")
    if vendor.own_address and version is not None and (text := version.text()) and text.lower() not in _V1:
        found["api_version"] = draft.reference(version, "the API version of Azure") or literal(text)
    return tuple(found.items())


def settle_cloud(params: Params, to: str, *, named: bool) -> None:
    """Says what became of them. `named`: the provider has its built-in name, so it has all that its row has."""
    for field, names in _FIELDS.items():
        for name in names:
            if (value := params.get(name)) is not None:
                _settle_field(value, field, to)
    for name, variable in _ACCOUNT.items():
        value = params.get(name)
        if value is not None and value.text() == f"os.environ/{variable}":
            value.mapped("the environment", f"{variable} is read there")
        elif value is not None:
            value.approximated("the environment", f"keys of an account are read there: set {variable}")
    version = params.get("api_version")
    if version is None:
        return
    if (version.text() or "").lower() in _V1:
        version.mapped(to, "the v1 API is what is called anyway")
    elif named:
        version.mapped(f"{to}.api_version")
    else:
        version.dropped("a second Azure provider is called by the v1 API, which needs no version")


def _settle_field(value: Value, field: str, to: str) -> None:
    text = value.text() or ""
    if text.startswith("{") or not text:
        value.approximated("the environment", "write the JSON to a file and name it in GOOGLE_APPLICATION_CREDENTIALS")
    elif field == "credentials" and text.startswith("os.environ/"):
        value.approximated(f"{to}.{field}", "the variable has to name a file, not hold its content")
    else:
        value.mapped(f"{to}.{field}")
