"""What one site may use: counted in the store, over any number of replicas."""

import threading

import pytest

from coordinator.errors import QuotaError
from coordinator.quotas import (
    INTAKE,
    PUBLISHED,
    CallRate,
    IntakeQuota,
    ModuleQuota,
    Quotas,
    forget_past_days,
)
from coordinator.resources import connections_allowed
from coordinator.store import open_url
from ff_protocol.limits import CHUNK_BYTES, MIB

DAY = 24 * 3600.0
NOON = 1_790_000_000.0
SITE, OTHER = "hospital-1", "hospital-2"


@pytest.fixture
def store():
    return open_url("memory:///")


def nobody(module):
    return False


def spend(quota, site=SITE, most=10_000):
    """Send chunks until refused; return how many went through."""
    for count in range(most):
        try:
            quota.charge(site, CHUNK_BYTES)
        except QuotaError:
            return count
    raise AssertionError("never refused")


@pytest.mark.parametrize("mebibytes", [16, 33, 100])
def test_a_day_holds_its_bytes_and_the_next_one_as_many(store, mebibytes):
    now = [NOON]
    quota = IntakeQuota(store, mebibytes * MIB, lambda: now[0])
    first = spend(quota)
    assert mebibytes * 15 / 16 - 1 <= first <= mebibytes
    assert spend(quota) == 0
    assert spend(quota, OTHER) == first
    now[0] += DAY
    assert spend(quota) == first


def test_replicas_and_restarts_share_one_account(store):
    spent = 0
    for _ in range(40):
        quota = IntakeQuota(store, 32 * MIB, lambda: NOON)
        try:
            quota.charge(SITE, CHUNK_BYTES)
            spent += 1
        except QuotaError:
            break
    assert spent == 16  # each took a block of 2 MiB, spent half and was killed
    assert spend(IntakeQuota(store, 32 * MIB, lambda: NOON)) == 0


def test_replicas_at_once_never_exceed_it(store):
    """Each takes, then counts: the last block cannot go to two."""
    quotas = [IntakeQuota(store, 16 * MIB, lambda: NOON) for _ in range(8)]
    spent = []
    barrier = threading.Barrier(len(quotas))

    def work(quota):
        barrier.wait()
        spent.append(spend(quota))

    threads = [threading.Thread(target=work, args=(quota,)) for quota in quotas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(spent) <= 16
    assert len(list(store.list(INTAKE))) <= 16


def test_the_hint_names_option_and_day(store):
    quota = IntakeQuota(store, 16 * MIB, lambda: NOON)
    spend(quota)
    with pytest.raises(QuotaError, match="has sent 16 MiB today") as refused:
        quota.charge(SITE, 1)
    assert (refused.value.limit, refused.value.again_after) == ("site-mebibytes", None)
    assert "--site-mebibytes" in refused.value.hint
    assert "(limit site-mebibytes)" in refused.value.message


def test_past_days_are_forgotten_and_yesterday_is_not(store):
    for days in (0, 1, 2, 30):
        IntakeQuota(store, 64 * MIB, lambda days=days: NOON - days * DAY).charge(SITE, 1)
    assert forget_past_days(store, NOON) == 2
    assert len(list(store.list(INTAKE))) == 2


def digests(count):
    return [f"{number:064x}" for number in range(count)]


def test_modules_are_counted_once_and_revoked_ones_not(store):
    quota = ModuleQuota(store, Quotas(modules=3))
    for module in [*digests(3), *digests(3)]:
        quota.enter(SITE, module, nobody)
    with pytest.raises(QuotaError, match="has 3 modules in the federation") as refused:
        quota.enter(SITE, "f" * 64, nobody)
    assert refused.value.limit == "site-modules"
    quota.enter(SITE, digests(1)[0], nobody)  # the same again is no new one
    quota.enter(OTHER, "f" * 64, nobody)
    assert len(list(store.list(PUBLISHED))) == 4
    quota.enter(SITE, "e" * 64, lambda module: module == digests(1)[0])
    with pytest.raises(QuotaError):
        quota.enter(SITE, "d" * 64, lambda module: module == digests(1)[0])


def test_in_its_life_a_site_publishes_and_revokes_so_often(store):
    quota = ModuleQuota(store, Quotas(statements=4))
    for module in digests(4):
        quota.enter(SITE, module, lambda module: True)
    with pytest.raises(QuotaError, match="in its time"):
        quota.enter(SITE, "f" * 64, lambda module: True)
    quota.check_revocations(SITE, 3)
    with pytest.raises(QuotaError, match="has issued 4 revocations"):
        quota.check_revocations(SITE, 4)


def test_calls_may_come_at_once_and_then_at_their_rate():
    now = [0.0]
    rate = CallRate(60, lambda: now[0])
    for _ in range(60):
        rate.take(SITE)
    with pytest.raises(QuotaError) as refused:
        rate.take(SITE)
    assert refused.value.again_after == pytest.approx(1.0)
    rate.take(OTHER)
    now[0] += 1.0
    rate.take(SITE)
    with pytest.raises(QuotaError):
        rate.take(SITE)
    now[0] += 3600
    for _ in range(60):
        rate.take(SITE)


def test_connections_leave_files_for_the_store():
    import resource

    allowed = connections_allowed()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < allowed < soft
    assert soft - allowed >= min(256, soft // 2)
