"""Taking turns."""

import threading

from coordinator.slots import Slots


def test_one_after_the_other_they_come_in_the_order_of_their_arrival():
    slots, order = Slots(1), []
    gates = [threading.Event() for _ in range(8)]

    def work(number):
        with slots:
            order.append(number)
            gates[number].wait(10)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(order) + len(slots._waiting) <= number:
            threading.Event().wait(0.001)
    for gate in gates:
        gate.set()
    for thread in threads:
        thread.join(10)
    assert order == list(range(8))


def test_as_many_as_allowed_are_inside_and_no_more():
    slots, inside, most = Slots(3), [], []
    together = threading.Barrier(3)

    def work(number):
        with slots:
            inside.append(number)
            most.append(len(inside))
            together.wait(10)
            inside.remove(number)
            together.wait(10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 12
    assert max(most) == 3


def test_a_slot_is_free_again_after_a_fault():
    slots = Slots(1)
    for _ in range(3):
        try:
            with slots:
                raise ValueError
        except ValueError:
            pass
    with slots:
        assert slots._free == 0
    assert slots._free == 1
