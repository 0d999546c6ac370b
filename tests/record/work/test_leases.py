"""Leases: one leads, the token grows, and who slept finds out."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from record.clock import ManualClock
from record.db.database import Database
from record.errors import StaleLease
from record.work.leases import Fence, Leases
from tests.records import START

TTL = timedelta(seconds=30)


@pytest.fixture
def machine() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def leases(database: Database, machine: ManualClock) -> Leases:
    return Leases(database, machine.now)


def holds(database: Database, fence: Fence) -> bool:
    try:
        with database.write() as connection:
            fence.check(connection)
    except StaleLease:
        return False
    return True


def test_one_leads(leases: Leases, machine: ManualClock) -> None:
    """While a lease runs, nobody else gets it; its own holder gets the same token."""
    assert leases.current("watcher") is None
    first = leases.acquire("watcher", "a", TTL)
    assert first == Fence("watcher", 1)
    assert leases.acquire("watcher", "b", TTL) is None
    assert leases.acquire("watcher", "a", TTL) == first
    assert leases.acquire("other", "b", TTL) == Fence("other", 1)
    machine.advance(timedelta(seconds=29))
    assert leases.renew(Fence("watcher", 1), TTL)
    machine.advance(timedelta(seconds=29))
    assert leases.acquire("watcher", "b", TTL) is None
    lease = leases.current("watcher")
    assert lease is not None
    assert (lease.holder, lease.token, lease.expires_at) == ("a", 1, machine.at + timedelta(seconds=1))


def test_an_expired_lease_passes_on(database: Database, leases: Leases, machine: ManualClock) -> None:
    """The next holder has a larger token, and the one who slept can neither renew nor write."""
    slept = leases.acquire("watcher", "a", TTL)
    machine.advance(TTL)
    leads = leases.acquire("watcher", "b", TTL)
    assert (slept, leads) == (Fence("watcher", 1), Fence("watcher", 2))
    assert slept is not None
    assert leads is not None
    assert not leases.renew(slept, TTL)
    assert not holds(database, slept)
    assert holds(database, leads)
    with pytest.raises(StaleLease, match="token 2, this process holds 1"):
        leases.settle(slept, START)


def test_an_expired_lease_that_nobody_took_goes_on(database: Database, leases: Leases, machine: ManualClock) -> None:
    """Who slept with nobody else awake may go on, as nothing was written in between."""
    slept = leases.acquire("watcher", "a", TTL)
    machine.advance(2 * TTL)
    assert slept is not None
    assert holds(database, slept)
    assert leases.renew(slept, TTL)


def test_a_lease_given_back_is_free_at_once(database: Database, leases: Leases) -> None:
    """The next may come, and the fence given back is stale; giving it back twice harms nobody."""
    given = leases.acquire("watcher", "a", TTL)
    assert given is not None
    leases.release(given)
    assert not holds(database, given)
    leads = leases.acquire("watcher", "b", TTL)
    assert leads is not None
    assert leads.token > given.token
    leases.release(given)
    assert holds(database, leads)


def test_a_fence_of_no_lease_is_stale(database: Database) -> None:
    """Nobody holds what does not exist."""
    assert not holds(database, Fence("nothing", 1))


def test_settling_moves_forward_only(leases: Leases) -> None:
    """`settled_until` never goes back, and survives the change of holder."""
    fence = leases.acquire("watcher", "a", TTL)
    assert fence is not None
    leases.settle(fence, START + TTL)
    leases.settle(fence, START)
    leases.release(fence)
    leases.acquire("watcher", "b", TTL)
    lease = leases.current("watcher")
    assert lease is not None
    assert lease.settled_until == START + TTL


def test_one_of_ten_gets_it(leases: Leases) -> None:
    """Ten who come at once: one leads."""
    barrier = threading.Barrier(10)
    fences: list[Fence | None] = []

    def come(name: str) -> None:
        barrier.wait()
        fences.append(leases.acquire("watcher", name, TTL))

    threads = [threading.Thread(target=come, args=(str(i),)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fence for fence in fences if fence] == [Fence("watcher", 1)]


def test_one_of_ten_takes_an_expired_lease_over(database: Database, leases: Leases, machine: ManualClock) -> None:
    """Where a row is there already: one of those who find it expired leads, and the others hear that it runs."""
    for turn in range(3):
        assert leases.acquire("watcher", f"slept {turn}", TTL) is not None
        machine.advance(TTL)
        barrier = threading.Barrier(10)
        fences: list[Fence | None] = []

        def come(name: str, barrier: threading.Barrier = barrier, fences: list[Fence | None] = fences) -> None:
            barrier.wait()
            fences.append(leases.acquire("watcher", name, TTL))

        threads = [threading.Thread(target=come, args=(f"{turn} {i}",)) for i in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (fence,) = [fence for fence in fences if fence]
        assert holds(database, fence)
        leases.release(fence)


@pytest.mark.parametrize(("seconds", "taken"), [(29.999999, False), (30, True)])
def test_a_lease_runs_to_its_end_and_no_further(
    leases: Leases, machine: ManualClock, seconds: float, taken: bool
) -> None:
    assert leases.acquire("watcher", "a", TTL) == Fence("watcher", 1)
    machine.advance(timedelta(seconds=seconds))
    assert leases.acquire("watcher", "b", TTL) == (Fence("watcher", 2) if taken else None)


def test_leases_of_two_names_have_nothing_to_do_with_each_other(
    database: Database, leases: Leases, machine: ManualClock
) -> None:
    """Though their tokens are the same: taken, renewed, settled or given back, each by itself."""
    one, other = leases.acquire("watcher", "a", TTL), leases.acquire("checkpoint", "b", TTL)
    assert (one, other) == (Fence("watcher", 1), Fence("checkpoint", 1))
    assert one is not None
    assert other is not None
    machine.advance(timedelta(seconds=10))
    assert leases.acquire("watcher", "a", TTL) == one
    assert leases.renew(one, TTL)
    leases.settle(one, START)
    held = leases.current("checkpoint")
    assert held is not None
    assert (held.holder, held.token, held.expires_at, held.settled_until) == ("b", 1, START + TTL, None)
    leases.release(one)
    assert holds(database, other)
    assert leases.renew(other, TTL)


def test_nobody_takes_the_lease_in_the_middle_of_a_write(
    database: Database, leases: Leases, machine: ManualClock
) -> None:
    """A write that has checked its fence is finished before another can lead."""
    slept = leases.acquire("watcher", "a", TTL)
    assert slept is not None
    machine.advance(TTL)
    order: list[str] = []

    def take() -> None:
        leases.acquire("watcher", "b", TTL)
        order.append("taken")

    thread = threading.Thread(target=take)
    with database.write() as connection:
        slept.check(connection)
        thread.start()
        thread.join(0.2)
        order.append("written")
    thread.join()
    assert order == ["written", "taken"]


class Stopwatch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_dead_leaders_lease_passes_on_though_the_clock_was_set_back(database: Database, machine: ManualClock) -> None:
    """Its end lies an hour ahead; whoever has seen it unrenewed for as long as leases run takes it."""
    watch = Stopwatch()
    standby = Leases(database, machine.now, watch)
    assert Leases(database, machine.now).acquire("watcher", "dead", TTL) is not None
    machine.advance(-timedelta(hours=1))
    for seconds in (0, 10, 20, 29):
        watch.seconds = seconds
        assert standby.acquire("watcher", "b", TTL) is None
    watch.seconds = 30
    assert standby.acquire("watcher", "b", TTL) == Fence("watcher", 2)


@pytest.mark.parametrize("apart", [timedelta(0), timedelta(hours=1), -timedelta(seconds=20)])
def test_a_leader_that_renews_keeps_its_lease_however_far_the_clocks_are_apart(
    database: Database, machine: ManualClock, apart: timedelta
) -> None:
    watch = Stopwatch()
    here = ManualClock(machine.at - apart)
    leader, standby = Leases(database, machine.now, watch), Leases(database, here.now, watch)
    fence = leader.acquire("watcher", "a", TTL)
    assert fence is not None
    for _ in range(20):
        watch.seconds += 5
        machine.advance(timedelta(seconds=5))
        here.advance(timedelta(seconds=5))
        assert leader.renew(fence, TTL)
        assert standby.acquire("watcher", "b", TTL) is None


def test_what_was_settled_by_a_clock_in_the_future_is_settled_again(leases: Leases, machine: ManualClock) -> None:
    fence = leases.acquire("watcher", "a", TTL)
    assert fence is not None
    leases.settle(fence, START + timedelta(days=3650))
    leases.settle(fence, START)
    assert settled(leases) == START + timedelta(days=3650), "the requests' time never goes back"
    leases.settle(fence, START, now=START)
    assert settled(leases) == START
    leases.settle(fence, START - timedelta(seconds=1), now=START)
    assert settled(leases) == START


def settled(leases: Leases) -> object:
    lease = leases.current("watcher")
    assert lease is not None
    return lease.settled_until
