"""Standard streams: any text can be written, whatever they are connected with."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from geoseg.cli.console import Console, _pass_over_undecodable
from geoseg.files import stage_json


def console(encoding):
    raw = io.BytesIO()
    return raw, Console(io.TextIOWrapper(raw, encoding=encoding))


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_what_cannot_be_encoded_is_escaped_as_in_json(encoding):
    names = ["кукуруза", "blé", "\U0001f33d", os.fsdecode(b"caf\xe9.tif")]
    raw, stream = console(encoding)
    stream.write(json.dumps(names, ensure_ascii=False))
    stream.flush()
    assert json.loads(raw.getvalue().decode(encoding)) == names


def test_secrets_are_hidden_and_bytes_refused():
    raw, stream = console("utf-8")
    stream.write("https://h/a.tif?sig=abc\n")
    assert raw.getvalue() == b"https://h/a.tif?sig=***\n"
    with pytest.raises(TypeError):
        stream.write(b"")


GEOSEG = [sys.executable, "-m", "geoseg"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("closed", "code"), [(">&- 2>&- <&-", 0), ("2>&- | true", 0), (">/dev/full 2>said", 1)]
)
def test_streams_that_are_closed_or_broken(tmp_path, closed, code):
    if "full" in closed and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    line = f'"$0" -m geoseg models list {closed}; echo "${{PIPESTATUS[0]}}" >code'
    subprocess.run(["bash", "-c", line, sys.executable], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "code").read_text().strip() == str(code)
    if "full" in closed:
        assert (tmp_path / "said").read_text().startswith("geoseg: error: standard output cannot be written")


def test_a_report_may_name_a_file_that_is_no_utf8(tmp_path):
    file = stage_json(tmp_path / "r.json", {"path": os.fsdecode(b"caf\xe9.tif")})
    assert os.fsencode(json.loads(file.staged.read_bytes())["path"]) == b"caf\xe9.tif"


def test_words_of_gdal_that_are_not_utf8_show_no_traceback(capsys):
    undecodable = UnicodeDecodeError("utf-8", b"\x80", 0, 1, "invalid start byte")
    _pass_over_undecodable(UnicodeDecodeError, undecodable, None)
    _pass_over_undecodable(SimpleNamespace(exc_value=undecodable))
    assert capsys.readouterr().err == ""
    _pass_over_undecodable(ValueError, ValueError("of ours"), None)
    assert "of ours" in capsys.readouterr().err
