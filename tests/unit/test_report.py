"""The report: true, escaped, accessible, and without a real image where it is to be shared."""

import base64
import dataclasses
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from client_agent.audit.thresholds import Bound
from client_agent.home import Home
from client_agent.report.charts import learning_chart, ticks
from client_agent.report.content import FigureRow, LearningCurve
from client_agent.report.lights import judge, overall, rows
from client_agent.report.page import render
from client_agent.site import open_site
from client_agent.sources.load import load_images
from client_agent.sources.write_dicom import write_dicom
from client_agent.steps.evaluate import evaluate
from client_agent.steps.report import ReportOptions, report
from client_agent.steps.report_content import gather, read_curve
from ff_protocol.card import Figure
from tests.agents import agent_json
from tests.browser import chromium, console_messages, pdf, screenshot

STYLE = Path(__file__).parents[2] / "client_agent" / "report" / "templates" / "report.css"
PATIENT = "PATIENT-4711"


@pytest.fixture(scope="module")
def site(fitted_home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "home"
    shutil.copytree(fitted_home, folder)
    return open_site(Home(folder))


@pytest.fixture(scope="module")
def data(digits, tmp_path_factory) -> Path:
    """Sixty labelled digits as DICOM files, patient and path named so that both can be found."""
    folder = tmp_path_factory.mktemp("secret-ward")
    stored = np.load(digits)
    names = stored["class_names"]
    for number, (image, (label,)) in enumerate(
        zip(stored["test_images"], stored["test_labels"], strict=True)
    ):
        path = folder / str(names[label]) / f"{PATIENT}-{number}" / "IM1"
        write_dicom(image, path, patient_id=f"{PATIENT}-{number}", seed=0)
    return folder


@pytest.fixture(scope="module")
def loaded(site, data):
    return load_images(data, classes=site.spec.classes, image_size=8, channels=1, split="test")


@pytest.fixture(scope="module")
def pages(site, data, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for shareable in (False, True):
        name = "shareable" if shareable else "local"
        report(site, ReportOptions(folder / f"{name}.html", data, shareable=shareable))
    return {name: folder / f"{name}.html" for name in ("local", "shareable")}


def pictures(page: str) -> "list[np.ndarray]":
    """Decode every embedded picture."""
    from PIL import Image

    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert page.count("data:") - page.count("img-src data:") == len(found)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def shown_in(picture: np.ndarray, images: np.ndarray) -> list[bool]:
    """Which images, uint8 [n, H, W], are anywhere in a picture, magnified up to eight times."""
    height, width = images.shape[1:]
    seen: set[bytes] = set()
    for scale in range(1, 9):
        for down in range(scale):
            for across in range(scale):
                small = picture[down::scale, across::scale]
                if small.shape[0] >= height and small.shape[1] >= width:
                    windows = np.lib.stride_tricks.sliding_window_view(small, (height, width))
                    seen.update(row.tobytes() for row in windows.reshape(-1, height * width))
    return [image.tobytes() in seen for image in images]


def test_the_shareable_edition_holds_no_real_image_in_any_form(pages, loaded):
    local, shareable = (pages[name].read_bytes() for name in ("local", "shareable"))
    real = loaded.images[..., 0]
    # The search finds real images where they are: in the local edition.
    parts = [shown_in(picture, real) for picture in pictures(local.decode())]
    assert np.any(parts, axis=0).all()
    assert len(pictures(shareable.decode())) == 2  # the two classes that have synthetic images
    for picture in pictures(shareable.decode()):
        assert not any(shown_in(picture, real))
    for image in real:
        raw = image.tobytes()
        for form in (raw, base64.b64encode(raw), raw.hex().encode()):
            assert form not in shareable


@pytest.mark.parametrize("edition", ["local", "shareable"])
def test_no_edition_names_a_patient_or_a_place(pages, site, data, edition):
    page = pages[edition].read_text()
    for secret in (PATIENT, str(data), data.name, str(site.home.root), site.identity.endpoint):
        assert secret not in page
    assert "Not a medical device" in page


def test_the_local_edition_is_for_its_owner_alone(pages):
    assert pages["local"].stat().st_mode & 0o777 == 0o600


def test_exact_counts_of_images_stay_at_home(pages, loaded):
    zeros = int((loaded.labels == 0).sum())
    assert f'<td class="n">{zeros}</td>' in pages["local"].read_text()
    shareable = pages["shareable"].read_text()
    assert f'<td class="n">{zeros}</td>' not in shareable
    assert "16-31" in shareable


def test_it_says_what_evaluate_says(site, data, loaded):
    content = gather(site, loaded, shareable=False)
    figures = evaluate(site, data).figures
    assert content.results.accuracy == figures["accuracy"]
    assert content.results.macro_auroc == figures["macro_auroc"]
    assert [list(row) for row in content.results.confusion] == figures["confusion"]
    assert f"{100 * figures['accuracy']:.1f} %" in render(content)
    assert content.missing_classes == ("two",)
    assert [module.signature for module in content.modules] == ["", ""]
    assert all(module.root for module in content.modules)


def test_without_data_and_without_a_classifier_it_still_is_a_page(sites, tmp_path):
    done = report(sites["hospital-3"], ReportOptions(tmp_path / "r.html"))
    assert (done.real_images, done.measured) == (0, 0)
    assert "There is no classifier yet" in (tmp_path / "r.html").read_text()


def test_the_command_writes_the_file_and_changes_nothing(site, data, tmp_path):
    before = sorted(path.name for path in site.home.root.rglob("*"))
    path = tmp_path / "out.html"
    done = agent_json(site.home.root, "report", "--data", data, "--output", path, "--shareable")
    assert (done["edition"], done["real_images"], done["measured"]) == ("shareable", 0, 60)
    assert path.stat().st_size == done["bytes"] < 300_000
    assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in site.home.root.rglob("*")) == before


def test_an_altered_module_is_shown_as_such(fitted_home, tmp_path):
    shutil.copytree(fitted_home, tmp_path / "home")
    site = open_site(Home(tmp_path / "home"))
    folder = next((site.home.root / "admitted").iterdir())
    with (folder / "module.onnx").open("ab") as stream:
        stream.write(b"x")
    page = render(gather(site, None, shareable=True))
    assert page.count("signature: the files are not those that were admitted") == 1


def test_foreign_text_is_escaped(site):
    content = gather(site, None, shareable=True)
    hostile = '<script>alert(1)</script><img src="http://evil.example/x.png">'
    module = dataclasses.replace(content.modules[0], waiver=hostile, site=hostile)
    page = render(dataclasses.replace(content, modules=(module,), federation=hostile))
    assert "<script" not in page
    assert '<img src="http' not in page
    assert "&lt;script&gt;" in page


class Outline(HTMLParser):
    """What a screen reader and a network monitor would notice."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.faults: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tables: list[bool] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values["id"]} if "id" in values else set()
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img" and not (values.get("alt") and values["src"].startswith("data:image/png")):
            self.faults.append(f"picture {values.get('alt')!r}")
        if tag == "svg" and not (values.get("role") == "img" and values.get("aria-label")):
            self.faults.append("chart without a text")
        if tag == "table":
            self.tables.append(False)
        if tag == "th":
            self.tables[-1] = True
            if values.get("scope") not in ("row", "col"):
                self.faults.append("table header without scope")
        if tag == "a":
            self.links.add(values["href"])
        if tag in ("script", "link", "iframe", "object", "form"):
            self.faults.append(tag)


@pytest.mark.parametrize("edition", ["local", "shareable"])
def test_it_is_one_accessible_self_contained_file(pages, edition):
    page = pages[edition].read_text()
    outline = Outline()
    outline.feed(page)
    assert outline.faults == []
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(outline.headings, outline.headings[1:], strict=False))
    assert outline.tables
    assert all(outline.tables)
    assert outline.links == {f"#{name}" for name in outline.ids}
    assert '<html lang="en">' in page
    assert not re.search(r"https?://|url\(|@import", page)


def test_text_and_signs_have_contrast_in_light_dark_and_print():
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        pairs = [(name, "paper") for name in ("ink", "soft", "accent")]
        pairs += [("ink", "panel"), ("soft", "panel")]
        pairs += [(name, f"{name}-bg") for name in ("green", "amber", "red", "grey")]
        for front, back in pairs:
            assert _contrast(colour[front], colour[back]) >= 4.5, (front, back)


def _contrast(one: str, two: str) -> float:
    def luminance(text: str) -> float:
        digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.skipif(chromium() is None, reason="chromium is not installed (Debian: chromium)")
def test_a_browser_shows_it_light_dark_and_on_paper_without_a_complaint(pages, tmp_path):
    light, messages = screenshot(pages["local"], tmp_path / "light.png", dark=False)
    dark, _ = screenshot(pages["local"], tmp_path / "dark.png", dark=True)
    assert messages == []
    assert np.median(light) > 240
    assert np.median(dark) < 40
    printed = pdf(pages["shareable"], tmp_path / "page.pdf")
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") != 1


@pytest.mark.skipif(chromium() is None, reason="chromium is not installed (Debian: chromium)")
def test_a_complaint_of_the_browser_would_be_noticed(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('broken'); nonsense()</script>")
    assert any("broken" in text for text in console_messages(page))


def bound(most=None, least=None, required=False, fails="certain"):
    return Bound(max=most, min=least, required=required, fails=fails)


@pytest.mark.parametrize(
    ("value", "low", "high", "limit", "light"),
    [
        (0.5, 0.45, 0.55, bound(0.6), "green"),
        (0.58, 0.5, 0.65, bound(0.6), "amber"),
        (0.62, 0.55, 0.7, bound(0.6), "amber"),
        (0.7, 0.65, 0.75, bound(0.6), "red"),
        (0.7, None, None, bound(0.6), "red"),
        (0.5, None, None, bound(0.6), "green"),
        (0.8, 0.7, 0.9, bound(least=0.5), "green"),
        (0.55, 0.45, 0.6, bound(least=0.5), "amber"),
        (0.4, 0.3, 0.45, bound(least=0.5), "red"),
        (0.58, 0.5, 0.65, bound(0.6, fails="possible"), "red"),
        (0.62, 0.55, 0.7, bound(0.6, fails="found"), "red"),
        (0.5, None, None, None, "grey"),
    ],
)
def test_lights_follow_the_rule_of_release(value, low, high, limit, light):
    figure = Figure(value=value, low=low, high=high, samples="64-127")
    assert judge(figure, limit) == light


def test_what_is_demanded_and_was_not_measured_is_red(site):
    card = gather_card(site)
    found = rows(card, {"membership_auc": bound(0.6, required=True), "coverage": None})
    assert [(row.name, row.light) for row in found] == [("membership_auc", "red")]
    assert overall(found) == "red"
    assert overall(()) == "grey"
    green = FigureRow("a", "fidelity", 1, 1, 1, "64-127", "at most 2", "green")
    assert overall((green, dataclasses.replace(green, bound="", light="grey"))) == "green"


def gather_card(site):
    from client_agent.registry.modules import admitted_modules

    return admitted_modules(site.home)[0].card


def test_audit_figures_are_shown_with_light_bound_and_meaning(site):
    content = gather(site, None, shareable=True)
    row = FigureRow(
        "membership_auc", "memorisation", 0.7, 0.65, 0.75, "64-127", "at most 0.6", "red"
    )
    module = dataclasses.replace(content.modules[0], figures=(row,), light="red")
    page = render(dataclasses.replace(content, modules=(module,)))
    for text in ("membership auc", "0.650 to 0.750", "at most 0.6", "outside a bound", "guessing"):
        assert text in page


def test_learning_curves_are_read_drawn_and_never_in_the_way(tmp_path):
    path = tmp_path / "curve.json"
    assert read_curve(path, "a") is None
    for broken in (b"", b"{}", b"[]", b'[{"step": 1}]', b'[{"step": 1, "loss": "x"}]', b"[1]"):
        path.write_bytes(broken)
        assert read_curve(path, "a") is None
    points = ",".join(
        f'{{"step": {i}, "seconds": 1, "loss": {1 / (i + 1)}, "held_out_loss": '
        f"{'null' if i % 10 else 0.5}}}"
        for i in range(1000)
    )
    path.write_text(f"[{points}]")
    curve = read_curve(path, "a<b")
    assert len(curve.losses) == 400
    assert len(curve.held_out) == 100
    drawn = str(learning_chart(curve))
    assert "a&lt;b" in drawn
    assert "held-out loss ends at 0.5" in drawn
    single = learning_chart(LearningCurve("a", "pass", (1.0,), (0.3,)))
    assert "nan" not in str(single)


def test_ticks_are_round():
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(0, 250) == pytest.approx([0, 50, 100, 150, 200, 250])
    assert ticks(0, 0) == [0]
