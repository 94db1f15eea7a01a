"""A name from the bucket is text on the terminal, whatever it holds: no second line, no control of the screen."""

import pytest

from s3mount.cli.check import _line
from s3mount.cli.progress import show_owed
from s3mount.cli.status import _problem_lines
from s3mount.control.protocol import OwedFile

EVIL = "a\x1b[2J\nerror: b\x9b\u202e\udc80"
SHOWN = "a\\x1b[2J\\nerror: b\\x9b\\u202e\\udc80"


def test_names_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_owed([OwedFile(EVIL, "why"), OwedFile("/ü b\\c", EVIL)])
    assert capsys.readouterr().err == f"  {SHOWN}: why\n  /ü b\\c: {SHOWN}\n"
    found = {"kind": "object missing", "place": EVIL, "detail": "", "repair": ""}
    assert _line(found) == f"object missing: {SHOWN}"
    (line,) = _problem_lines({"errors": [{"path": EVIL, "cause": "why", "since": None}]})
    assert line == f"error: {SHOWN}: why (since ?)"
