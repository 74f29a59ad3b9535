"""What a configuration makes of labels: what a request's is, and what each deployment may see."""

from collections.abc import Callable
from datetime import date

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.config.label_names import LEVELS
from freehold.config.schema import Config, Provider
from freehold.config.schema_routing import Labels, Level
from freehold.errors import BadRequest
from freehold.labels import EVERYTHING, INTERNAL, RENTED, Clearance, Label, Rules, may_flow, policies
from freehold.labels.rules import terms, today, written


def rules(text: str = "{}", today: Callable[[], date] = today) -> Rules:
    return Rules(msgspec.convert(yaml.safe_load(text), Config), today)


PLAIN = rules()
levels = st.integers(0, 3)
kinds = st.frozensets(st.sampled_from(["phi", "pci", "region:eu", "region:us"]))
labels = st.builds(Label, levels, kinds)


@given(labels)
def test_what_is_written_is_read_back(label: Label) -> None:
    assert PLAIN.parse(str(label)) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("public", Label(0)),
        ("Confidential + PHI", Label(2, frozenset({"phi"}))),
        ("phi", Label(0, frozenset({"phi"}))),
        ("region:eu+restricted", Label(3, frozenset({"region:eu"}))),
    ],
)
def test_spellings(text: str, label: Label) -> None:
    assert PLAIN.parse(text) == label


@pytest.mark.parametrize("text", ["", "secret", "confidental", "internal+", "public+restricted", "region:", "phi,pci"])
def test_an_unknown_name_is_refused_and_the_known_are_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"levels are public, internal, confidential, restricted|one level"):
        PLAIN.parse(text)


def test_the_floor_is_the_keys_own_or_the_default() -> None:
    ours = rules("labels: {default: confidential}")
    assert PLAIN.floor(None) == INTERNAL
    assert ours.floor(None) == Label(2)
    assert ours.floor("public") == Label(0)


@given(labels, labels, labels)
def test_a_request_is_never_below_its_key_and_never_below_what_it_claims(
    floor: Label, claim: Label, seen: Label
) -> None:
    found = PLAIN.label(floor, str(claim).encode(), [seen])
    assert found == floor | claim | seen


def test_a_lower_claim_is_ignored_and_repeated_headers_count_all() -> None:
    assert PLAIN.label(Label(2), b"public") == Label(2)
    assert PLAIN.label(Label(2), None) == Label(2)
    assert PLAIN.label(Label(0), b"restricted, public,phi") == Label(3, frozenset({"phi"}))


@pytest.mark.parametrize("claim", [b"", b"topsecret", b"\xff\xfe", b"internal,", b"x" * 5000, b"phi," * 400])
def test_a_claim_that_names_nothing_is_a_400(claim: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        PLAIN.label(INTERNAL, claim)
    assert caught.value.code == "unknown_label"
    assert len(caught.value.message) < 400


def test_a_misspelt_claim_gets_its_remedy() -> None:
    with pytest.raises(BadRequest, match="did you mean confidential"):
        PLAIN.label(INTERNAL, b"confidental")


def test_declared_compartments_and_regions_are_known() -> None:
    ours = rules("{labels: {compartments: [legal]}, providers: {bedrock: {region: ap-southeast-2}}}")
    assert ours.parse("legal+region:ap-southeast-2").compartments == {"legal", "region:ap-southeast-2"}
    with pytest.raises(ValueError, match="no label 'legal'"):
        PLAIN.parse("legal")


def test_unless_written_a_rented_place_sees_internal_and_an_owned_one_everything() -> None:
    everything = Label(3, frozenset({"phi", "pci", "region:eu"}))
    assert may_flow(everything, PLAIN.clearance("own", True)) is None
    rented = PLAIN.clearance("openai", False)
    assert may_flow(INTERNAL, rented) is None
    assert may_flow(Label(2), rented) == (
        "the request is confidential, and openai is rented and cleared for internal at most, for want of cleared:"
    )
    assert may_flow(Label(0, frozenset({"phi"})), rented) is not None


def test_what_is_written_holds_for_rented_and_owned() -> None:
    ours = rules("""
providers:
  azure: {cleared: confidential+phi, region: swedencentral}
  lab: {cleared: internal, owned: true, base_url: http://lab/v1, region: us}
""")
    azure = ours.clearance("azure", False, "swedencentral")
    assert may_flow(ours.parse("confidential+phi+region:eu"), azure) is None
    assert may_flow(ours.parse("confidential+phi+region:us"), azure) is not None
    assert may_flow(ours.parse("confidential+pci"), azure) is not None
    assert may_flow(ours.parse("restricted"), azure) == (
        "the request is restricted, and azure is cleared for confidential at most"
    )
    lab = ours.clearance("lab", True, "us")
    assert may_flow(ours.parse("confidential"), lab) is not None
    assert may_flow(ours.parse("region:eu"), lab) is not None
    assert may_flow(ours.parse("region:us"), lab) is None


def test_a_levels_rules_hold_for_it_and_all_above() -> None:
    ours = rules("""
providers: {a: {cleared: restricted, policy: contract}, b: {cleared: restricted, policy: contract}}
labels: {internal: {providers: [a]}, restricted: {only: owned}}
""")
    assert may_flow(Label(2), ours.clearance("a", False)) is None
    assert may_flow(Label(3), ours.clearance("a", False)) == (
        "the request is restricted, and restricted requests go to owned models only"
    )
    assert may_flow(Label(0), ours.clearance("b", False)) is None
    assert may_flow(Label(1), ours.clearance("b", False)) == (
        "the request is internal, and b is not among the providers for internal requests"
    )
    assert may_flow(Label(3), ours.clearance("own", True)) is None


def test_terms_cap_what_a_provider_is_cleared_for_and_say_why() -> None:
    text = """
providers:
  openai: {cleared: restricted+phi}
  bedrock: {cleared: confidential}
  deepseek: {cleared: public}
  lab: {cleared: restricted, base_url: https://lab.example/v1}
  azure: {cleared: confidential, base_url: https://ours.openai.azure.com}
"""
    ours = rules(text, lambda: date(2026, 12, 1))
    assert may_flow(ours.parse("restricted+phi"), ours.clearance("openai", False)) is None
    confidential = ours.parse("confidential")
    for name, why in {
        "bedrock": "the terms of Amazon Bedrock are not verified: it is cleared for internal at most",
        "deepseek": "deepseek is cleared for public at most",
        "lab": "nothing is known of the terms of lab: it is cleared for internal at most, for want of policy:",
        "azure": "nothing is known of the terms of azure: it is cleared for internal at most, for want of policy:",
    }.items():
        assert may_flow(confidential, ours.clearance(name, False)) == f"the request is confidential, and {why}"


def test_terms_expire_while_the_rules_are_in_force() -> None:
    day = [date(2027, 5, 19)]
    ours = Rules(Config(providers={"openai": Provider(cleared="confidential")}), lambda: day[0])
    assert may_flow(Label(2), ours.clearance("openai", False)) is None
    day[0] = date(2027, 5, 20)
    assert may_flow(Label(2), ours.clearance("openai", False)) == (
        "the request is confidential, and the terms of OpenAI API were checked on 2026-11-21, too long ago: "
        "it is cleared for internal at most"
    )


@pytest.mark.parametrize("provider", [*sorted(policies.rows()), "nobody"])
def test_the_label_of_unknown_requests_goes_to_every_provider_whatever_its_terms(provider: str) -> None:
    late = Rules(Config(), lambda: date(2040, 1, 1))
    assert may_flow(INTERNAL, late.clearance(provider, False)) is None


@pytest.mark.parametrize(
    ("name", "provider", "row"),
    [
        ("openai", None, "openai"),
        ("openai", Provider(policy="openai-zdr"), "openai-zdr"),
        ("openai", Provider(policy="groq"), None),
        ("openai", Provider(policy="typo"), None),
        ("openai", Provider(base_url="https://proxy.example/v1"), None),
        ("openai", Provider(base_url="https://proxy.example/v1", policy="openai"), "openai"),
        ("lab", Provider(base_url="https://lab.example/v1"), None),
        ("lab", Provider(base_url="https://ours.openai.azure.com", policy="azure"), "azure"),
        ("lab", Provider(base_url="https://lab.example/v1", policy="contract"), "contract"),
        ("lab", Provider(base_url="https://lab.example/v1", policy="typo"), "typo"),
    ],
)
def test_whose_terms_hold(name: str, provider: Provider | None, row: str | None) -> None:
    assert terms(name, provider) == row
    cleared = replace(provider or Provider(), cleared="confidential")
    ours = Rules(Config(providers={name: cleared}), lambda: date(2026, 12, 1))
    assert (ours.clearance(name, False).level == 2) == (row not in (None, "typo"))


def test_clearances_as_receipts_have_them() -> None:
    assert written(Clearance()) == "nothing"
    assert written(EVERYTHING) == "everything"
    assert written(Clearance(1, None)) == "internal, all compartments"
    assert written(Clearance(2, frozenset({"phi"}))) == "confidential+phi"
    assert written(RENTED) == "internal"


some_level = st.none() | st.builds(
    Level, st.sampled_from([None, "owned"]), st.none() | st.lists(st.sampled_from(["a", "b"]))
)


@given(
    st.fixed_dictionaries(dict.fromkeys(LEVELS, some_level)),
    st.none() | labels,
    labels,
    labels,
    st.booleans(),
    st.sampled_from([None, "eu", "eu-west-1", "us-east-1"]),
)
def test_under_every_configuration_raising_never_opens(
    given_levels: dict[str, Level | None], cleared: Label | None, a: Label, b: Label, owned: bool, region: str | None
) -> None:
    provider = Provider(cleared=None if cleared is None else str(cleared))
    sink: Clearance = Rules(Config(providers={"a": provider}, labels=Labels(**given_levels))).clearance(
        "a", owned, region
    )
    if may_flow(a | b, sink) is None:
        assert may_flow(a, sink) is None
    if cleared is not None and not a.level <= cleared.level:
        assert may_flow(a, sink) is not None
