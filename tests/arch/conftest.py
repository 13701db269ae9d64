"""What the tests of the project's shape share."""

import pytest

from tests.arch import code


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What was parsed lives as long as these tests run."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        code.forget()
