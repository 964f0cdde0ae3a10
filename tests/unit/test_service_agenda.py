"""What is due, in which order, and when what failed is tried again."""

from dataclasses import replace

import pytest

from client_agent.service.agenda import Happened, HomeState, Plan, Retries, Task, due, goal

TWO = frozenset({"m1", "m2"})
DONE = HomeState(modules=TWO, classes=2, fitted=TWO)
QUIET = Happened(since_round=0, since_change=1e6, since_training=0)
PLAN = Plan(every_seconds=100, settle_seconds=10, look_seconds=1000)


def test_nothing_is_due_when_nothing_has_happened():
    assert due(DONE, QUIET, PLAN) == ()


@pytest.mark.parametrize(
    ("happened", "home", "tasks"),
    [
        (replace(QUIET, rang=True), {}, [Task.RECEIVE]),
        (replace(QUIET, since_round=100), {}, [Task.RECEIVE]),
        # A certificate that cannot be renewed is tried every hour, not every moment.
        (replace(QUIET, since_round=99), {"certificates_due": True}, []),
        (QUIET, {"own_revocations": 1}, [Task.DELIVER]),
        (replace(QUIET, delivered=1), {"own_revocations": 1}, []),
        (QUIET, {"fitted": None}, [Task.FIT]),
        (QUIET, {"modules": TWO | {"m3"}}, [Task.FIT]),
        (QUIET, {"modules": TWO - {"m2"}, "classes": 2}, [Task.FIT]),
        (QUIET, {"same_conditions": False}, [Task.FIT]),
        (replace(QUIET, since_change=9), {"modules": TWO | {"m3"}}, []),
        (QUIET, {"fitted": None, "classes": 1, "modules": frozenset({"m1"})}, []),
        # After a revocation nothing is waited for: there is no classifier.
        (
            replace(QUIET, since_change=0),
            {"fitted": None, "unlearning": frozenset({"m3"}), "rebuild": True},
            [Task.FIT],
        ),
        (
            QUIET,
            {"fitted": None, "unlearning": frozenset({"m3"}), "rebuild": True, "classes": 1},
            [Task.CERTIFY],
        ),
        (QUIET, {"unlearning": frozenset({"m3"})}, [Task.CERTIFY]),
        # What leaves the house, and what is made of patients' images, only where told so.
        (replace(QUIET, since_training=1000), {"unsent": ("a",), "untrained": ("b",)}, []),
    ],
)
def test_what_is_due(happened, home, tasks):
    assert list(due(replace(DONE, **home), happened, PLAN)) == tasks


def test_with_training_what_others_wait_for_comes_first():
    plan = replace(PLAN, train=True)
    home = replace(DONE, fitted=None, unsent=("a",), untrained=("b",))
    happened = replace(QUIET, rang=True, since_training=1000)
    assert due(home, happened, plan) == (Task.RECEIVE, Task.SEND, Task.FIT, Task.TRAIN)
    assert due(replace(home, untrained=()), QUIET, plan) == (Task.SEND, Task.FIT)
    looked = replace(happened, since_training=999)
    assert Task.TRAIN not in due(home, looked, plan)


def test_a_renewal_that_is_due_makes_a_whole_round_within_the_hour():
    home, plan = replace(DONE, certificates_due=True), Plan(every_seconds=6 * 3600)
    assert due(home, replace(QUIET, since_round=3599), plan) == ()
    assert due(home, replace(QUIET, since_round=3600), plan) == (Task.RECEIVE,)


def test_pauses_double_with_jitter_up_to_a_limit():
    draws = iter([0.0, 0.999, 0.0, 0.0, 0.0])
    retries = Retries(10, 40, lambda: next(draws))
    pauses = [retries.failed(Task.FIT, "aim", now=0) for _ in range(5)]
    assert pauses == pytest.approx([5, 20, 20, 20, 20], rel=0.01)
    assert not retries.ready(Task.FIT, "aim", 19.9)
    assert retries.ready(Task.FIT, "aim", 20.1)
    assert retries.ready(Task.TRAIN, "aim", 0)


def test_a_failure_counts_until_there_is_something_else_to_do():
    retries = Retries(10, 1e6, lambda: 0.0)
    first = goal(Task.FIT, DONE)
    for _ in range(20):
        retries.failed(Task.FIT, first, now=0)
    other = goal(Task.FIT, replace(DONE, modules=TWO | {"m3"}))
    assert not retries.ready(Task.FIT, first, 1000)
    assert retries.ready(Task.FIT, other, 0)
    assert retries.failed(Task.FIT, other, now=0) == 5
    retries.forget(Task.FIT)
    assert retries.ready(Task.FIT, other, 0)


def test_putting_off_is_no_failure():
    retries = Retries(10, 1e6, lambda: 0.0)
    retries.put_off(Task.FIT, "aim", until=60)
    assert not retries.ready(Task.FIT, "aim", 59)
    assert retries.ready(Task.FIT, "another", 0)
    assert retries.failed(Task.FIT, "aim", now=60) == 5
