"""An approval is for one request, once, and for a while, whoever asks, decides and uses it in whatever order."""

import os
import stat
import string
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from freehold.errors import InternalError
from freehold.record.approvals import Approval, Approvals, Bound, new_id

WORDS = "to Ottilie Brandvold, [secret]"
SINKS = ["openai/gpt", "anthropic/claude"]


def made(digest: bytes = b"d", key: str = "k", now: float = 100.0, seconds: float = 300.0) -> Approval:
    return Approval(
        new_id(), "pending", now, now + seconds, 600.0, key, "req_1", digest, "v1", "restricted", "internal", "smart",
        "request", ["secret"], SINKS, WORDS,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "approvals.db")


def enter(store: Approvals, approval: Approval, now: float = 100.0, most: int = 10, share: bool = False) -> Approval:
    kept = store.ask(approval, now, most, share=share)
    assert kept is not None
    return kept


def test_it_is_used_once(store: Approvals) -> None:
    one = enter(store, made())
    assert store.take(one.id, one.bound, SINKS, 101) is None
    assert store.decide(one.id, approve=True, by="ada", reason="", now=102)
    assert not store.decide(one.id, approve=False, by="bob", reason="", now=103)
    taken = store.take(one.id, one.bound, SINKS[:1], 104)
    assert taken is not None
    assert taken.by == "ada"
    assert store.take(one.id, one.bound, SINKS, 105) is None
    found = store.find(one.id, 106)
    assert found is not None
    assert found.state == "used"


@pytest.mark.parametrize(
    "other", [{"digest": b"e"}, {"key": "l"}, {"label": "confidential"}, {"lowered": "public"}, {"config": "v2"}]
)
def test_it_is_for_nothing_else(store: Approvals, other: dict[str, str]) -> None:
    one = enter(store, made())
    store.decide(one.id, approve=True, by="ada", reason="", now=101)
    assert store.take(one.id, msgspec.structs.replace(one.bound, **other), SINKS, 102) is None
    assert store.take(one.id, one.bound, [*SINKS, "gemini/pro"], 102) is None
    assert store.take(one.id, one.bound, SINKS, 102) is not None


def test_the_words_are_gone_as_soon_as_it_is_decided_or_over(store: Approvals, tmp_path: Path) -> None:
    approved, denied, withdrawn, over, open_ = (enter(store, made(bytes([number]))) for number in range(5))
    store.decide(approved.id, approve=True, by="a", reason="", now=101)
    store.decide(denied.id, approve=False, by="a", reason="not to them", now=101)
    store.withdraw(withdrawn.id)
    for one in (approved, denied, withdrawn):
        found = store.find(one.id, 102)
        assert found is not None
        assert found.excerpt == ""
    late = store.find(over.id, 401)
    assert late is not None
    assert (late.state, late.excerpt) == ("expired", "")
    assert {one.id for one in store.pending(102)} == {over.id, open_.id}
    enter(store, made(b"new", now=500), now=500)
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert content.count(b"Brandvold") <= 1


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    Approvals(tmp_path / "approvals.db").close()
    assert stat.S_IMODE(os.stat(tmp_path / "approvals.db").st_mode) == 0o600


def test_a_key_has_so_many_undecided_ones(store: Approvals) -> None:
    for number in range(3):
        enter(store, made(bytes([number])), most=3)
    assert store.ask(made(b"x"), 100, 3, share=False) is None
    assert store.ask(made(b"x", key="other"), 100, 3, share=False) is not None
    assert store.ask(made(b"x", now=401), 401, 3, share=False) is not None


def test_the_same_request_again_shares_its_answer_where_it_may(store: Approvals) -> None:
    one = enter(store, made(), share=True)
    assert enter(store, made(), share=True).id == one.id
    assert enter(store, made(b"other"), share=True).id != one.id
    assert enter(store, made(), share=False).id != one.id
    store.decide(one.id, approve=False, by="ada", reason="no", now=101)


def test_of_two_who_decide_one_comes_first(store: Approvals, tmp_path: Path) -> None:
    one = enter(store, made())
    done: list[bool] = []
    gate = threading.Barrier(4)

    def decide(approve: bool) -> None:
        mine = Approvals(tmp_path / "approvals.db")
        gate.wait()
        done.append(mine.decide(one.id, approve=approve, by=str(approve), reason="", now=101))
        mine.close()

    threads = [threading.Thread(target=decide, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 1


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "approvals.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(InternalError) as caught:
        Approvals(path)
    assert caught.value.code == "store_unavailable"


class Approving(RuleBasedStateMachine):
    """Two workers, their clock, and what a person has said, against what may be used."""

    ids = Bundle("ids")

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "approvals.db"
        self.stores = [Approvals(path), Approvals(path)]
        self.now = 1_000.0
        self.bounds: dict[str, Bound] = {}
        self.given: dict[str, float] = {}
        """When each was approved."""
        self.no: set[str] = set()
        self.used: set[str] = set()

    @rule(
        target=ids, which=st.integers(0, 1), body=st.sampled_from("ab"), key=st.sampled_from("xy"), share=st.booleans()
    )
    def ask(self, which: int, body: str, key: str, share: bool) -> str:
        one = made(body.encode(), key, self.now)
        kept = self.stores[which].ask(one, self.now, 100, share=share)
        assert kept is not None
        if kept.id in self.bounds:
            assert share
            assert kept.bound == one.bound
            assert kept.id not in self.used
        self.bounds[kept.id] = kept.bound
        return kept.id

    @rule(which=st.integers(0, 1), identity=ids, approve=st.booleans())
    def decide(self, which: int, identity: str, approve: bool) -> None:
        if self.stores[which].decide(identity, approve=approve, by="p", reason="", now=self.now):
            assert identity not in self.given
            assert identity not in self.no
            if approve:
                self.given[identity] = self.now
            else:
                self.no.add(identity)

    @rule(which=st.integers(0, 1), identity=ids, body=st.sampled_from("ab"), key=st.sampled_from("xy"))
    def take(self, which: int, identity: str, body: str, key: str) -> None:
        bound = msgspec.structs.replace(self.bounds[identity], digest=body.encode(), key=key)
        taken = self.stores[which].take(identity, bound, SINKS, self.now)
        may = identity in self.given and identity not in self.no and identity not in self.used
        may = may and bound == self.bounds[identity] and self.now < self.given[identity] + 600
        assert (taken is not None) == may
        if taken is not None:
            self.used.add(identity)

    @rule(which=st.integers(0, 1), identity=consumes(ids))
    def withdraw(self, which: int, identity: str) -> None:
        self.stores[which].withdraw(identity)
        if identity not in self.used:
            self.no.add(identity)

    @rule(seconds=st.sampled_from([1.0, 150.0, 301.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def workers_agree(self) -> None:
        if hasattr(self, "stores"):
            one, other = ({a.id: a.state for a in store.everything(self.now)} for store in self.stores)
            assert one == other

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()


TestApproving = Approving.TestCase
TestApproving.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_ids_are_long_and_plain() -> None:
    one = new_id()
    assert len(one) == 20
    assert set(one) <= set(string.ascii_lowercase + string.digits + "-")
