"""A target that fills up, or that an ordinary user may not write to: named, without litter, and completed later."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shared.errors import RefusedError
from tests.support.trips import Site
from tests.support.untouched import untouched
from tests.support.walker import compare, describe


@pytest.mark.needs_root
def test_a_target_that_fills_up(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "farkeep-test", target], check=True)
    try:
        restored = site.restore(result, source, target)
        assert [error.path for error in restored.errors] == [os.fsencode(source / "large")]
        assert "space" in restored.errors[0].reason
        assert list(target.rglob(".farkeep-*")) == []
        subprocess.run(["mount", "-o", "remount,size=64m", target], check=True)
        assert site.restore(result, source, target).errors == []
        assert compare(describe(source), describe(target)) == []
    finally:
        subprocess.run(["umount", target], check=True)


def test_a_dry_run_tells_what_delete_would_do_before_it_is_allowed(site: Site, source: Path, folder: Path) -> None:
    """The refusal says: look with --dry-run."""
    result, target = site.back_up(source), folder / "target"
    target.mkdir()
    (target / "own").write_bytes(b"x")
    with untouched(target):
        with pytest.raises(RefusedError, match="would remove 1 entries"):
            site.restore(result, source, target, deletes=True)
        looked = site.restore(result, source, target, deletes=True, is_dry_run=True)
    assert (looked.deleted, looked.answer.files, looked.answer.written) == (1, 6, 6)
