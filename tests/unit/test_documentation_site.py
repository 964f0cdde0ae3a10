"""The documentation site: complete, current, whole without a network. No site is built here."""

import re
import tomllib
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml

from client_agent.module.structure import check_structure
from docs.builder import offline, references
from docs.builder.configuration import ENVIRONMENT
from docs.builder.staging import StagingError, links, outside_code, stage
from ff_protocol.schema import load_yaml
from ff_protocol.spec import parse_spec

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def in_navigation(entries=SITE["nav"]):
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else in_navigation(value)


@pytest.fixture(scope="module")
def all_tests():
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for path in files for name in re.findall(r"def (test_\w+)\(", path.read_text())}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_every_page_is_in_the_navigation_once_and_exists():
    listed = list(in_navigation())
    pages = {str(page.relative_to(DOCS)) for page in PAGES}
    decisions = {page for page in pages if re.match(r"decisions/\d", page)}
    assert sorted(listed) == sorted(pages - decisions), "see nav in mkdocs.yml"
    index = DOCS / "decisions" / "index.md"
    assert {f"decisions/{path}" for path, _ in links(index.read_text())} == decisions


def anchors(text):
    """Those that a forge and the site both make of a page's headings."""
    pieces = [piece for piece, prose in outside_code(text) if prose or "\n" not in piece]
    for heading in re.findall(r"^#+ +(.*)$", "".join(pieces), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)
        kept = re.sub(r"[^\w\s-]", "", unicodedata.normalize("NFKD", plain)).strip().lower()
        forge, site = kept.replace(" ", "-"), re.sub(r"[-\s]+", "-", kept)
        if forge == site:
            yield site


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_relative_link_and_its_anchor_lead_somewhere(page):
    for path, anchor in links(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in set(anchors(target.read_text())), f"{path}#{anchor}"


def test_pages_made_from_the_code_are_current():
    assert [path.name for path in references.stale(ROOT)] == [], (
        "run: python -m docs.builder --references"
    )


def test_every_variable_that_the_programs_read_is_in_the_reference():
    code = "".join(
        path.read_text()
        for folder in ("client_agent", "coordinator", "proto")
        for path in (ROOT / folder).rglob("*.py")
    )
    read = set(re.findall(r"\bFF_[A-Z_]*[A-Z]\b", code)) - {"FF_AGENT_COMPLETE"}
    assert read
    page = (DOCS / "reference" / "configuration.md").read_text()
    assert {name for name in read if f"`{name}`" not in page} == set()
    assert {name for name in ENVIRONMENT if name.startswith("FF_")} <= read


def test_the_site_is_staged_with_a_page_for_each_file_that_is_linked_to(tmp_path):
    stage(ROOT, tmp_path / "docs")
    shown = tmp_path / "docs" / "source" / "configs" / "policy.example.yaml.md"
    assert "require_audit: true" in shown.read_text()
    for page in (tmp_path / "docs").rglob("*.md"):
        for path, _ in links(page.read_text()):
            target = (page.parent / path).resolve()
            assert target.exists(), f"{page.name}: {path}"
            assert target.is_relative_to(tmp_path), f"{page.name}: {path}"


@pytest.mark.parametrize("target", ["../missing.md", "nothing.md", "../docs/../../elsewhere"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path, target):
    (tmp_path / "docs" / "builder" / "theme").mkdir(parents=True)
    (tmp_path / "docs" / "index.md").write_text(f"`[code]({target})`\n")
    stage(tmp_path, tmp_path / "staged")
    (tmp_path / "docs" / "index.md").write_text(f"[a]({target})\n")
    with pytest.raises(StagingError, match="no such file"):
        stage(tmp_path, tmp_path / "staged")


def test_the_site_asks_nobody():
    theme = SITE["theme"]
    assert theme["font"] is False
    assert {"search", "offline"} == set(SITE["plugins"])
    shim = DOCS / "builder" / SITE["extra"]["polyfills"][0]
    assert "location.protocol" in shim.read_text()
    assert not offline.foreign_in_styles((DOCS / "builder" / SITE["extra_css"][0]).read_text())
    for picture in DOCS.rglob("*.svg"):
        tree = ET.parse(picture)
        assert not offline.foreign_in_page(picture.read_text()), picture.name
        kinds = {element.tag.rpartition("}")[2] for element in tree.iter()}
        drawn = {"g", "path", "rect", "line", "polyline", "circle", "text"}
        assert kinds <= {"svg", "title", "style", "defs", "marker", *drawn}


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/css">', True),
        ('<img src="http://tracker.example/p.gif">', True),
        ('<a href="https://arxiv.org/abs/2206.00364">paper</a>', False),
        ('<link rel="canonical" href="https://ff.example/">', False),
        ('<script src="theme/iframe-worker.js"></script>', False),
    ],
)
def test_what_a_page_would_fetch_is_told_from_what_it_links_to(html, asks):
    assert bool(offline.foreign_in_page(html)) is asks
    assert offline.foreign_in_styles("a { background: url(https://cdn.example/a.png) }")


def test_the_example_module_keeps_the_contract(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(DOCS / "add-a-generator.md", "python")
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    exec(code, {"images": images})
    spec = parse_spec({"classes": ["a", "b"], "image": {"size": 8, "channels": 1}})
    assert check_structure(tmp_path / "module.onnx", spec) == 2 * 64 + 2


def named_in_files(text):
    """Names that a page says are in a file: `name` in `file`, or a table's row of both."""
    for names, path in re.findall(r"((?:`\w+`(?:, | and )?)+) in\s+`([\w/]+\.py)`", text):
        yield path, names
    rows = re.findall(r"`([\w/]+\.py)` \|(?:.*\|)? ([`\w, ]+) \|$", text, re.MULTILINE)
    yield from rows


@pytest.mark.parametrize("name", ["add-a-generator.md", "add-a-source.md"])
def test_files_and_functions_that_developers_are_sent_to_exist(name, all_tests):
    text = (DOCS / name).read_text()
    for path in re.findall(r"`([\w/]+/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path
    named = list(named_in_files(text))
    assert len(named) > 8
    for path, names in named:
        code = (ROOT / path).read_text()
        for word in re.findall(r"\w+", names.replace(" and ", " ")):
            defined = rf"^(?:    )?(?:def|class) {word}\b|^{word} ?[:=]"
            assert re.search(defined, code, re.MULTILINE), f"{path}: {word}"
    assert set(re.findall(r"`(test_\w+)`", text)) <= all_tests


def test_the_quick_start_makes_images_and_a_spec_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "quick-start.md"
    (spec,), (code,) = blocks(page, "yaml"), blocks(page, "python")
    exec(code, {})
    made = {folder.name for folder in tmp_path.glob("hospital-*-images/*")}
    assert made == set(parse_spec(load_yaml(spec, "spec.yaml")).classes)
    folders = {path.name for path in tmp_path.glob("hospital-*-images")}
    assert folders == set(re.findall(r"--data (hospital-\d-images)", page.read_text()))


def test_what_builds_the_site_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = (ROOT / "packaging" / "constraints.txt").read_text()
    for requirement in project["optional-dependencies"]["docs"]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"^{name}==", pins, re.MULTILINE), name
