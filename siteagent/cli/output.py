"""What a command says: one JSON document on standard output, or tables there and prose on standard error.

With `--json` standard output receives exactly one document, also on failure. With `--jsonl` a list comes as one object
per line while it is made; a failure in the middle is a last line `{"error": ...}`. JSON is pure ASCII (everything else
escaped, DEL too), and every name in prose or a table goes through `shown`, so that no name can speak to a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.errors import FarkeepError, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


class Output:
    """Where a command's answers go."""

    def __init__(self, stdout: BinaryIO, stderr: TextIO, *, has_colour: bool = False, is_dumb: bool = False) -> None:
        """`is_dumb`: a terminal that cannot draw over a line, or nobody wants it to."""
        self.stdout, self.stderr = stdout, stderr
        self.is_json = self.is_jsonl = self.is_quiet = False
        self.verbosity = self.errors = self.warnings = 0
        self.has_colour, self._is_dumb = has_colour, is_dumb
        self.has_document = False
        """True once a document, or raw content in its place, went out: none may follow."""

    @property
    def wants_progress(self) -> bool:
        """True when a line that is drawn over and over would help."""
        return not (self.is_quiet or self._is_dumb)

    def document(self, value: Json) -> None:
        """Print the one JSON document, when JSON is wanted."""
        if self.is_json or self.is_jsonl:
            self.has_document = True
            self._line(value)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table for people on standard output; a heading that ends in `>` is aligned to the right."""
        cells = [[heading.rstrip(">") for heading in headings], *([_safe(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        sides = [str.rjust if heading.endswith(">") else str.ljust for heading in headings]
        for row in cells:
            self.line("  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)))

    def records(self, rows: Iterable[Mapping[str, Json]]) -> None:
        """Print a list: with `--jsonl` row by row as they come, with `--json` whole or, on failure, not at all."""
        if self.is_jsonl:
            for row in rows:
                self._line(row)
            self.has_document = True
            return
        self.document(list(rows))

    def line(self, text: str) -> None:
        """Print one line for people on standard output."""
        self.stdout.write(_safe(text).rstrip().encode() + b"\n")

    def say(self, text: str) -> None:
        """Print one line of prose on standard error, unless quiet."""
        if not self.is_quiet:
            self._prose(text)

    def detail(self, text: str) -> None:
        """Print one line of prose on standard error when more was asked for (-v)."""
        if self.verbosity:
            self.say(text)

    def warn(self, text: str) -> None:
        """Print one line of prose on standard error even when quiet, unless the document says it already."""
        self.warnings += 1
        if not (self.is_quiet and self.is_json):
            self._prose(text)

    def failure(self, error: FarkeepError, *, kind: str = "") -> None:
        """Print an error: for people, and as the document when there is none yet."""
        self.errors += 1
        start, end = (_RED, _PLAIN) if self.has_colour else ("", "")
        about = f": {_safe(error.subject)}" if error.subject else ""
        self.stderr.write(f"{start}farkeep: {_safe(error.message)}{end}{about}\n")
        if error.next_step:
            self.stderr.write(f"  next: {_safe(error.next_step)}\n")
        self.stderr.flush()
        if (self.is_json or self.is_jsonl) and not self.has_document:
            self.document({"error": {"kind": kind or error.kind, "message": plain(error.message),
                                     "subject": plain(error.subject), "next": plain(error.next_step)}})  # fmt: skip

    def raw(self, *, may_be_terminal: bool) -> Raw:
        """Standard output for content itself; no document follows what is written there."""
        if not may_be_terminal and self.stdout.isatty():
            raise RefusedError("an archive is not written to a terminal", subject="standard output",
                               next_step="send it to a file or a pipe: `farkeep ... > FILE`")
        return Raw(self)

    def flush(self) -> None:
        """Hand everything over; raises BrokenPipeError when nobody reads."""
        self.stdout.flush()

    def _line(self, value: Json) -> None:
        import json

        self.stdout.write(json.dumps(value).replace("\x7f", "\\u007f").encode() + b"\n")

    def _prose(self, text: str) -> None:
        self.stderr.write(_safe(text) + "\n")
        self.stderr.flush()


class Raw:
    """Standard output for content; an output that was written to gets no document any more."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, data: bytes | memoryview) -> int:
        """Write content."""
        self._output.has_document = True
        return self._output.stdout.write(data)

    def done(self) -> None:
        """The content is complete, also when it was empty."""
        self._output.has_document = True


def _safe(text: str) -> str:
    from shared.names import shown

    return shown(text)


def plain(text: str) -> str:
    """Text without half characters, for JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_fields(field: str, name: bytes) -> dict[str, Json]:
    """A name of any bytes as JSON members: valid text under `field`, and `<field>_bytes` when it says less."""
    text = name.decode("utf-8", "backslashreplace")
    if text.encode() == name:
        return {field: text}
    import binascii

    return {field: text, f"{field}_bytes": binascii.b2a_base64(name, newline=False).decode()}
