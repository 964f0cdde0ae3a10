"""The bell: rings at once, at every change, and sends away those for whom there is no room."""

import threading

from coordinator.object_store import ObjectStore
from coordinator.watching import Doorbell


def store():
    return ObjectStore.open("memory://")


def put(objects, number):
    objects.put_if_absent(f"publications/{number:064x}.dsse", b"envelope")


def test_it_rings_at_once_and_then_when_another_replica_has_published():
    objects = store()
    rings = Doorbell(objects, look_seconds=0.01).watch(lambda: True)
    first = next(rings)
    threading.Timer(0.05, put, (objects, 1)).start()
    assert next(rings) != first


def test_two_replicas_with_the_same_statements_ring_alike():
    objects = store()
    put(objects, 1)
    heads = {next(Doorbell(objects).watch(lambda: True)) for _ in range(2)}
    assert len(heads) == 1


def test_what_this_replica_publishes_rings_without_waiting_for_the_next_look():
    objects = store()
    bell = Doorbell(objects, look_seconds=3600)
    rings = bell.watch(lambda: True)
    first = next(rings)

    def publish():
        put(objects, 1)
        bell.ring()

    threading.Timer(0.05, publish).start()
    assert next(rings) != first


def test_nothing_new_rings_no_more():
    objects = store()
    bell = Doorbell(objects, look_seconds=0.01)
    put(objects, 1)
    looks = iter(range(20))
    rings = bell.watch(lambda: next(looks, None) is not None)
    threading.Timer(0.02, bell.ring).start()
    assert len(list(rings)) == 1
    assert next(looks, None) is None


def test_one_too_many_hears_one_ring_and_may_go():
    bell = Doorbell(store(), most=1)
    staying = bell.watch(lambda: True)
    next(staying)
    assert len(list(bell.watch(lambda: True))) == 1
    staying.close()
    freed = bell.watch(lambda: True)
    assert next(freed)
    assert len(list(bell.watch(lambda: True))) == 1


def test_a_caller_that_left_is_not_rung_for():
    assert list(Doorbell(store()).watch(lambda: False)) == []
