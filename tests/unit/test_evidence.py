"""Evidence of the modules: it is the denoiser's, bound to no batch, and helps the classifier."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import onnx
import torch

from client_agent.classifier.local_calibration import LocalCalibration, store_local
from client_agent.errors import NotReadyError, RefusedError
from client_agent.evidence import judgement
from client_agent.evidence.judgement import class_evidence, product
from client_agent.evidence.restoring import image_noise, restoration_errors
from client_agent.evidence.settings import LEVELS
from client_agent.generator.network import network_inputs
from client_agent.home import Home
from client_agent.module.denoiser import denoiser_model
from client_agent.module.export import export_module
from client_agent.module.structure import ALLOWED_OPERATORS
from client_agent.registry.modules import remove_folder, usable_modules
from client_agent.site import open_site
from client_agent.steps.evaluate import evaluate
from client_agent.steps.predict import open_classifier, predict
from ff_protocol.spec import parse_spec
from tests.agents import agent, agent_json
from tests.unit.test_module_export import train
from tests.unit.test_synthesis import module_file

SIZE, CHANNELS = 17, 3


def spec_for(size: int, channels: int, batch: int = 7):
    return parse_spec(
        {
            "classes": ["a", "b"],
            "image": {"size": size, "channels": channels},
            "synthesis": {"samples_per_class": 8, "batch_size": batch, "threads": 2},
        }
    )


@pytest.fixture(scope="module")
def trained():
    return train(SIZE, CHANNELS, patch=2, block_out_channels=(8, 16))


@pytest.fixture(scope="module")
def module(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("evidence") / "module.onnx"
    export_module(trained, path)
    return path


@pytest.fixture(scope="module")
def images():
    shape = (11, SIZE, SIZE, CHANNELS)
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def site(fitted_copy):
    return open_site(Home(fitted_copy))


def test_errors_are_those_of_the_trained_denoiser(trained, module, images):
    measured = restoration_errors(module, images, spec_for(SIZE, CHANNELS))
    gaussian, clean = trained.gaussian, torch.from_numpy(images).permute(0, 3, 1, 2).float()
    centred = clean / 127.5 - 1 - gaussian.mean
    drawn = torch.from_numpy(np.stack([image_noise(image) for image in images], axis=1))
    assert measured.shape == (len(images), len(LEVELS))
    for number, level in enumerate(LEVELS):
        noisy, sigma = centred + drawn[number], torch.full((1,), level)
        linear = gaussian.estimate(noisy, sigma)
        with torch.inference_mode():
            raw = trained.network(*network_inputs(gaussian, noisy, linear, sigma))
        restored = linear + gaussian.error(sigma) * raw
        expected = (restored - centred).square().mean((1, 2, 3)).numpy()
        np.testing.assert_allclose(measured[:, number], expected, rtol=1e-4)


def test_what_is_said_of_an_image_does_not_depend_on_the_images_beside_it(module, images):
    spec = spec_for(SIZE, CHANNELS)
    together = restoration_errors(module, images, spec)
    assert np.array_equal(restoration_errors(module, images[::-1], spec), together[::-1])
    assert np.array_equal(restoration_errors(module, images[4:5], spec), together[4:5])


def test_no_module_can_know_the_noise_and_take_it_away(images):
    drawn = np.stack([image_noise(image) for image in images])
    for number, level in enumerate(LEVELS):
        assert drawn[:, number].std() == pytest.approx(level, rel=0.05)
    # One grey level in one pixel, and the noise of the other image is of no use.
    near = images[0].copy()
    near[0, 0, 0] ^= 1
    alike = np.corrcoef(image_noise(near).ravel(), drawn[0].ravel())[0, 1]
    assert abs(alike) < 0.1
    assert np.array_equal(image_noise(images[0]), drawn[0])


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_any_batch_size_of_the_spec_will_do(module, images, batch):
    spec = spec_for(SIZE, CHANNELS, batch)
    usual = restoration_errors(module, images[:3], spec_for(SIZE, CHANNELS))
    np.testing.assert_allclose(restoration_errors(module, images[:3], spec), usual, rtol=1e-4)


def test_progress_ends_with_the_number_of_images(module, images):
    seen = []
    restoration_errors(module, images, spec_for(SIZE, CHANNELS), seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(images)


def test_an_interruption_waits_for_no_batch_that_has_not_begun(module, images, monkeypatch):
    from client_agent.sandbox.process import ModelProcess

    run, begun = ModelProcess.run, []

    def counted(self, noisy):
        begun.append(1)
        return run(self, noisy)

    def interrupt(done):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelProcess, "run", counted)
    many = np.tile(images, (40, 1, 1, 1))
    with pytest.raises(KeyboardInterrupt):
        restoration_errors(module, many, spec_for(SIZE, CHANNELS), interrupt)
    assert len(begun) < 100  # of 220


def test_a_denoiser_uses_operators_that_a_module_may_have_and_no_other(module):
    model = onnx.load_model_from_string(denoiser_model(module, LEVELS))
    onnx.checker.check_model(model)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    nodes = [*model.graph.node, *loop.attribute[0].g.node]
    assert {node.op_type for node in nodes} <= ALLOWED_OPERATORS


def test_the_spectrum_is_the_gaussians(trained):
    gaussian = trained.gaussian
    spectrum = gaussian.spectrum
    for sigma in (0.01, 0.3, 5.0):
        assert spectrum.error(sigma) == pytest.approx(
            float(gaussian.error(torch.tensor([sigma], dtype=torch.float64)))
        )
        level, shape = torch.tensor([sigma]), (1, *gaussian.mean.shape)
        first = gaussian.basis[:, 0].reshape(shape)
        shrunk = gaussian.estimate(first, level)
        along, rest = spectrum.gains(sigma)
        assert along[0] == pytest.approx(float((shrunk * first).sum()), rel=1e-4)
        other = torch.linalg.qr(torch.cat([gaussian.basis, torch.ones(len(first.ravel()), 1)], 1))
        beside = other.Q[:, -1].reshape(shape)
        shrunk = gaussian.estimate(beside, level)
        assert rest == pytest.approx(float((shrunk * beside).sum()), rel=1e-4)


def test_a_module_of_another_family_is_named_and_refused(tmp_path, fitted_home, monkeypatch):
    path = module_file(tmp_path / "module.onnx", "Sigmoid")
    blank = np.zeros((2, 8, 8, 1), np.uint8)
    with pytest.raises(RefusedError, match="no denoiser can be read") as caught:
        restoration_errors(path, blank, spec_for(8, 1))
    assert "--evidence" in caught.value.hint
    site = open_site(Home(fitted_home))
    modules = usable_modules(site.home, site.spec)
    monkeypatch.setattr(type(modules[0]), "model", property(lambda _: path))
    with pytest.raises(RefusedError, match=r"(zero|one) of hospital-[12]"):
        class_evidence(modules, ("zero", "one"), blank, site.spec)


def changed(module, path, name, values):
    """A copy of `module` with other numbers in the body's table; None: without that column."""
    model = onnx.load_model_from_string(module.read_bytes())
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    tensors = loop.attribute[0].g.initializer
    place = next(i for i, tensor in enumerate(tensors) if tensor.name == f"table_{name}")
    del tensors[place]
    if values is not None:
        array = np.asarray(values, np.float32)
        tensors.append(onnx.numpy_helper.from_array(array, f"table_{name}"))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("c_estimate", None),
        ("c_estimate", np.zeros(4)),
        ("c_estimate", np.zeros(())),
        ("c_noise", np.full(4, 1e30)),
        ("gain_rest", np.full(200_000, 0.5)),
        ("gain_along", np.full((1, 200_000), 0.5)),
        ("gain_along", np.full((4, 0), 0.5)),
        ("gain_along", np.full((4, 1), np.nan)),
    ],
)
def test_a_table_of_nonsense_is_refused_without_a_crash(module, images, tmp_path, name, values):
    path = changed(module, tmp_path / "module.onnx", name, values)
    with pytest.raises(RefusedError):
        restoration_errors(path, images[:1], spec_for(SIZE, CHANNELS))


def test_values_that_are_not_finite_are_refused(module, images, monkeypatch):
    from client_agent.sandbox.process import ModelProcess

    monkeypatch.setattr(ModelProcess, "run", lambda self, noisy: np.full_like(noisy, np.nan))
    with pytest.raises(RefusedError, match="not finite"):
        restoration_errors(module, images, spec_for(SIZE, CHANNELS))


def test_a_class_gains_nothing_by_being_held_at_many_sites(site, digits):
    modules = usable_modules(site.home, site.spec)
    images = np.load(digits)["test_images"][:5]
    once = class_evidence(modules, ("zero", "one"), images, site.spec)
    thrice = class_evidence([*modules, modules[0], modules[0]], ("zero", "one"), images, site.spec)
    np.testing.assert_allclose(thrice, once)


def test_a_product_is_normalised_and_neither_side_has_a_veto():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], np.float32)
    evidence = np.array([[0.0, 40.0], [-1000.0, -1002.0], [-np.inf, 0.0]])
    made = product(probabilities, evidence)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.sum(axis=1), 1, rtol=1e-6)
    assert made[0, 1] > 0.99
    assert made[1, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert made[2].tolist() == [0, 1]


def test_a_product_takes_the_root_of_the_classifiers_probabilities_without_their_temperature():
    scores, silent = np.array([[2.0, 0.0, -1.0]]), np.zeros((1, 3))
    tempered = np.exp(scores / 0.7) / np.exp(scores / 0.7).sum()
    expected = np.exp(scores / 2) / np.exp(scores / 2).sum()
    made = product(tempered.astype(np.float32), silent, temperature=0.7)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_a_temperature_of_this_site_changes_the_classifier_but_not_what_evidence_makes_of_it(
    site, digits
):
    before = [predict(site, digits, evidence=asked).predictions for asked in (False, True)]
    digest = predict(site, digits).classifier
    store_local(site.home, LocalCalibration(digest, 9, ("zero", "one", "two"), 3.0, 1.0))
    after = [predict(site, digits, evidence=asked).predictions for asked in (False, True)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_modules_tell_the_classes_apart_that_they_were_trained_on(site, digits):
    with np.load(digits) as data:
        known = data["test_labels"][:, 0] < 2
        images, labels = data["test_images"][known], data["test_labels"][known, 0]
    modules = usable_modules(site.home, site.spec)
    evidence = class_evidence(modules, ("zero", "one"), images, site.spec)
    assert (evidence.argmax(axis=1) == labels).mean() > 0.9


def test_predict_and_evaluate_multiply_it_with_the_classifier(site, digits, monkeypatch):
    alone, both = predict(site, digits), predict(site, digits, evidence=True)
    assert (alone.evidence, both.evidence) == (False, True)
    pairs = list(zip(alone.predictions, both.predictions, strict=True))
    assert any(a.probabilities != b.probabilities for a, b in pairs)
    # The flag stays the classifier's: evidence says which class, not whether it is one.
    assert all(a.in_distribution == b.in_distribution for a, b in pairs)
    figures = evaluate(site, digits, evidence=True)
    assert figures.evidence
    truth = np.load(digits)["test_labels"][:, 0]
    names = ["zero", "one", "two"]
    right = [
        item.label == names[label] for item, label in zip(both.predictions, truth, strict=True)
    ]
    assert figures.figures["accuracy"] == pytest.approx(np.mean(right))
    monkeypatch.setattr(judgement, "WEIGHT", 0.0)
    temperature = open_classifier(site).temperature
    monkeypatch.setattr(judgement, "CLASSIFIER_WEIGHT", 1 / temperature)
    silent = predict(site, digits, evidence=True)
    for without, item in zip(alone.predictions, silent.predictions, strict=True):
        assert item.probability == pytest.approx(without.probability, abs=1e-5)


def test_a_classifier_made_from_other_modules_gets_no_evidence(site, digits):
    remove_folder(usable_modules(site.home, site.spec)[0].folder)
    with pytest.raises(NotReadyError, match="made from other modules") as caught:
        predict(site, digits, evidence=True)
    assert caught.value.hint == "run: ff-agent fit"
    assert predict(site, digits).predictions


def test_the_commands_have_the_option_and_say_that_it_was_used(site, digits):
    document = agent_json(site.home.root, "predict", "--data", digits, "--evidence")
    assert document["evidence"] is True
    done = agent(site.home.root, "evaluate", "--data", digits, "--evidence")
    assert done.code == 0, done.err
    assert "the modules asked, too" in done.out
