"""Where a deployment is called and with what: api_base, api_key and headers of litellm_params as a provider here.

A secret never leaves the source: a reference stays one, a literal becomes a variable to be set.
"""

import re
from typing import NamedTuple

from freehold.config.checks import wrong_url
from freehold.config.litellm.cloud import read_cloud, settle_cloud
from freehold.config.litellm.draft import NO_KEY, Draft, Place, host_of, label, literal, shown, variable_name
from freehold.config.litellm.source import Params, Value
from freehold.config.litellm.vendors import Vendor
from freehold.config.schema import DialectName

_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie|passw|credential|signature", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AZURE_TAIL = re.compile(r"(?:/openai(?:/v1|/deployments/.*)?|/models|/v1)?/*$")
_SERVERLESS = (".inference.ai.azure.com", ".models.ai.azure.com")
"""Hosts of Azure AI that serve one model in OpenAI's chat dialect, at /v1."""


class _Address(NamedTuple):
    """`url` None: the built-in one. `differs` says what was changed, empty where nothing was."""

    url: str | None
    dialect: DialectName
    differs: str = ""


def locate(entry: Value, params: Params, prefix: str, vendor: Vendor, draft: Draft) -> str | None:
    """Returns the name of the provider that an entry is called at; None where it cannot be called.

    In that case the whole entry is dropped, with the reason.
    """
    row = next((name for name in vendor.rows if name in draft.rows), None)
    if vendor.cloud and row is None:
        entry.dropped(f"Freehold cannot call {vendor.title} yet")
        return None
    base = params.get("api_base", "base_url", "aws_bedrock_runtime_endpoint")
    address = _address(base, prefix, vendor, row, draft)
    if isinstance(address, str):
        entry.dropped(address)
        return None
    if vendor.own_address and (address.dialect != "chat" or host_of(address.url or "").endswith(_SERVERLESS)):
        row, vendor = None, Vendor(vendor.title, key=vendor.key)
    key = _key(params, prefix, vendor, row, address.url, draft)
    headers = _headers(params, prefix, draft)
    cloud = read_cloud(params, vendor, draft)
    usual = _usual(key, vendor, row, address.url, draft)
    place = Place(row, address.dialect, address.url, None if usual else key, headers, vendor.local, cloud)
    name = draft.provider(place, vendor, prefix)
    if name is None:
        entry.dropped(f"freehold.yaml has one {vendor.title} only, and another entry has made another place of it")
        return None
    if usual and name != row and vendor.key is not None:  # only the built-in name reads the usual variable by itself
        key = key or draft.variable(vendor.key, f"the key for {vendor.title}")
    if usual and key is not None:
        draft.providers[name].setdefault("api_key", key)
    to = f"providers.{name}"
    differs = [address.differs] if address.differs else []
    if vendor.own_address and row is not None and name != row:
        differs.append("a second Azure provider is called by the v1 API, under /openai/v1")
    if base is not None and differs:
        base.approximated(f"{to}.base_url", "; ".join(differs))
    elif base is not None and address.url is None:
        base.mapped(to, "the provider's own address, which is built in")
    elif base is not None:
        base.mapped(f"{to}.base_url")
    settle_cloud(params, to, named=name == row)
    _settle_key(params, f"{to}.api_key", key)
    _settle_headers(params, f"{to}.headers")
    return name


def _address(base: Value | None, prefix: str, vendor: Vendor, row: str | None, draft: Draft) -> _Address | str:
    """Returns where the vendor is called, or in words why that cannot be told."""
    dialect = draft.rows[row].dialect if row is not None else vendor.dialect
    if base is None:
        if vendor.own_address:
            variable = "AZURE_AI_API_BASE" if prefix == "azure_ai" else "AZURE_API_BASE"
            return _Address(draft.variable(variable, f"the address of {vendor.title}"), dialect)
        if row is None and vendor.base_url is None:
            return f"{vendor.title} cannot be called without api_base"
        return _Address(None if row else vendor.base_url, dialect)
    if reference := draft.reference(base, f"the address of {vendor.title}"):
        return _Address(reference, dialect)
    text = base.text() or ""
    url, differs = _cleaned(text if "://" in text else f"http://{text}")
    if url is None:
        return "its api_base is no http or https URL"
    if vendor.own_address and url.rstrip("/").endswith("/anthropic"):
        return _Address(literal(url), "messages", differs)
    if vendor.own_address and not host_of(url).endswith(_SERVERLESS):
        return _Address(literal(_AZURE_TAIL.sub("", url)), dialect, differs)
    if row is not None and vendor.host is not None and host_of(url) == vendor.host:
        return _Address(None, dialect, differs)
    return _Address(literal(url), dialect, differs)


def _cleaned(url: str) -> tuple[str | None, str]:
    """Returns a URL without what a base URL cannot have, and what was taken off; None where it is no URL."""
    if wrong_url(url) is None:
        return url, ""
    bare = re.sub(r"(?<=://)[^/@]*@", "", re.split(r"[?#]", url, maxsplit=1)[0])
    if wrong_url(bare) is not None:
        return None, ""
    what = "its credentials were" if "@" in url.split("://", 1)[1].split("/", 1)[0] else "what follows ? or # was"
    return bare, f"{what} left off"


def _key(params: Params, prefix: str, vendor: Vendor, row: str | None, url: str | None, draft: Draft) -> str | None:
    """Returns the reference that stands as api_key, None where none is needed there."""
    at_home = url is None or vendor.base_url == url or vendor.own_address
    used_for = f"the key for {vendor.title if at_home else shown(host_of(url or '') or vendor.title)}"
    given = params.get("api_key", "azure_ad_token")
    text = given.text() if given is not None else None
    if given is not None and text is not None and text.lower() not in NO_KEY:
        wished = vendor.key if at_home and not vendor.own_address else None
        return draft.reference(given, used_for) or draft.secret(
            text, wished or variable_name(f"{prefix} {label(url)}") + "_API_KEY", used_for
        )
    if text is not None or vendor.key is None or vendor.local:
        return None
    there = draft.rows[row].keys if row is not None else ()
    if row is None or ((url is None or vendor.own_address) and vendor.key not in there):
        return draft.variable(vendor.key, used_for)
    return None


def _usual(key: str | None, vendor: Vendor, row: str | None, url: str | None, draft: Draft) -> bool:
    """Whether a key, given or not, is the one that a built-in provider reads from the environment anyway."""
    if row is None or url is not None or vendor.local or vendor.key not in draft.rows[row].keys:
        return False
    return key in (None, f"${{{vendor.key}}}")


def _settle_key(params: Params, to: str, key: str | None) -> None:
    for name in ("api_key", "azure_ad_token"):
        value = params.get(name)
        if value is None:
            continue
        text = (value.text() or "").lower()
        if key is None:
            value.dropped("a placeholder: no key is sent" if text in NO_KEY else "no key is sent there")
        elif text.startswith(("os.environ/", "${")):
            if name == "api_key":
                value.mapped(to, f"read from the environment as {key}")
            else:
                value.approximated(to, "sent as it is; Freehold does not renew the token")
        else:
            value.approximated(to, f"a key written in the file is not copied: set {key[2:-1]} in the environment")


def _headers(params: Params, prefix: str, draft: Draft) -> tuple[tuple[str, str], ...]:
    """Returns the headers to send along; values that look like secrets become variables."""
    found: dict[str, str] = {}
    for field in ("default_headers", "headers", "extra_headers"):
        given = params.get(field)
        for name, value in given.items() if given is not None else ():
            text = value.text()
            if text is None or not _TOKEN.fullmatch(name) or not (text.isascii() and text.isprintable()):
                value.dropped("not a header: a name and one line of ASCII text")
                continue
            used_for = f"the header {shown(name)}"
            reference = draft.reference(value, used_for)
            if reference is None and (_SECRET_HEADER.search(name) or shown(text) != text[:80]):
                reference = draft.secret(text, variable_name(f"{prefix} {name}"), used_for)
            found[name] = reference or literal(text)
    organization = params.get("organization")
    if organization is not None and (text := organization.elements()[0].text() if organization.elements() else None):
        reference = draft.reference(organization.elements()[0], "the OpenAI organization")
        found["OpenAI-Organization"] = reference or literal(text)
    return tuple(found.items())


def _settle_headers(params: Params, to: str) -> None:
    for field in ("default_headers", "headers", "extra_headers"):
        given = params.get(field)
        for name, value in given.items() if given is not None else ():
            text = value.text() or ""
            if text.startswith(("os.environ/", "${")) or not (_SECRET_HEADER.search(name) or shown(text) != text[:80]):
                value.mapped(f"{to}.{name}")
            else:
                value.approximated(f"{to}.{name}", "a value that may be secret is not copied: set its variable")
    organization = params.get("organization")
    if organization is None:
        return
    for number, value in enumerate(organization.elements()):
        if number == 0 and value.text():
            value.mapped(f"{to}.OpenAI-Organization")
        else:
            value.dropped("one provider has one organization: write another provider entry for each further one")
