"""FedAvg, FedProx and SCAFFOLD on the product's classifier, with BatchNorm or GroupNorm.

Nothing is weakened: every site takes part in every round, as many rounds as the time allows, step
size or proximal strength chosen from a grid, and the best round kept, both on validation images.
"""

import copy
import math
from dataclasses import replace

import torch

from benchmarks.arms.classifiers import enough, predictor_of
from benchmarks.arms.solvers import FedProx, Scaffold, with_group_norm
from benchmarks.recovery.task import Learnt, Task
from client_agent.classifier.evaluation import evaluate_probabilities
from client_agent.classifier.network import ClassifierNetwork, build_network
from client_agent.classifier.training import reproducible
from client_agent.demo.averaging import LocalWork, average_rounds, local_epochs_for
from client_agent.demo.baselines import RecipeWork
from client_agent.errors import TrainingError

GRID = {"fedavg": (0.0,), "fedprox": (0.01, 0.1, 1.0), "scaffold": (0.1, 0.03, 0.01)}
"""mu of FedProx, local step size of SCAFFOLD; the first is tried alone when time is short."""

FEWEST_ROUNDS, MOST_ROUNDS = 5, 200
_PILOT_SHARE = 0.1
_SHORTEST_PILOT = 3
_TIME_SHARE = 0.85
_MOST_LOOKS = 50

Score = tuple[float, float]


def federated(task: Task, *, method: str, group_norm: bool) -> Learnt:
    """Average classifiers over rounds.

    Each value of the method's grid runs a tenth of the rounds; the best on validation runs the
    rest. `bytes_per_site` and `rounds` count the final run.

    Args:
        task: what to learn.
        method: `fedavg`, `fedprox` or `scaffold`.
        group_norm: replace BatchNorm.
    """
    task = replace(task, sites=tuple(enough(site) for site in task.sites))
    sizes = [len(site.images) for site in task.sites]
    epochs = local_epochs_for(sizes)
    affordable = math.floor(_TIME_SHARE * task.seconds * task.training_rate / (sum(sizes) * epochs))
    rounds = task.rounds or min(max(affordable, FEWEST_ROUNDS), MOST_ROUNDS)
    pilot = max(_SHORTEST_PILOT, round(_PILOT_SHARE * rounds))
    grid = GRID[method]
    value, tried = grid[0], {}
    if len(grid) > 1 and len(grid) * pilot < rounds / 2:
        for candidate in grid:
            tried[str(candidate)] = _Attempt(task, method, group_norm, candidate).run(pilot, epochs)
        value = max(grid, key=lambda candidate: tried[str(candidate)])
        rounds -= len(grid) * pilot
    attempt = _Attempt(task, method, group_norm, value)
    attempt.run(rounds, epochs)
    labels = range(len(task.classes))
    return Learnt(
        (predictor_of(attempt.best, task.settings, labels, len(labels)),),
        bytes_per_site=attempt.travelled,
        rounds=rounds,
        details={
            "local_epochs": epochs,
            "chosen": value,
            "tried": {name: list(score) for name, score in tried.items()},
            "best_round": attempt.best_round + 1,
            "validation_accuracy": attempt.best_score[0],
            "stopped": attempt.stopped,
        },
    )


class _Attempt:
    """One run with one setting, which remembers its best round."""

    def __init__(self, task: Task, method: str, group_norm: bool, value: float) -> None:
        self._task, self._method, self._value = task, method, value
        network = build_network(task.settings, task.image_size, task.channels, len(task.classes))
        if group_norm:
            with_group_norm(network)
        self.network = network
        self.best: ClassifierNetwork = copy.deepcopy(network)
        self.best_round, self.best_score = -1, (-1.0, -1.0)
        self.travelled = 0
        self.stopped: str | None = None

    def run(self, rounds: int, epochs: int) -> Score:
        """Run and return the best validation score; a diverging run ends with what it had."""
        sizes = [len(site.images) for site in self._task.sites]
        every = max(1, rounds // _MOST_LOOKS)

        def look(number: int) -> None:
            if (number + 1) % every == 0 or number + 1 == rounds:
                self._look(number)

        name = self._method if self._method == "fedavg" else f"{self._method} {self._value}"
        with reproducible(self._task.settings.threads), self._task.progress.task(name, 1) as shown:
            work = self._work(sizes, rounds, epochs)
            try:
                self.travelled = average_rounds(
                    self.network, sizes, rounds, work, after_round=look, after_site=shown.update
                )
            except TrainingError as error:
                self.stopped = error.message
        return self.best_score

    def _work(self, sizes: list[int], rounds: int, epochs: int) -> LocalWork:
        recipe = RecipeWork(self._task.sites, self._task.settings, rounds, epochs)
        if self._method == "fedavg":
            return recipe
        if self._method == "fedprox":
            return FedProx(recipe, self._value)
        return Scaffold(recipe.train, self.network, sizes, self._value)

    def _look(self, number: int) -> None:
        validation, labels = self._task.validation, range(len(self._task.classes))
        predict = predictor_of(self.network, self._task.settings, labels, len(labels))
        probabilities = predict(validation.images)
        if not bool(torch.from_numpy(probabilities).isfinite().all()):
            return
        found = evaluate_probabilities(probabilities, validation.labels, classes=self._task.classes)
        score = (found.accuracy, found.macro_auroc or 0.0)
        if score > self.best_score:
            self.best_round, self.best_score = number, score
            self.best = copy.deepcopy(self.network)
