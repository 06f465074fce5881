"""Whether a command is sent again: all cases of the decision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.client._resend import KEPT_SECONDS, Asked, Verdict, decide
from poppo_ipc.client._session import ServerInfo, Session

asked = st.builds(Asked, handed=st.booleans(), idempotent=st.booleans(), key=st.booleans(), items=st.booleans())
sessions = st.builds(
    Session,
    capabilities=st.frozensets(st.sampled_from(["idempotency", "replay"])),
    epoch=st.sampled_from([None, "e1", "e2"]),
    keys_durable=st.booleans(),
    server=st.builds(ServerInfo, pid=st.sampled_from([None, 1, 2])),
)
aways = st.sampled_from([0.0, 1.0, KEPT_SECONDS - 1, KEPT_SECONDS, KEPT_SECONDS + 1])


@given(asked, sessions, st.none() | sessions, aways)
def test_what_surely_did_not_run_is_never_unknown(what: Asked, old: Session, new: Session | None, away: float) -> None:
    verdict = decide(what, old, new, away)
    assert (verdict is Verdict.UNKNOWN) <= (what.handed and not what.idempotent)


@given(asked, sessions, sessions, aways)
def test_nothing_runs_twice(what: Asked, old: Session, new: Session, away: float) -> None:
    if decide(what, old, new, away) is not Verdict.RESEND or not what.handed or what.idempotent:
        return
    # Sent again, and the server may have run it: then the server has to know the key that it was given.
    assert what.key
    assert "idempotency" in old.capabilities
    assert "idempotency" in new.capabilities
    assert away < KEPT_SECONDS
    same = old.epoch is not None and old.epoch == new.epoch and (old.server.pid or 0) in (0, new.server.pid or 0)
    pid_unknown = None in (old.server.pid, new.server.pid) and old.epoch == new.epoch and old.epoch is not None
    assert same or pid_unknown or (old.keys_durable and new.keys_durable)


@given(asked, sessions, aways)
def test_with_no_session_to_come_nothing_is_sent_again(what: Asked, old: Session, away: float) -> None:
    assert decide(what, old, None, away) is not Verdict.RESEND


@given(sessions, sessions, aways, st.booleans(), st.booleans())
def test_items_never_come_twice(old: Session, new: Session, away: float, idempotent: bool, key: bool) -> None:
    verdict = decide(Asked(True, idempotent, key, items=True), old, new, away)
    assert verdict is (Verdict.NOT_SENT if idempotent else Verdict.UNKNOWN)


def test_a_key_holds_over_a_restart_only_where_it_is_durable() -> None:
    def session(epoch: str, pid: int, durable: bool) -> Session:
        capabilities = frozenset({"idempotency", "replay"})
        return Session(capabilities=capabilities, epoch=epoch, keys_durable=durable, server=ServerInfo(pid=pid))

    keyed = Asked(handed=True, idempotent=False, key=True)
    assert decide(keyed, session("a", 1, False), session("a", 1, False)) is Verdict.RESEND
    assert decide(keyed, session("a", 1, False), session("b", 2, False)) is Verdict.UNKNOWN
    assert decide(keyed, session("a", 1, True), session("b", 2, True)) is Verdict.RESEND
    # A daemon that keeps its events on disk keeps its epoch, and may all the same have forgotten its keys.
    assert decide(keyed, session("a", 1, False), session("a", 2, False)) is Verdict.UNKNOWN
    assert decide(keyed, session("a", 1, False), session("a", 1, False), KEPT_SECONDS) is Verdict.UNKNOWN
