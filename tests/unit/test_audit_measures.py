"""Each measure of the audit against a case worked out by hand, or against its plain definition."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from client_agent.audit import replay  # noqa: E402
from client_agent.audit.distances import (  # noqa: E402
    PixelMetric,
    TolerantMetric,
    VectorMetric,
    euclidean,
    nearest,
    shrink,
)
from client_agent.audit.distinct import count_distinct, replay_expectation  # noqa: E402
from client_agent.audit.fidelity import (  # noqa: E402
    frechet_distance,
    kernel_distance,
    neighbour_counts,
)
from client_agent.audit.intervals import auc, auc_interval, clopper_pearson  # noqa: E402
from client_agent.audit.membership_figures import true_positives  # noqa: E402
from client_agent.audit.nearness import dcr_share, nearer_to_training, nearest_ratio  # noqa: E402
from client_agent.audit.replay import given_away  # noqa: E402


def random_images(count: int, size: int = 14, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_exact_binomial_interval():
    assert clopper_pearson(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert clopper_pearson(10, 10) == pytest.approx((0.6915, 1.0), abs=1e-4)


def test_auc_counts_ties_half_and_its_interval_is_delongs():
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 3.5 / 4
    random = np.random.default_rng(0)
    covered = 0
    truth = 0.7602  # Phi(1 / sqrt 2): the chance that N(1, 1) exceeds N(0, 1)
    for _ in range(200):
        low, high = auc_interval(random.normal(1, 1, 60), random.normal(0, 1, 30))
        covered += low <= truth <= high
    assert 0.9 <= covered / 200 <= 0.99
    parted = auc_interval(np.arange(10.0) + 100, np.arange(8.0))
    assert parted == clopper_pearson(8, 8)


def test_chance_of_an_exceedance_equals_counting_all_orders():
    n, m = 4, 3
    orders = list(itertools.combinations(range(n + m), m))  # places of the held-out images
    for j, ahead in itertools.product(range(1, m + 1), range(n + 1)):
        # In front of the j-th held-out image at place p lie p - (j - 1) training images.
        hits = sum(places[j - 1] - (j - 1) >= ahead for places in orders)
        assert replay._chance(ahead, n, m, j) == pytest.approx(hits / len(orders))


@pytest.mark.parametrize("m", [8, 40])
def test_nothing_is_proven_against_sides_that_are_alike(m: int):
    random = np.random.default_rng(1)
    proven = sum(given_away(random.random(60), random.random(m)).least > 0 for _ in range(400))
    assert proven / 400 <= 0.06


def test_planted_images_are_counted_and_never_more_than_there_are_is_proven():
    random = np.random.default_rng(2)
    over, counts = 0, []
    for _ in range(100):
        training = np.concatenate([np.full(40, -1.0), random.random(160)])
        found = given_away(training, random.random(25))
        assert found.least >= 8
        counts.append(found.count)
        over += found.least > 40
    assert over <= 8
    assert np.mean(counts) == pytest.approx(40, abs=8)
    everything = given_away(np.zeros(50), np.ones(8))
    assert everything.least > 40
    assert everything.count == 50


def test_a_copy_among_the_held_out_images_does_not_hide_a_leak():
    training, held_out = np.zeros(60), np.array([-1.0, *np.ones(14)])
    assert given_away(training, held_out).least > 40


def test_ties_prove_nothing():
    assert given_away(np.zeros(60), np.zeros(10)).least == 0


def test_distance_of_pixels_is_the_root_mean_square_in_grey_levels():
    flat = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (10, 13, 13, 200)])
    images = shrink(flat).flatten(1)
    metric = PixelMetric()
    assert metric.between(images, images)[0].numpy() == pytest.approx([0, 3, 3, 190])
    found = nearest(metric, images, images, same=True)
    assert found.of_queries == pytest.approx([3, 0, 0, 187], abs=1e-4)
    assert list(found.which) == [1, 2, 1, 1]
    across = nearest(metric, images[:1], images[1:])
    assert across.of_pool == pytest.approx([3, 3, 190], abs=2e-3)


def test_equal_rows_are_at_distance_0_wherever_they_lie():
    rows = shrink(random_images(40, channels=3)).flatten(1)
    assert euclidean(rows, rows).diagonal().max() == 0


@pytest.mark.parametrize("size", [8, 14, 28, 32])
def test_flips_and_shifts_cost_nothing_in_the_tolerant_metric_and_much_in_pixels(size: int):
    images = random_images(12, size)
    reach = max(1, round(size / 14))
    moved = np.roll(images[:, :, ::-1], (reach, -reach), (1, 2))
    metric = TolerantMetric()
    distances = metric.between(*(metric.embed(shrink(item)) for item in (moved, images))).numpy()
    assert np.diag(distances) == pytest.approx(0, abs=1e-3)
    assert distances[~np.eye(12, dtype=bool)].min() > 5
    pixels = PixelMetric()
    plain = pixels.between(*(pixels.embed(shrink(item)) for item in (moved, images)))
    assert plain.min() > 50


def test_large_images_are_compared_small():
    assert shrink(random_images(3, 64, 3)).shape == (3, 3, 32, 32)
    assert shrink(random_images(3, 40)).shape == (3, 1, 32, 32)
    assert shrink(np.full((2, 256, 256, 1), 7, np.uint8)).unique().tolist() == [7.0]


def test_expected_number_of_different_images_in_a_replay():
    assert replay_expectation(2, 2) == pytest.approx(1.5)
    assert replay_expectation(1, 9) == 1
    draws = np.random.default_rng(0).integers(0, 30, (2000, 40))
    mean = np.mean([len(np.unique(row)) for row in draws])
    assert replay_expectation(30, 40) == pytest.approx(mean, abs=0.2)


def test_repeats_are_counted_once_also_when_flipped():
    a, b = random_images(2)
    samples = np.stack([a, b, a, a[:, ::-1], b[::-1], b])
    assert count_distinct(TolerantMetric().embed(shrink(samples)), 1.0) == 2
    many = random_images(300, 8)
    assert count_distinct(TolerantMetric().embed(shrink(many)), 1.0) == 300


def test_share_of_samples_nearer_than_real_images_are_to_each_other():
    real = np.arange(1.0, 101.0)  # 5 % of them lie below 5.95
    share, (low, high) = dcr_share(np.array([1.0, 5.0, 6.0, 50.0]), real)
    assert share == 0.5
    assert low < 0.5 < high


def test_ratio_of_distances_to_the_training_images():
    value, (low, high) = nearest_ratio(np.array([1.0, 2.0, 9.0]), np.array([4.0, 4.0, 4.0]), 0)
    assert value == 0.5
    assert low == 0.25
    assert high == 2.25
    assert nearest_ratio(np.zeros(9), np.ones(3), 0)[0] == 0


def test_share_nearer_to_the_training_side():
    training, held_out = (
        torch.randn(20, 6, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
    )
    copies = training.repeat(3, 1)
    assert nearer_to_training(VectorMetric(), training, held_out, copies, 0)[0] == 1.0
    value, (low, high) = nearer_to_training(VectorMetric(), training, training, copies[:10], 0)
    assert value == 0.5
    assert low < 0.5 < high


def test_frechet_distance_of_two_gaussians():
    cross = np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
    # Covariances S = 2/3 I and 4 S: the distance is 3^2 + trace(S + 4 S - 2 * 2 S).
    assert frechet_distance(cross, 2 * cross + [3, 0]) == pytest.approx(9 + 4 / 3)
    assert frechet_distance(cross, cross) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_and_its_error_by_their_definitions():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(7, 3)), random.normal(1, 1, size=(5, 3))

    def plain(one: np.ndarray, other: np.ndarray) -> float:
        def mean(a: np.ndarray, b: np.ndarray, *, same: bool) -> float:
            pairs = [(x @ y / 3 + 1) ** 3 for i, x in enumerate(a) for j, y in enumerate(b)
                     if not (same and i == j)]  # fmt: skip
            return float(np.mean(pairs))

        return (
            mean(one, one, same=True)
            + mean(other, other, same=True)
            - 2 * mean(one, other, same=False)
        )

    value, error = kernel_distance(one, other)
    assert value == pytest.approx(plain(one, other))
    variance = 0.0
    for left_out in (
        [plain(np.delete(one, i, 0), other) for i in range(7)],
        [plain(one, np.delete(other, i, 0)) for i in range(5)],
    ):
        n = len(left_out)
        variance += (n - 1) / n * sum((v - np.mean(left_out)) ** 2 for v in left_out)
    assert error == pytest.approx(variance**0.5)


def test_precision_recall_density_coverage_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]])
    fake = np.array([[0.5], [1.2], [30.0]])
    # With one neighbour, radii of the reals are 1, 1, 1, 8; of the fakes 0.7, 0.7, 28.8.
    counts = neighbour_counts(real, fake, neighbours=1)
    assert counts.precision.tolist() == [True, True, False]
    # 0.5 lies near 0 and 1; 1.2 near 1 and 2; neither within 8 of 10; 30 near none.
    assert counts.density.tolist() == [2.0, 2.0, 0.0]
    assert counts.coverage.tolist() == [True, True, True, False]
    # 0 is within 0.7 of 0.5, 1 too, 2 only within 28.8 of 30, 10 likewise.
    assert counts.recall.tolist() == [True, True, True, True]


def test_neighbour_counts_by_their_definitions():
    random = np.random.default_rng(0)
    real, fake, k = random.normal(size=(30, 4)), random.normal(0.5, 1, size=(25, 4)), 5

    def reach(rows: np.ndarray) -> np.ndarray:
        return np.sort(np.linalg.norm(rows[:, None] - rows[None], axis=2), axis=1)[:, k]

    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    counts = neighbour_counts(real, fake, k)
    assert counts.precision.mean() == (between < reach(real)[:, None]).any(0).mean()
    assert counts.recall.mean() == (between < reach(fake)[None]).any(1).mean()
    assert counts.density.mean() == pytest.approx(
        (between < reach(real)[:, None]).sum(0).mean() / k
    )
    assert counts.coverage.mean() == (between.min(1) < reach(real)).mean()


def test_true_positives_at_one_percent():
    members = np.arange(200.0)
    # 200 others: two of them may be taken for members, so the third sets the threshold.
    others = np.concatenate([[10.5, 20.5, 50.5], np.full(197, 1000.0)])
    value, low, high = true_positives(members, others)
    assert value == 51 / 200
    assert low <= value <= high
    # With 8 others none may be; all members found is proof of most, half of nothing.
    assert true_positives(np.zeros(50), np.ones(8))[:2] == (1.0, pytest.approx(0.9, abs=0.08))
    alike = true_positives(np.arange(16.0), np.arange(8.0) * 2 + 0.5)
    assert alike[1] == 0
