"""`farkeep completion`: a script by which a shell completes commands, options, files and snapshots."""

from __future__ import annotations

from argparse import ArgumentParser

from siteagent.cli.session import Session
from siteagent.cli.shellscript import SHELLS


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of completion."""
    parser.add_argument("shell", choices=list(SHELLS), help="bash: source <(farkeep completion bash); "
                        "zsh: the same, after compinit; fish: farkeep completion fish | source")


def run(session: Session) -> int:
    """Print the script. JSON: {shell, script}."""
    shell, output = session.options.shell, session.output
    session.is_noted = False
    script = SHELLS[shell]()
    output.document({"shell": shell, "script": script})
    if not output.has_document:
        output.stdout.write(script.encode())
    return 0
