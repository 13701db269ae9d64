"""The manual page says what the commands say, and formats without a complaint."""

import re
import shutil
import subprocess

from scripts.manual import PAGE, manual
from siteagent.cli.grammar import describe, global_options
from siteagent.cli.parser import COMMANDS


def test_the_page_is_that_of_this_version() -> None:
    assert PAGE.read_text() == manual(), "run `make man`"


def test_every_command_and_option_is_on_it() -> None:
    plain = re.sub(r"\\f[BIR]", "", manual()).replace("\\-", "-")
    for name in COMMANDS:
        assert f".SS farkeep {name}" in plain
        section = plain.split(f".SS farkeep {name}", 1)[1]
        for option in describe(name).options:
            assert all(each in section for each in option.names)
    assert all(each in plain for option in global_options() for each in option.names)
    assert "--names" not in plain


def test_it_formats_without_warnings() -> None:
    formatter = shutil.which("groff")
    if formatter is None:
        assert not re.search(r"^\.(?!TH|SH|SS|TP|PP|B |I |IB|BR|RI|BI)", manual(), re.MULTILINE)
        return
    ran = subprocess.run([formatter, "-man", "-ww", "-Tutf8", "-b"], input=manual().encode(), capture_output=True,
                         check=True)  # fmt: skip
    assert ran.stderr == b""
