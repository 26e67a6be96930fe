"""Secrets of addresses and of the environment stay inside the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import rasterio

import geoseg
from geoseg.errors import SceneError
from geoseg.redaction import redacted
from tests.conftest import make_scene

SIGNED = "https://ann:pa55w0rd@host:8443/a/scene.tif?sv=2024&sig=S1gn%2Fature%3D&layer=3"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SIGNED, "https://***@host:8443/a/scene.tif?sv=***&sig=***&layer=3"),
        (f"geoseg: error: {SIGNED[:-8]}: gone (404)", "?sv=***&sig=***: gone (404)"),
        ("'s3://KEY:sec/ret@bucket/a.tif'", "'s3://***@bucket/a.tif'"),
        (
            "/vsicurl?max_retry=3&url=http%3A%2F%2Fann%3Apw%40h%2Fs.tif%3Fk%3DABC",
            "url=http%3A%2F%2F***%40h%2Fs.tif%3Fk%3D***",
        ),
        ("my scene.tif?X-Amz-Signature=abc", "my scene.tif?X-Amz-Signature=***"),
        ("a&amp;token=abc b", "a&amp;token=*** b"),
        ("PG:dbname=x password='a b' host=h", "PG:dbname=x password=*** host=h"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("https://host/#access_token=abc", "https://host/#access_token=***"),
        ("<UserPwd>ann:pw</UserPwd>", "<UserPwd>***</UserPwd>"),
    ],
)
def test_secrets_are_hidden(text, shown):
    assert redacted(text).endswith(shown)


@pytest.mark.parametrize(
    "text",
    [
        "hf://owner/name@main",
        "tcp://10.0.0.1:8786",
        "https://host:8080/@a/b@c/scene.tif",
        "what? yes = no & more",
        "/data/scene.tif has 3 bands: red, nir; a=1",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert redacted(text) == text


def test_secret_variables_are_hidden_in_all_text(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.path.abspath("key.json"))
    content = {"a": ["x wJalrXUtnFEMI y", 1, None], "false": os.path.abspath("key.json")}
    assert redacted(content) == content | {"a": ["x *** y", 1, None]}


def test_long_text_takes_no_time():
    began = time.process_time()
    redacted("a" * 300_000 + "/?b" * 30_000)
    assert time.process_time() - began < 2


def test_errors_hide_what_they_quote():
    assert (
        str(SceneError(f"{SIGNED}: gone")) == "https://***@host:8443/a/scene.tif?sv=***&sig=***&layer=3: gone"
    )


SECRETS = (b"PASSW0RD", b"S1GNATURE", b"T0KEN")


@pytest.fixture
def signed(tmp_path, monkeypatch):
    """A scene behind an address with a password and two secrets; what comes out of geoseg goes elsewhere."""
    from tests.scene import range_server

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    make_scene(tmp_path / "served" / "scene.tif", shape=(64, 64))
    command = [sys.executable, range_server.__file__, str(tmp_path / "served")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            host = f"ann:PASSW0RD@127.0.0.1:{int(process.stdout.readline())}"
            yield f"http://{host}/scene.tif?sv=1&sig=S1GNATURE%3D&whatever=T0KEN/x"
        finally:
            process.terminate()


def test_nothing_that_comes_out_holds_a_secret(signed, tiny_model, tmp_path, caplog):
    """Every file of a run, every line and every error."""
    out = tmp_path / "out"
    out.mkdir()
    caplog.set_level("DEBUG", logger="geoseg")
    result = geoseg.predict(
        signed, out / "m.tif", model=tiny_model, polygons=out / "p.gpkg", report=out / "r.json", force=True
    )
    with pytest.raises(SceneError, match="cannot be opened") as gone:
        geoseg.inspect(signed.replace("scene.tif", "gone.tif"), model=tiny_model)
    page = subprocess.run(
        [sys.executable, "-m", "geoseg", "inspect", signed, "--model", str(tiny_model), "--json", "--debug"],
        capture_output=True, check=False, env=os.environ | {"GDAL_HTTP_HEADERS": "X-Key: T0KEN"},
    )  # fmt: skip
    assert json.loads(page.stdout)
    assert json.loads((out / "r.json").read_bytes())["scene"]["paths"][0].startswith("http://***@127.0.0.1:")
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert len(files) >= 3
    with rasterio.open(result.outputs["classes"]) as raster:
        files["tags"] = repr(raster.tags()).encode()
    files |= {"error": str(gone.value).encode(), "log": caplog.text.encode()}
    files |= {"stdout": page.stdout, "stderr": page.stderr}
    found = {place: secret for place, content in files.items() for secret in SECRETS if secret in content}
    assert not found
