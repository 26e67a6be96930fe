"""The HTML report: well-formed, self-contained, escaped, with the right numbers; example chips and plots."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.io import MemoryFile

from geoseg.assess.compare import ComparedMap
from geoseg.assess.examples import CHIP, choose, draw_examples, encode_png, make_renderer
from geoseg.assess.plots import area_dots, class_bars, heat_map, reliability
from geoseg.assess.report import render_page
from geoseg.classes import LandClass
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.scene import open_scene
from geoseg.verbs.evaluate import evaluate
from tests.assess.maps import NAMES, PLACE, random_pair, write
from tests.conftest import make_scene

VOID = {"meta", "link", "br", "img", "hr", "input"}
SVG = "{http://www.w3.org/2000/svg}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Checks that tags nest, and collects what a browser would fetch and what a person reads."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A map with an awkward class name, evaluated with everything."""
    folder = tmp_path_factory.mktemp("page")
    labels, mapped, confidence = random_pair(0, (520, 530))
    names = [*NAMES[:2], (7, '<b>lake & "pond"</b>', (75, 112, 163))]
    write(folder / "map.tif", mapped, names=names)
    write(folder / "labels.tif", labels)
    write(folder / "conf.tif", confidence)
    make_scene(folder / "scene.tif", (520, 530), transform=PLACE["transform"])
    result = evaluate(
        folder / "map.tif",
        folder / "labels.tif",
        confidence=folder / "conf.tif",
        scene=folder / "scene.tif",
        report=folder / "out.html",
        replicates=100,
    )
    return result, (folder / "out.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_fetches_nothing(evaluated):
    page = Page(evaluated[1])
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not {"script", "link", "iframe", "object", "b>lake"} & set(page.tags)
    namespaces = r"http://www\.w3\.org/(2000/svg|1999/xlink)"
    assert not re.search(r"url\((?!#)|@import|https?://", re.sub(namespaces, "", evaluated[1]))


def test_the_page_shows_the_numbers(evaluated):
    result, text = evaluated
    words = " ".join(Page(text).words)
    summary = result.report["summary"]
    for key in ("accuracy", "miou", "fwiou", "mean_f1", "ece"):
        assert f"{summary[key]:.3f}" in words
    low, high = summary["miou_interval"]
    assert f"{low:.3f} – {high:.3f}" in words
    for row in result.report["classes"]:
        assert f"{row['iou']:.3f}" in words
        assert f"{row['labelled_pixels']:,}" in words
    assert '<b>lake & "pond"</b>' in words  # as text, not as a tag
    for heading in ("Classes", "Confusion", "Calibration of the confidence", "Areas", "Examples"):
        assert heading in words


def test_every_picture_is_a_png(evaluated):
    page = Page(evaluated[1])
    assert len(page.references) == 12
    for reference in page.references:
        with MemoryFile(base64.b64decode(reference.split(",")[1])) as file, file.open() as picture:
            assert picture.count == 3


def test_plots_are_valid_xml_and_hold_their_values():
    bars = [{"name": "a<b", "color": "#112233", "iou": 0.4, "iou_interval": [0.3, 0.5]}]
    bars.append({"name": "none", "color": "#445566", "iou": None, "iou_interval": None})
    dots = [{"name": "a", "color": "#112233", "mapped": 5.0, "estimated": None, "interval": None}]
    dots.append({"name": "b", "color": "#112233", "mapped": 0.0, "estimated": 2.0, "interval": [1.0, 3.0]})
    bins = [{"low": 0.0, "high": 0.5, "pixels": 0, "confidence": None, "accuracy": None}]
    bins.append({"low": 0.5, "high": 1.0, "pixels": 10, "confidence": 0.8, "accuracy": 0.6})
    drawn = [heat_map(["x&y", "z"], [[3, 1], [0, 0]]), class_bars(bars), area_dots(dots), reliability(bins)]
    roots = [ET.fromstring(svg) for svg in drawn]
    assert "x&y shown as z: 1 (25.0%)" in texts(roots[0], "title")
    assert {"75", "25", "x&y"} <= texts(roots[0], "text")
    assert {"0.40", "a<b", "no pixels"} <= texts(roots[1], "text")
    assert {"a", "b"} <= texts(roots[2], "text")
    assert "confidence 0.80, right 0.60 of the time, 10 pixels" in texts(roots[3], "title")
    assert ET.fromstring(area_dots([])).tag == f"{SVG}svg"
    assert not any(re.search(r"\bnan\b", svg) for svg in drawn)


def texts(root, tag):
    return {element.text for element in root.iter(f"{SVG}{tag}")}


def test_plots_do_not_take_dollars_for_mathematics_and_repeat_their_bytes():
    """Ids differ between plots, for they stand in one page."""
    names = ["$x$", "a_b"]
    first = heat_map(names, [[1, 2], [3, 4]])
    assert set(names) <= texts(ET.fromstring(first), "text")
    assert heat_map(names, [[1, 2], [3, 4]]) == first
    other = class_bars([{"name": "a", "color": "#112233", "iou": 0.4}])
    shared = set(re.findall(r'id="(\w+)"', first)) & set(re.findall(r'id="(\w+)"', other))
    assert not any(f"#{name}" in first for name in shared)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_pngs_hold_their_pixels(rgb):
    with MemoryFile(encode_png(rgb)) as file, file.open(driver="PNG") as picture:
        np.testing.assert_array_equal(picture.read(), rgb.transpose(2, 0, 1))


def test_examples_are_chosen_by_rank():
    chips = {(0, i): [1000, 10 * i] for i in range(9)} | {(5, 5): [100, 100], (6, 6): [0, 0]}
    assert choose(chips) == [
        ("best", (0, 0), 1.0),
        ("median", (0, 4), 0.96),
        ("upper quartile of error", (0, 6), 0.94),
        ("worst", (0, 8), 0.92),
    ]
    assert choose({(0, 0): [10, 1]}) == [("best", (0, 0), 0.9)]
    assert choose({}) == []


def test_examples_show_what_they_say(tmp_path):
    class Raster:
        def __init__(self, values):
            self.values, self.shape = values, values.shape

        def read(self, window):
            return self.values[window.slices()]

    truth = np.full((300, 260), 1, np.uint8)
    shown = truth.copy()
    shown[:10], truth[10:20], shown[20:30] = 2, 255, 255
    classes = (LandClass(1, "a", "#ff0000"), LandClass(2, "b", "#00ff00"))
    scene = open_scene(make_scene(tmp_path / "s.tif", (320, 300), holes=False))
    renderer = make_renderer(scene, (12, 7))
    chips = {(0, 0): [CHIP * CHIP, 10]}
    counts = SimpleNamespace(chips=chips)
    compared = ComparedMap("map", Raster(shown), Raster(truth), counts)
    (example,) = draw_examples([compared], classes, [renderer])
    assert example.window == Window(0, 0, CHIP, CHIP)
    assert list(example.pictures) == ["Image", "Labels", "Map", "Errors"]
    pixels = {}
    for name, png in example.pictures.items():
        with MemoryFile(png) as file, file.open() as picture:
            pixels[name] = picture.read()
    assert pixels["Labels"][:, 0, 0].tolist() == [255, 0, 0]
    assert pixels["Map"][:, 0, 0].tolist() == [0, 255, 0]
    assert pixels["Errors"][:, 5, 0].tolist() == [200, 30, 45]
    assert pixels["Errors"][:, 15, 0].tolist() == pixels["Errors"][:, 25, 0].tolist() == [255, 255, 255]
    assert pixels["Errors"][:, 40, 0].tolist() == [226, 232, 226]
    values, _ = scene.select([1]).read(Window(12, 7, CHIP, CHIP))
    assert np.corrcoef(values[0].ravel(), pixels["Image"][0].ravel())[0, 1] > 0.9
    with rasterio.open(scene.paths[0]) as file:
        assert file.count == 2  # too few bands for colour: shown grey
    assert (pixels["Image"][0] == pixels["Image"][2]).all()


def test_a_report_of_nothing_is_refused():
    with pytest.raises(InputError):
        evaluate("missing.tif", "labels.tif")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_real_browser_shows_the_page(evaluated, tmp_path):
    (tmp_path / "page.html").write_text(evaluated[1], encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,2400", f"--screenshot={tmp_path / 'page.png'}",
    ]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *flags, (tmp_path / "page.html").as_uri()], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    with rasterio.open(tmp_path / "page.png") as picture:
        shown = picture.read([1, 2, 3])
    colours = {tuple(colour) for colour in shown.reshape(3, -1).T[::7].tolist()}
    assert {(255, 211, 0), (38, 112, 0), (200, 30, 45)} & colours
    assert len(colours) > 200


def test_rendering_needs_only_the_report(evaluated):
    text = render_page(dict(evaluated[0].report))
    assert "Examples" not in " ".join(Page(text).words)
