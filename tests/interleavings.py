"""Every order in which the steps of two parties can fall: for proofs that a race cannot be lost."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from coordinator.store import COLLECTION_KEY, Held

Pause = Callable[[], None]


@dataclass
class _Party:
    """A thread that stops before each step until it is told to go on."""

    work: Callable[[Pause], None]
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: bool = False
    fault: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()
        self.stopped.acquire()

    def step(self) -> None:
        self.go.release()
        self.stopped.acquire()

    def _run(self) -> None:
        try:
            self._pause()
            self.work(self._pause)
        except BaseException as error:
            self.fault = error
        finally:
            self.ended = True
            self.stopped.release()

    def _pause(self) -> None:
        self.stopped.release()
        self.go.acquire()


def explore(
    scene: Callable[[], tuple[Iterable[Callable[[Pause], None]], Callable[[list[int]], None]]],
) -> int:
    """Play a scene in every order of its parties' steps; return how many there were.

    Args:
        scene: makes it anew: the parties, each called with a function to call before each of its
            steps, and a check that is called after every step with the order so far.
    """
    pending: list[list[int]] = [[]]
    played = 0
    while pending:
        prefix = pending.pop()
        works, check = scene()
        parties = [_Party(work) for work in works]
        for party in parties:
            party.start()
        order: list[int] = []
        while alive := [index for index, party in enumerate(parties) if not party.ended]:
            place = len(order)
            chosen = prefix[place] if place < len(prefix) else alive[0]
            if place >= len(prefix):
                pending += [[*order, other] for other in alive[1:]]
            order.append(chosen)
            parties[chosen].step()
            check(order)
        for party in parties:
            if party.fault is not None:
                raise AssertionError(f"in the order {order}") from party.fault
        played += 1
    return played


CONSTANT = ("spec", "revocations/")


class SteppedStore:
    """A store that stops before each operation and makes what was there before `born` look old.

    It does not stop before steps that no other party can notice or influence: reading what nobody
    writes, and the collection's asking for the time of its own mark.
    """

    def __init__(self, inside: Any, pause: Pause, born: float, age: float) -> None:
        self._inside, self._pause, self._born, self._age = inside, pause, born, age

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._inside, name)

        def stepped(*arguments: Any) -> Any:
            unnoticed = str(arguments[0]).startswith(CONSTANT)
            if not unnoticed and (name, arguments[0]) != ("held", COLLECTION_KEY):
                self._pause()
            return self._aged(operation(*arguments))

        return stepped

    def _aged(self, answer: Any) -> Any:
        if isinstance(answer, Held):
            old = answer.modified < self._born
            return Held(answer.size, answer.modified - (self._age if old else 0.0))
        if isinstance(answer, dict):
            return {key: self._aged(held) for key, held in answer.items()}
        if hasattr(answer, "__next__"):
            return iter([self._aged(item) for item in answer])
        if isinstance(answer, tuple):
            return answer[0], self._aged(answer[1])
        return answer
