"""Leases: whichever comes first, either the job sees the condemnation or the sweep sees the job."""

from __future__ import annotations

import threading

import pytest

from shared.errors import UnavailableError
from siteagent.store.leases import Leases
from siteagent.store.names import segment_name

ONE, TWO = segment_name(b"r" * 16, 1), segment_name(b"r" * 16, 2)


def is_clear(leases: Leases, newest: int) -> bool:
    """True when nobody has to be waited for."""
    try:
        leases.wait_until_clear(newest, 0)
    except UnavailableError:
        return False
    return True


def test_a_job_that_comes_after_a_condemnation_knows_it() -> None:
    leases = Leases()
    newest = leases.condemn(frozenset({ONE}))
    lease = leases.register("backup")
    assert not lease.may_reuse(ONE)
    assert lease.may_reuse(TWO)
    assert is_clear(leases, newest)


def test_a_job_that_came_before_holds_the_sweep_up_until_it_ends() -> None:
    leases = Leases()
    lease = leases.register("backup")
    newest = leases.condemn(frozenset({ONE}))
    later = leases.register("restore")
    assert lease.may_reuse(ONE)
    assert not is_clear(leases, newest)
    assert leases.held() == ["backup", "restore"]
    lease.end()
    lease.end()
    assert is_clear(leases, newest)
    assert leases.held() == ["restore"]
    later.end()


def test_condemnations_add_up() -> None:
    leases = Leases()
    leases.condemn(frozenset({ONE}))
    leases.condemn(frozenset({TWO}))
    assert leases.register("backup").unusable == {ONE, TWO}


def test_no_job_slips_between_a_condemnation_and_its_sweep() -> None:
    """With threads taking turns as they like: a lease that does not know is always one the sweep waits for."""
    leases, slipped = Leases(), []
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        for _ in range(300):
            lease = leases.register("backup")
            knows = not lease.may_reuse(ONE)
            if not knows and condemned and lease.number > condemned[0]:
                slipped.append(lease.number)
            lease.end()

    condemned: list[int] = []
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    start.wait()
    condemned.append(leases.condemn(frozenset({ONE})))
    for thread in threads:
        thread.join()
    assert slipped == []
    assert leases.held() == []

def test_what_is_closed_keeps_its_references_and_gets_no_new_ones() -> None:
    leases = Leases()
    older = leases.register("backup")
    newest = leases.close(frozenset({ONE}))
    later = leases.register("backup")
    assert not later.may_reuse(ONE)
    assert ONE not in later.unusable
    assert older.may_reuse(ONE)
    assert not is_clear(leases, newest)
    leases.release(frozenset({ONE}))
    assert leases.register("backup").may_reuse(ONE)


def test_what_is_retired_is_refused_to_all_at_once() -> None:
    retired = set[bytes]()
    leases = Leases(retired)
    lease = leases.register("backup")
    assert lease.may_reuse(ONE)
    retired.add(ONE)
    assert not lease.may_reuse(ONE)


def test_waiting_ends_with_the_last_older_lease_or_names_it() -> None:
    leases = Leases()
    lease = leases.register("a long backup")
    newest = leases.condemn(frozenset({ONE}))
    leases.register("restore")
    with pytest.raises(UnavailableError, match="a long backup") as caught:
        leases.wait_until_clear(newest, 0.0)
    assert "restore" not in caught.value.message
    assert "--wait" in caught.value.next_step
    thread = threading.Thread(target=lease.end)
    thread.start()
    leases.wait_until_clear(newest, 60.0)
    thread.join()
