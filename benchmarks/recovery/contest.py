"""Run arms for seeds and budgets, measure each once, keep what is there.

This is the only place where test images are applied to anything: an arm returns functions from
images to probabilities, and they are called here when the arm can choose no more.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.arms import SPENDS_BUDGET, find_arm
from benchmarks.arms.views import with_views
from benchmarks.environment import describe_environment
from benchmarks.recovery.budget import (
    BASELINE_SECONDS,
    DEFAULT_RULE,
    BudgetRule,
    measure_training_rate,
)
from benchmarks.recovery.data import Labelled, RecoverData
from benchmarks.recovery.results import Key, ResultsFile, Run
from benchmarks.recovery.scanners import make_scanners, render_mixed, render_site
from benchmarks.recovery.splits import divide
from benchmarks.recovery.task import Arm, Learnt, Task
from client_agent.classifier.evaluation import Evaluation, average, evaluate_probabilities
from client_agent.classifier.settings import ClassifierSettings
from client_agent.errors import DataError, TrainingError
from client_agent.progress import SILENT, Progress
from ff_protocol import canonical


@dataclass(frozen=True)
class Problem:
    """A task together with the images that it is measured on."""

    task: Task
    measured: Labelled


@dataclass(frozen=True)
class Contest:
    """What is to be run.

    Attributes:
        data: the images.
        split: who holds what.
        out: folder of the results and of what arms keep.
        settings: the classifier's recipe; its seed is set for each run.
        part: `test`, or `validation`, which leaves the test images alone.
        rule: how a budget is divided.
        preset: the generators'.
        device: where generators are trained: cpu, cuda or auto.
        sites: number of sites where the split leaves it open.
        rounds: communication rounds of the averaging arms; None takes what the time allows.
        command: for the record.
        progress: watches.
    """

    data: RecoverData
    split: str
    out: Path
    settings: ClassifierSettings
    part: str = "test"
    rule: BudgetRule = DEFAULT_RULE
    preset: str = "tiny"
    device: str = "cpu"
    sites: int | None = None
    rounds: int | None = None
    command: str = ""
    progress: Progress = SILENT

    def run(
        self, arms: Sequence[str], seeds: Sequence[int], budgets: Sequence[float]
    ) -> ResultsFile:
        """Run what the folder does not hold yet; the file is written after each run.

        Arms that do not turn seconds into images are run once, under the longest budget, at most
        `BASELINE_SECONDS`. An arm that cannot work with these images is noted, the others go on,
        and a rerun tries it again.

        Args:
            arms: names from benchmarks.arms.TITLES.
            seeds: of the division, training and synthesis.
            budgets: seconds of the whole federation, sites in turn.

        Raises:
            UsageError: the folder holds results of other images.
            StorageError: the disk refused.
        """
        results = ResultsFile(self.out, self.data.describe())
        keys = [
            Key(arm, self.split, float(budget), self.part)
            for arm in arms
            for budget in (
                sorted(budgets) if arm in SPENDS_BUDGET else [min(max(budgets), BASELINE_SECONDS)]
            )
        ]
        missing = [(key, seed) for seed in seeds for key in keys if not results.has(key, seed)]
        if not missing:
            return results
        rate = measure_training_rate(
            self.settings, self.data.image_size, self.data.channels, len(self.data.classes)
        )
        with self.progress.task(f"{self.data.name}, {self.split}", len(missing)) as shown:
            for number, (key, seed) in enumerate(missing):
                shown.update(number, f"{key.arm}, seed {seed}")
                try:
                    results.add(self._run_one(key, seed, rate))
                except (DataError, TrainingError) as error:
                    results.fail(key, seed, error.message)
                    self.progress.note(f"{key.arm}, seed {seed}: {error.message}")
            shown.update(len(missing))
        return results

    def problem(self, seed: int, seconds: float, rate: float) -> Problem:
        """Lay the images out for one seed; the task holds no image that is reported on."""
        data = self.data
        members = divide(data.train.labels, self.split, seed=seed, sites=self.sites)
        sites = tuple(data.train.take(own) for own in members)
        validation = data.validation
        measured = data.test if self.part == "test" else data.validation
        if self.split == "scanners":
            scanners = make_scanners(len(sites), seed)
            sites = tuple(
                Labelled(render_site(site.images, scanners[number], number, seed), site.labels)
                for number, site in enumerate(sites)
            )
            validation = Labelled(
                render_mixed(validation.images, scanners, 0, seed), validation.labels
            )
            measured = (
                Labelled(render_mixed(measured.images, scanners, 1, seed), measured.labels)
                if self.part == "test"
                else validation
            )
        task = Task(
            classes=data.classes,
            sites=sites,
            validation=validation,
            settings=replace(self.settings, seed=seed),
            seconds=seconds,
            seed=seed,
            training_rate=rate,
            work=self._work(seed, seconds),
            rule=self.rule,
            preset=self.preset,
            device=self.device,
            rounds=self.rounds,
            progress=self.progress,
        )
        return Problem(task, measured)

    def _run_one(self, key: Key, seed: int, rate: float) -> Run:
        problem = self.problem(seed, key.budget, rate)
        environment = describe_environment()
        learnt, seconds, cpu_seconds = _timed(find_arm(key.arm), problem.task)
        evaluation = measure(learnt, problem)
        return Run(
            **vars(key),
            seed=seed,
            accuracy=evaluation.accuracy,
            auroc=evaluation.macro_auroc,
            f1=evaluation.macro_f1,
            bytes_per_site=learnt.bytes_per_site,
            rounds=learnt.rounds,
            seconds=round(seconds, 2),
            cpu_seconds=round(cpu_seconds, 2),
            sites=len(problem.task.sites),
            threads=self.settings.threads,
            command=self.command,
            environment=environment,
            details={**learnt.details, "recall": evaluation.recall, "training_rate": round(rate)},
        )

    def _work(self, seed: int, seconds: float) -> Path:
        """Name the folder for all that decides what is kept there, so that nothing is confused."""
        decides: dict[str, Any] = {
            "data": self.data.sha256,
            "size": self.data.image_size,
            "split": self.split,
            "sites": self.sites,
            "seed": seed,
            "seconds": seconds,
            "preset": self.preset,
            "device": self.device,
            "rule": vars(self.rule),
            "classifier": {name: repr(value) for name, value in vars(self.settings).items()},
        }
        name = canonical.sha256_hex(canonical.dumps(decides))[:12]
        return self.out / "work" / f"{self.split}-{seconds:g}s-seed{seed}-{name}"


def measure(learnt: Learnt, problem: Problem) -> Evaluation:
    """Apply what was learnt to the images that are reported on; the mean over its classifiers."""
    return average(
        [
            evaluate_probabilities(
                predict(problem.measured.images),
                problem.measured.labels,
                classes=problem.task.classes,
            )
            for predict in learnt.predictors
        ]
    )


def _timed(arm: Arm, task: Task) -> tuple[Learnt, float, float]:
    """Return what was learnt with wall and processor seconds, kept work counted as if done now."""
    started, cpu = time.monotonic(), time.process_time()
    learnt = with_views(arm(task), task)
    return (
        learnt,
        time.monotonic() - started + learnt.earlier_seconds,
        time.process_time() - cpu + learnt.earlier_cpu_seconds,
    )
