"""The service: one thread that does what the agenda says is due, and survives what may pass.

Light work is done here, between two looks at the clock. Heavy work runs in a process of its own and
is stopped for three reasons: the service ends, the hours are over, or something came that cannot
wait (a revocation is applied within seconds, whatever is being computed).
"""

import contextlib
import os
import queue
import random
import signal
import time
from collections.abc import Iterator

from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.policy.file import read_policy
from client_agent.relay.connection import open_relay
from client_agent.service.agenda import (
    HEAVY,
    Happened,
    HomeState,
    Retries,
    Task,
    due,
    goal,
    is_whole,
)
from client_agent.service.events import Ended, Event, Events, Hangup, Rang, Reached, Unreached
from client_agent.service.faults import TOO_SHORT, is_lasting
from client_agent.service.heavy import HeavyWork, Order, Outcome
from client_agent.service.listener import Listener
from client_agent.service.logs import LoggedProgress
from client_agent.service.look import fingerprint, look, read_wish
from client_agent.service.notify import ServiceManager
from client_agent.service.peek import has_urgent
from client_agent.service.round import Memory, do_task
from client_agent.service.schedule import is_open, may_begin
from client_agent.service.settings import Settings
from client_agent.service.telling import Teller
from client_agent.site import Site, open_site
from ff_protocol.clock import timestamp, utc_now
from ff_protocol.errors import FederatedFactoryError
from ff_protocol.stopping import raise_if_stopped, stop_requested

TICK_SECONDS = 2.0
BUSY_SECONDS = 5.0
ASK_SECONDS = 15.0
"""The schedule is asked again so often: the clock may be set, the load may fall."""
ROUND_PAUSE_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 300.0
TRAIN_SECONDS = 600.0
"""Training goes on for at least so long before it waits for a round."""
FORGET_WARNINGS_SECONDS = 86_400.0
NEEDS_COORDINATOR = frozenset({Task.RECEIVE, Task.DELIVER, Task.SEND})
WANTS_NEWS = ("withheld", "stale_heads")
"""Faults of a fit that something new from the coordinator may mend."""
CUT_OFF = (
    "the hours ended before the classifier was made; what was synthesised is kept, but its "
    "training begins anew"
)
LASTING_TRIES = 3
"""So often a fault must come that cannot pass: a pair of files may have been read in mid-change."""


class Service:
    """One service of one home; `serve` runs it."""

    def __init__(self, home: Home, settings: Settings, manager: ServiceManager) -> None:
        self._home, self._settings = home, settings
        self._config = settings.config or home.config_file
        self._tell = Teller(home, settings.metrics_file, manager)
        self._progress = LoggedProgress(self._tell.log, manager)
        self._events: Events = queue.SimpleQueue()
        self._listener = Listener(home, self._events)
        self._work: HeavyWork | None = None
        self._memory = Memory()
        self._rounds = Retries(1.0, 60.0, random.random)
        self._heavy = Retries(10.0, 3600.0, random.random)
        # What has happened; moments on the monotonic clock.
        self._rang = True
        self._round_at = self._received_at = float("-inf")
        self._change_at = self._training_at = float("-inf")
        self._warnings_at = time.monotonic()
        self._told: set[str] = set()
        self._missed = self._away = False
        self._lasting_rounds = self._lasting_bells = self._stumbles = 0
        self._again_at = self._ask_at = float("-inf")
        self._fit_fault: str | None = None
        # What was last seen of the home.
        self._state, self._look_at = HomeState(), float("-inf")
        self._seen: tuple[int, ...] | None = None
        self._looked = False

    def run(self) -> None:
        """Go on until a stop is asked for."""
        # What cannot be read or written now is said at once, not in the log at night.
        read_wish(self._config)
        read_policy(self._home)
        self._tell.publish(anyway=True)
        self._tell.log.info("serving %s", self._home.root)
        with self._hangups():
            self._listener.start()
            self._tell.manager.ready()
            try:
                while not stop_requested():
                    self._turn()
                    self._publish()
                    self._tell.manager.alive()
                    self._hear()
            except FederatedFactoryError as error:
                self._tell.fault(error)
                raise

    def close(self) -> None:
        """End the listener and heavy work; nothing is lost."""
        # Whoever insists would only cut short the writing of a checkpoint.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._tell.manager.stopping()
        self._listener.end()
        if self._work is not None:
            self._tell.log.info("stopping: %s", self._work.task)
            self._work.wait()
        self._tell.last_words()

    def _publish(self) -> None:
        try:
            self._tell.publish(anyway=self._looked)
            self._looked = False
        except (FederatedFactoryError, OSError) as error:
            self._tell.fault(error)

    # One turn of the loop.

    def _turn(self) -> None:
        if self._work is not None:
            self._mind(self._work)
        if self._work is not None or time.monotonic() < self._again_at:
            return
        try:
            site = open_site(self._home)
            self._light(site)
            self._begin_heavy(site)
            self._stumbles = 0
        except Exception as error:
            raise_if_stopped()
            self._lasting_rounds += is_lasting(error)
            if self._lasting_rounds >= LASTING_TRIES:
                raise
            self._tell.fault(error)
            self._stumbles += 1
            self._again_at = time.monotonic() + min(60.0, 2.0**self._stumbles)

    def _light(self, site: Site) -> None:
        """Do the light tasks that are due, one after the other."""
        for task in self._due(site):
            now = time.monotonic()
            # The listener finds out when the coordinator is back, and rings then.
            if self._away and task in NEEDS_COORDINATOR:
                continue
            if task in HEAVY or not self._rounds.ready(task, None, now):
                continue
            # One round at a time, whatever the coordinator rings.
            if task is Task.RECEIVE and now - self._received_at < ROUND_PAUSE_SECONDS:
                continue
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(site.exclusive())
                except UsageError:
                    self._tell.say("another command is at work in the home")
                    self._rounds.put_off(task, None, now + BUSY_SECONDS)
                    return
                self._do(site, task)

    def _do(self, site: Site, task: Task) -> None:
        whole = is_whole(self._state, self._happened(), self._settings.plan)
        rang, self._rang = self._rang, False if task is Task.RECEIVE else self._rang
        try:
            do_task(site, task, self._memory, self._progress, whole=whole)
        except Exception as error:
            self._rang = rang
            if is_lasting(error) or stop_requested():
                raise
            self._tell.fault(error)
            self._rounds.failed(task, None, time.monotonic())
        else:
            self._rounds.forget(task)
            self._lasting_rounds = 0
            if task is Task.RECEIVE:
                self._received(whole=whole)
        finally:
            self._look_at = float("-inf")

    def _received(self, *, whole: bool) -> None:
        self._received_at = time.monotonic()
        self._reached()
        if whole:
            self._round_at = time.monotonic()
            self._tell.note({"last_round": timestamp(utc_now())})
        if self._fit_fault in WANTS_NEWS:
            self._heavy.forget(Task.FIT)

    def _begin_heavy(self, site: Site) -> None:
        """Start the heavy task that is due, if it may run now."""
        now, wanted = time.monotonic(), [task for task in self._due(site) if task in HEAVY]
        tasks = [task for task in wanted if self._heavy.ready(task, goal(task, self._state), now)]
        if not tasks:
            self._tell.note({"next_opening": None})
            if wanted:
                self._tell.say(f"{wanted[0]} failed and is tried again later")
            elif self._away:
                self._tell.say("waiting for the coordinator, which does not answer")
            else:
                self._tell.say("waiting for news")
            return
        if now < self._ask_at:
            return
        task, verdict = tasks[0], may_begin(self._settings.schedule, utc_now(), _load())
        if not verdict.may:
            self._ask_at = now + ASK_SECONDS
            again = None if verdict.again is None else timestamp(verdict.again)
            self._tell.say(
                f"{task} waits: {verdict.reason}" + (f", until {again}" if again else "")
            )
            self._tell.note({"next_opening": again})
            return
        try:
            self._work = HeavyWork(task, self._order(task), self._events, self._said)
        except FederatedFactoryError as error:
            self._tell.fault(error)
            self._heavy.failed(task, goal(task, self._state), now)
            return
        self._tell.note({"next_opening": None})
        self._tell.say(f"{task}: started")
        self._tell.log.info("%s: started, process %d", task, self._work.pid)

    def _mind(self, work: HeavyWork) -> None:
        """Look after heavy work that is under way."""
        if work.ended:
            self._work = None
            self._look_at = float("-inf")
            self._finish(work, work.outcome())
            return
        work.press()
        self._tell.say(f"{work.task}: {work.remark or 'at work'}")
        if work.why_stopped is not None:
            return
        if not is_open(self._settings.schedule, utc_now()):
            work.stop("the hours are over")
        elif self._round_is_worth(work):
            work.stop("a round with the coordinator is due")
        elif self._rang and self._is_urgent():
            work.stop("a revocation, or a change of members, has come")
        if work.why_stopped is not None:
            self._tell.log.info(
                "%s: stopping after %.0f s: %s", work.task, work.seconds, work.why_stopped
            )

    def _round_is_worth(self, work: HeavyWork) -> bool:
        """Whether to let training wait for a round: it goes on from its checkpoint afterwards."""
        whole = is_whole(self._state, self._happened(), self._settings.plan)
        late = work.seconds > TRAIN_SECONDS
        return work.task is Task.TRAIN and whole and late and not self._away

    def _finish(self, work: HeavyWork, outcome: Outcome) -> None:
        """Take note of how heavy work ended."""
        task, now, aim = work.task, time.monotonic(), goal(work.task, self._state)
        self._rang, self._missed = self._rang or self._missed, False
        if task is Task.FIT:
            self._fit_fault = outcome.kind
        if outcome.stopped:
            self._tell.log.info("%s: stopped after %.0f s, goes on later", task, work.seconds)
            if task is Task.FIT and not is_open(self._settings.schedule, utc_now()):
                self._tell.count(TOO_SHORT, CUT_OFF)
        elif outcome.kind is not None:
            pause = self._heavy.failed(task, aim, now)
            self._tell.count(
                outcome.kind, f"{task}: {outcome.message}; again in {pause:.0f} s at best"
            )
        else:
            self._heavy.forget(task)
            self._tell.log.info("%s: done in %.0f s", task, work.seconds)
            if task is Task.FIT:
                # The same modules need no second one, even if its record were not to say so.
                self._heavy.put_off(task, aim, now + self._settings.plan.every_seconds)
                made = {
                    "last_fit": timestamp(utc_now()),
                    "last_fit_seconds": round(work.seconds, 1),
                }
                self._tell.note(made)
            else:
                self._training_at = now
                for name, texts in outcome.document.get("objections", {}).items():
                    for text in texts:
                        self._tell.log.warning("%s will not be sent: %s", name, text)

    # What is known.

    def _due(self, site: Site) -> tuple[Task, ...]:
        now, seen = time.monotonic(), fingerprint(self._home)
        if seen != self._seen or now - self._look_at > LOOK_AGAIN_SECONDS:
            first, self._seen, self._look_at = self._seen is None, seen, now
            self._look(site, first=first)
        if now - self._warnings_at > FORGET_WARNINGS_SECONDS:
            self._memory.warned, self._warnings_at = [], now
        return due(self._state, self._happened(), self._settings.plan)

    def _look(self, site: Site, *, first: bool) -> None:
        """Look at the home; where a file in it is broken, go on with what was seen before."""
        try:
            state = look(site, read_wish(self._config), utc_now())
        except FederatedFactoryError as error:
            if is_lasting(error):
                raise
            self._tell.fault(error)
            return
        if not first and state.modules != self._state.modules:
            self._change_at = self._look_at
        self._state, self._looked = state, True

    def _happened(self) -> Happened:
        now = time.monotonic()
        return Happened(
            rang=self._rang,
            since_round=now - self._round_at,
            since_change=now - self._change_at,
            since_training=now - self._training_at,
            delivered=self._memory.delivered,
        )

    def _is_urgent(self) -> bool:
        """Ask whether what the coordinator has cannot wait until heavy work is done."""
        if self._away or not self._rounds.ready(Task.RECEIVE, None, time.monotonic()):
            return False
        try:
            site = open_site(self._home)
            with open_relay(site) as relay:
                found = has_urgent(site, relay, self._told)
        except Exception as error:
            raise_if_stopped()
            self._tell.fault(error)
            self._rounds.failed(Task.RECEIVE, None, time.monotonic())
            return False
        # What is not urgent is taken when the work has ended.
        self._rang, self._missed = found, True
        return found

    def _order(self, task: Task) -> Order:
        arguments = [str(task), "--home", str(self._home.root), "--json"]
        if self._home.passphrase.file is not None:
            arguments += ["--passphrase-file", str(self._home.passphrase.file)]
        if self._settings.config is not None:
            arguments += ["--config", str(self._settings.config)]
        share = self._settings.gpu_memory if task is Task.TRAIN else None
        return Order(tuple(arguments), self._settings.nice, share)

    # What is heard.

    def _hear(self) -> None:
        """Wait for an event, at most a tick, and take all that are there."""
        wait = TICK_SECONDS
        while True:
            try:
                event = self._events.get(timeout=wait)
            except queue.Empty:
                return
            self._take(event)
            wait = 0.0

    def _take(self, event: Event) -> None:
        if isinstance(event, Rang):
            self._rang = True
            self._rounds.forget(Task.RECEIVE)
        elif isinstance(event, Reached):
            self._reached()
        elif isinstance(event, Unreached):
            self._unreached(event.error)
        elif isinstance(event, Hangup):
            self._tell.log.info("SIGHUP: looking at everything again")
            self._rang, self._look_at = True, float("-inf")
            self._round_at = float("-inf")
        else:
            assert isinstance(event, Ended)

    def _reached(self) -> None:
        self._away, self._lasting_bells = False, 0
        self._tell.reached()

    def _unreached(self, error: Exception) -> None:
        self._away = True
        self._lasting_bells += is_lasting(error)
        if self._lasting_bells >= LASTING_TRIES:
            raise error
        self._tell.fault(error)

    def _said(self, line: str) -> None:
        self._tell.log.info("| %s", line)

    @contextlib.contextmanager
    def _hangups(self) -> Iterator[None]:
        before = signal.signal(signal.SIGHUP, lambda number, frame: self._events.put(Hangup()))
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def _load() -> float | None:
    """Processes that want each core, mean of the last minute; None where nobody knows."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return None
