"""What is due: a pure function of the state of the home, of what has happened, and of the settings.

Light tasks take seconds and run at any time. Heavy ones compute for minutes or hours: they run as
the schedule allows (schedule.py), in a process of their own (heavy.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Task(StrEnum):
    """One thing to do; the order is that of a round."""

    RECEIVE = "receive"
    """Apply revocations, renew certificates, admit modules, sign heads."""
    DELIVER = "deliver"
    """Hand in own revocations that the coordinator may lack."""
    SEND = "send"
    """Send own modules that may leave."""
    CERTIFY = "certify"
    """Certify an unlearning that needs no new classifier."""
    FIT = "fit"
    """Synthesise what is missing and train the classifier."""
    TRAIN = "train"
    """Train the classes of this site's data that have no module."""


RENEW_SECONDS = 3600.0
HEAVY = frozenset({Task.FIT, Task.TRAIN})


@dataclass(frozen=True)
class HomeState:
    """What the agenda needs to know of a home.

    Attributes:
        modules: digests of the modules in use.
        classes: number of classes that they cover.
        fitted: digests that the classifier was made from, None if there is no classifier.
        same_conditions: the classifier was made under the federation's spec and the versions of
            today.
        unlearning: modules whose unlearning is not certified yet.
        rebuild: a classifier that knew them was deleted and has to be made anew.
        own_revocations: number of revocations that this site has issued.
        unsent: classes whose module lies in the outbox, was never sent, and may leave.
        untrained: classes that this site may train and has no module of.
        certificates_due: a certificate is to be renewed.
    """

    modules: frozenset[str] = frozenset()
    classes: int = 0
    fitted: frozenset[str] | None = None
    same_conditions: bool = True
    unlearning: frozenset[str] = frozenset()
    rebuild: bool = False
    own_revocations: int = 0
    unsent: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    certificates_due: bool = False

    @property
    def fit_due(self) -> bool:
        """Whether another classifier could and should be made."""
        if self.classes < 2:
            return False
        return self.rebuild or self.fitted != self.modules or not self.same_conditions


@dataclass(frozen=True)
class Happened:
    """What has happened lately; times in seconds, infinite where it never has.

    Attributes:
        rang: the coordinator has something new.
        since_round: since everything was last compared with the coordinator.
        since_change: since the set of modules last changed.
        since_training: since the data were last looked at.
        delivered: number of own revocations that the coordinator is known to have.
    """

    rang: bool = False
    since_round: float = float("inf")
    since_change: float = float("inf")
    since_training: float = float("inf")
    delivered: int = 0


@dataclass(frozen=True)
class Plan:
    """The settings that decide what is due.

    Attributes:
        every_seconds: compare everything with the coordinator at least so often.
        settle_seconds: let the set of modules rest so long before a classifier is made of it.
        train: train the classes of this site's data that have no module, and send them.
        look_seconds: look so often whether the data have a class that has no module.
    """

    every_seconds: float = 6 * 3600
    settle_seconds: float = 60
    train: bool = False
    look_seconds: float = 24 * 3600


def due(home: HomeState, happened: Happened, plan: Plan) -> tuple[Task, ...]:
    """Return what is due, in the order in which to do it."""
    # After an unlearning there is no classifier: nobody waits for more modules then.
    settled = home.rebuild or happened.since_change >= plan.settle_seconds
    whole = is_whole(home, happened, plan)
    wanted = {
        Task.RECEIVE: happened.rang or whole,
        Task.DELIVER: home.own_revocations > happened.delivered,
        Task.SEND: plan.train and bool(home.unsent),
        Task.CERTIFY: bool(home.unlearning) and not (home.rebuild and home.classes >= 2),
        Task.FIT: home.fit_due and settled,
        Task.TRAIN: plan.train
        and bool(home.untrained)
        and happened.since_training >= plan.look_seconds,
    }
    return tuple(task for task in Task if wanted[task])


def is_whole(home: HomeState, happened: Happened, plan: Plan) -> bool:
    """Whether a round shall compare everything, not only take what is new.

    Renewal is a part of such a round, and tried every hour where it does not succeed.
    """
    every = min(plan.every_seconds, RENEW_SECONDS) if home.certificates_due else plan.every_seconds
    return happened.since_round >= every


def goal(task: Task, home: HomeState) -> object:
    """What a heavy task would make: a failure counts until this is another."""
    if task is Task.FIT:
        return home.modules, home.same_conditions, home.rebuild
    return home.untrained


@dataclass
class Retries:
    """When a task that failed may be tried again: later each time, never all sites at once.

    Attributes:
        first_seconds: longest pause after the first failure; it doubles with each one.
        most_seconds: longest pause ever.
        draw: returns a number in [0, 1): the jitter.
    """

    first_seconds: float
    most_seconds: float
    draw: Callable[[], float]
    _failures: dict[Task, tuple[int, object, float]] = field(default_factory=dict)

    def failed(self, task: Task, goal: object, now: float) -> float:
        """Note a failure at `now` (monotonic seconds); return the pause, in seconds."""
        count, earlier, _ = self._failures.get(task, (0, goal, 0.0))
        count = count + 1 if earlier == goal else 1
        longest = min(self.most_seconds, self.first_seconds * 2.0 ** min(count - 1, 30))
        pause = longest * (0.5 + 0.5 * self.draw())
        self._failures[task] = count, goal, now + pause
        return pause

    def put_off(self, task: Task, goal: object, until: float) -> None:
        """Let a task wait for something that is no failure."""
        count, _, _ = self._failures.get(task, (0, None, 0.0))
        self._failures[task] = count, goal, until

    def ready(self, task: Task, goal: object, now: float) -> bool:
        """Say whether the task may be tried."""
        _, earlier, until = self._failures.get(task, (0, None, 0.0))
        return earlier != goal or now >= until

    def forget(self, task: Task) -> None:
        """The task succeeded, or its cause is gone."""
        self._failures.pop(task, None)
