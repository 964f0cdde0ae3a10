"""How much noise a guarantee of differential privacy takes: the plan of a private training.

Two things of a module depend on the images: the class's Gaussian and the network. Both are made
with noise, and one accountant adds up what they cost: three Gaussian mechanisms for the first
(client_agent/generator/private_gaussian.py) and DP-SGD for the second (private_gradients.py; Abadi
et al., arXiv 1607.00133). The accountant is Opacus's: Renyi differential privacy (Mironov, arXiv
1702.07476) of the Poisson-subsampled Gaussian mechanism.

Neighbours are two training sets of which one has one image more. The number of images counts as
public: a card tells its bucket. The guarantee covers `module.onnx`, not the figures of the audit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from client_agent.errors import UsageError
from client_agent.generator.presets import Preset
from ff_protocol.card import PrivacyGuarantee

ACCOUNTANT = "rdp"
STATISTICS = 3
"""Gaussian mechanisms of the class's Gaussian: mean, covariance, total power."""

_STATISTICS_SHARE = 0.3
_EXPECTED_BATCH = 32
_MAX_GRAD_NORM = 1.0
_LARGEST_NOISE = 2000.0
_PRECISION = 1e-3
_ORDERS = (*(1 + tenth / 10 for tenth in range(1, 100)), *range(12, 64), 128, 256, 512, 1024)
"""Of the Renyi divergence: Opacus's own, and larger ones for strong guarantees."""

DEFAULT_STEPS = 200


@dataclass(frozen=True)
class PrivacyTarget:
    """The guarantee wanted: epsilon above 0, delta between 0 and 1."""

    epsilon: float
    delta: float


@dataclass(frozen=True)
class PrivacyPlan:
    """All that a private training depends on besides the images and its secret seed.

    Attributes:
        delta: of the guarantee.
        images: size of the training set.
        steps: of DP-SGD.
        sample_rate: chance of each image to be in a batch.
        noise_multiplier: standard deviation of the noise on a sum of clipped gradients, as a
            multiple of `max_grad_norm`.
        statistics_noise: the same for each statistic of the Gaussian, as a multiple of its bound.
        max_grad_norm: bound on the Euclidean norm of one image's gradient.
    """

    delta: float
    images: int
    steps: int
    sample_rate: float
    noise_multiplier: float
    statistics_noise: float
    max_grad_norm: float = _MAX_GRAD_NORM

    @property
    def epsilon(self) -> float:
        """What the whole training costs."""
        return _epsilon(
            [
                (self.statistics_noise, 1.0, STATISTICS),
                (self.noise_multiplier, self.sample_rate, self.steps),
            ],
            self.delta,
        )

    @property
    def expected_batch(self) -> float:
        """Images in a batch on average."""
        return self.sample_rate * self.images

    def guarantee(self) -> PrivacyGuarantee:
        """Return what the card says."""
        return PrivacyGuarantee(
            epsilon=round(self.epsilon, 4),
            delta=self.delta,
            accountant=ACCOUNTANT,
            noise_multiplier=round(self.noise_multiplier, 4),
            max_grad_norm=self.max_grad_norm,
            sample_rate=round(self.sample_rate, 6),
            steps=self.steps,
        )


def plan_privacy(target: PrivacyTarget, images: int, steps: int) -> PrivacyPlan:
    """Find the least noise that keeps a training within `target`.

    Args:
        target: the guarantee wanted.
        images: size of the training set.
        steps: of DP-SGD; noise grows with them, so they are fixed beforehand.

    Raises:
        UsageError: a target that cannot be met or that protects nobody.
    """
    _check_target(target, images)
    plan = PrivacyPlan(
        delta=target.delta,
        images=images,
        steps=steps,
        sample_rate=min(1.0, _EXPECTED_BATCH / images),
        noise_multiplier=0.0,
        statistics_noise=0.0,
    )
    statistics = _least_noise(
        lambda noise: _epsilon([(noise, 1.0, STATISTICS)], target.delta),
        _STATISTICS_SHARE * target.epsilon,
    )
    plan = replace(plan, statistics_noise=statistics)
    gradients = _least_noise(
        lambda noise: replace(plan, noise_multiplier=noise).epsilon, target.epsilon
    )
    return replace(plan, noise_multiplier=gradients)


def private_preset(preset: Preset) -> Preset:
    """Return the recipe for noisy gradients: more sampler steps, since the start is less exact."""
    return replace(preset, sampler_steps=max(preset.sampler_steps, 8))


def _check_target(target: PrivacyTarget, images: int) -> None:
    if not 0.01 <= target.epsilon <= 1000:
        raise UsageError(
            f"epsilon {target.epsilon:g} is out of range",
            hint="give 0.01 to 1000; guarantees above about 10 are weak",
        )
    if not 0 < target.delta < 1 / images:
        raise UsageError(
            f"delta {target.delta:g} protects nobody in a class of {images} images",
            hint=f"give less than 1 / images, for example {_round_delta(images):g}",
        )


def _round_delta(images: int) -> float:
    power = 1.0
    while power >= 1 / images:
        power /= 10
    return power


def _epsilon(mechanisms: list[tuple[float, float, int]], delta: float) -> float:
    """Add up Gaussian mechanisms (noise multiplier, sample rate, times)."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = mechanisms
    return float(accountant.get_epsilon(delta, alphas=list(_ORDERS)))


def _least_noise(epsilon_of: Callable[[float], float], target: float) -> float:
    """Bisect for the least noise multiplier whose epsilon is at most `target`."""
    low, high = 0.05, 1.0
    while epsilon_of(high) > target:
        low, high = high, 2 * high
        if high > _LARGEST_NOISE:
            raise UsageError(
                "no amount of noise keeps this training within the guarantee",
                hint="raise epsilon or delta, or lower --steps",
            )
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon_of(middle) <= target else (middle, high)
    return high
