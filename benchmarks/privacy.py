"""`python -m benchmarks.privacy`: what differential privacy costs in accuracy.

For each epsilon one generator a class is trained with it, a classifier on their images, and tested
on real images. Two rows without a network show what the class's Gaussian alone gives, so that it
can be seen what the noisy training of the network adds.
"""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.environment import describe_environment
from client_agent.classifier.evaluation import evaluate_probabilities
from client_agent.classifier.settings import ClassifierSettings
from client_agent.classifier.training import fit_classifier, predict_network
from client_agent.console import show_table
from client_agent.demo.datasets import DemoData, load_demo_data
from client_agent.generator.gaussian import ClassGaussian, fit_gaussian
from client_agent.generator.presets import preset_for
from client_agent.generator.privacy import PrivacyTarget, plan_privacy, private_preset
from client_agent.generator.private_gaussian import fit_private_gaussian
from client_agent.generator.training import Budget, sample_torch, train_generator
from client_agent.preparation.prepare import prepare
from client_agent.synthesis.session import quantise
from ff_protocol import canonical
from ff_protocol.files import write_atomically

Images = np.ndarray
_SECRET = 2026
_CLASSIFIER = ClassifierSettings(presentations=24_000, threads=1)


@dataclass(frozen=True)
class Row:
    """One guarantee. `epsilon` is None without one; `cpu_seconds` covers generators and samples."""

    training: str
    epsilon: float | None
    accuracy: float
    macro_auroc: float | None
    noise_multiplier: float | None
    cpu_seconds: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--dataset", required=True, help="MedMNIST-style FILE.npz, or `digits`.")
@click.option("--size", type=click.IntRange(8, 64), help="Scale images to this side.")
@click.option("--epsilons", default="2,8,30", show_default=True)
@click.option("--delta", type=float, default=1e-5, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=120, show_default=True)
@click.option("--samples", type=click.IntRange(10), default=300, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmark-output/privacy"))
def main(
    dataset: str,
    size: int | None,
    epsilons: str,
    delta: float,
    steps: int,
    samples: int,
    seed: int,
    out: Path,
) -> None:
    """Measure accuracy against epsilon; every arm has the same steps, samples and classifier."""
    torch.set_num_threads(1)
    data = _scaled(load_demo_data(dataset, Path(), seed), size)
    rows: list[Row] = []
    report = {
        "command": "python -m benchmarks.privacy " + shlex.join(sys.argv[1:]),
        "environment": describe_environment(),
    }
    targets = [PrivacyTarget(float(text), delta) for text in epsilons.split(",")]
    for target in (None, *targets):
        for with_network in (False, True):
            rows.append(_row(data, target, steps if with_network else 0, samples, seed))
            report["rows"] = [asdict(row) for row in rows]
            write_atomically(out / "results.json", canonical.dumps(report))
    columns = [name.replace("_", " ") for name in asdict(rows[0])]
    show_table(
        f"{data.name}, {data.image_size} px, {steps} steps a class",
        columns,
        [
            ["-" if v is None else f"{v:.3f}" if isinstance(v, float) else v for v in r.values()]
            for r in map(asdict, rows)
        ],
    )
    print(f"{report['environment']}\n{report['command']}\nwritten: {out / 'results.json'}")


def _scaled(data: DemoData, size: int | None) -> DemoData:
    if size is None:
        return data

    def scale(images: Images) -> Images:
        side, channels = size, data.channels
        small = [prepare(image, image_size=side, channels=channels) for image in images]
        return np.stack(small).reshape(-1, side, side, channels)

    return replace(data, train_images=scale(data.train_images), test_images=scale(data.test_images))


def _row(data: DemoData, target: PrivacyTarget | None, steps: int, samples: int, seed: int) -> Row:
    started = time.process_time()
    images, multiplier = [], None
    for index in range(len(data.classes)):
        own = data.train_images[data.train_labels == index]
        noise = np.random.Generator(np.random.Philox(key=[seed, index])).standard_normal(
            (samples, data.channels, data.image_size, data.image_size), dtype=np.float32
        )
        make, found = _generator(own, target, steps, seed)
        multiplier = found if found is not None else multiplier
        images.append(quantise(make(noise)))
    spent = time.process_time() - started
    labels = np.repeat(np.arange(len(data.classes)), samples)
    fitted = fit_classifier(
        np.concatenate(images), labels, classes=data.classes, settings=_CLASSIFIER
    )
    found = evaluate_probabilities(
        predict_network(fitted.network, data.test_images, 1),
        data.test_labels,
        classes=data.classes,
    )
    return Row(
        "network and Gaussian" if steps else "Gaussian alone",
        target.epsilon if target else None,
        found.accuracy,
        found.macro_auroc,
        multiplier,
        spent,
    )


def _generator(
    own: Images, target: PrivacyTarget | None, steps: int, seed: int
) -> tuple[Callable[[Images], Images], float | None]:
    """Train one class; return its function from noise to images, and the noise multiplier."""
    data = torch.from_numpy(own).permute(0, 3, 1, 2)
    if not steps:
        # The same share of the budget as beside a network: what the release alone costs.
        if target is None:
            return _coloured(fit_gaussian(data)), None
        plan = plan_privacy(target, len(own), 1)
        return _coloured(fit_private_gaussian(data, plan, _SECRET)), None
    preset = preset_for("tiny", own.shape[1], own.shape[3])
    trained = train_generator(
        own,
        # The same sampler for both, so that only the training differs.
        preset=private_preset(preset),
        seed=seed,
        budget=Budget(steps=steps),
        device="cpu",
        privacy=target,
    )
    guarantee = trained.guarantee
    return (
        lambda noise: sample_torch(trained, noise),
        guarantee.noise_multiplier if guarantee else None,
    )


def _coloured(gaussian: ClassGaussian) -> Callable[[Images], Images]:
    def make(noise: Images) -> Images:
        drawn = gaussian.colour(torch.from_numpy(noise), 0.0) + gaussian.mean
        result: Images = ((drawn + 1) / 2).clamp(0, 1).numpy()
        return result

    return make


if __name__ == "__main__":
    main()
