"""The console script `farkeep`: nothing heavy is imported before the command is known."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run one command and return its exit code (siteagent.cli.run has the table)."""
    # A command lives for seconds and makes few cycles: collecting them would only cost time.
    gc.disable()
    from siteagent.cli.run import run_process

    return run_process(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
