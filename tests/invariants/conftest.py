"""The invariants are shown with the machine of the crash tests."""

from tests.crash.conftest import machine, one_thread_and_no_real_sync

__all__ = ["machine", "one_thread_and_no_real_sync"]
