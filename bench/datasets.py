"""Seeded data sets for the benchmarks: the same arguments give the same bytes on every machine.

small       80 000 source-like files in about 6 700 folders, some 540 MB: log-normal sizes (median 2.3 KiB),
            6 % incompressible, 4 % copies of an earlier file
big         four files, 1.5 GiB: a virtual machine's disk image, a paged database, a log, incompressible media
small-next  changes a small set in place as a day of work does: 1 % edited, 0.2 % each renamed, removed, new
big-next    changes a big set in place: blocks overwritten and bytes inserted in the image, 2 % of the database's
            pages edited, the log rotated and grown; the media stay

Use: python -m bench.datasets small|big|small-next|big-next FOLDER [--scale 0.1]
"""

import argparse
import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.prose import Prose

SMALL_FILES = 80_000
BIG_MIB = 1536
MIB = 1 << 20
EPOCH_S = 1_700_000_000
SECOND_NS = 10**9
FILES_PER_FOLDER = 12
FOLDER_DEPTH_MAX = 7
SUFFIXES = (".py", ".c", ".h", ".md", ".json", ".txt", ".js", ".rst")
PAGE_BYTES = 8192
PAGE_RECORDS = 60
LOG_TAIL_BYTES = 8 * MIB
LOG_HEAD_CUT_BYTES = 4_000_003
STATUSES = (200, 200, 200, 304, 404, 500)


def make_small(folder: Path, scale: float = 1.0) -> None:
    """Fill `folder` with the small set of `scale` x 80 000 files."""
    stream = random.Random(f"farkeep small {scale}")
    prose = Prose(stream)
    shared_text = prose.text(24 * MIB)
    folder.mkdir(parents=True)
    folders = [(str(folder), 0)]
    recent: list[str] = []
    for number in range(round(SMALL_FILES * scale)):
        if number % FILES_PER_FOLDER == 0:
            folders.append(_new_folder(stream, prose, folders))
        content, name = _small_file(stream, prose, shared_text, recent, number)
        path = f"{folders[-1][0]}/{name}"
        _write(path, content, EPOCH_S + number)
        recent.append(path)
        del recent[:-5000]


def make_big(folder: Path, scale: float = 1.0) -> None:
    """Fill `folder` with the big set: four files, together `scale` x 1.5 GiB."""
    size_bytes = round(BIG_MIB * scale) * MIB
    folder.mkdir(parents=True)
    parts: tuple[tuple[str, int, Callable[[random.Random, int], Iterator[bytes]]], ...] = (
        ("vm.img", size_bytes // 3, _image_blocks),
        ("db.bin", size_bytes // 4, _database_pages),
        ("app.log", size_bytes // 4, _log_blocks),
        ("media.bin", size_bytes // 6, _media_blocks),
    )
    for name, part_bytes, blocks in parts:
        path = folder / name
        with path.open("wb", buffering=0) as file:
            for block in blocks(random.Random(f"farkeep {name} {scale}"), part_bytes):
                file.write(block)
        os.utime(path, ns=(EPOCH_S * SECOND_NS,) * 2)


def mutate_small(folder: Path) -> None:
    """Change a small set in place: 1 % of its files edited, 0.2 % renamed, 0.2 % removed, 0.2 % new."""
    stream = random.Random("farkeep small-next")
    paths = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    picked = stream.sample(paths, len(paths) * 16 // 1000)
    step = len(paths) // 500
    edited = len(picked) - 3 * step
    for path in picked[:edited]:
        _edit(stream, path)
    for path in picked[edited : edited + step]:
        os.rename(path, path + ".moved")
    for path in picked[edited + step : edited + 2 * step]:
        os.unlink(path)
    for path in picked[edited + 2 * step :]:
        Path(path + ".new").write_bytes(b"new file\n" + stream.randbytes(stream.randrange(100, 9000)))


def mutate_big(folder: Path) -> None:
    """Change a big set in place; `media.bin` is left alone."""
    stream = random.Random("farkeep big-next")
    _mutate_image(stream, folder / "vm.img")
    _mutate_database(stream, folder / "db.bin")
    log = folder / "app.log"
    content = log.read_bytes()
    tail = b"".join(_log_blocks(stream, min(LOG_TAIL_BYTES, len(content) // 8)))
    log.write_bytes(content[min(LOG_HEAD_CUT_BYTES, len(content) // 8) :] + tail)


def _new_folder(stream: random.Random, prose: Prose, folders: list[tuple[str, int]]) -> tuple[str, int]:
    parent, depth = folders[stream.randrange(max(0, len(folders) - 400), len(folders))]
    if depth >= FOLDER_DEPTH_MAX:
        parent, depth = stream.choice(folders[:50])
    path = f"{parent}/{stream.choice(prose.words)}{len(folders)}"
    os.mkdir(path)
    return path, depth + 1


def _small_file(
    stream: random.Random, prose: Prose, shared_text: bytes, recent: list[str], number: int
) -> tuple[bytes, str]:
    """Return content and name of file `number`; a third of a text file is a slice of text other files share."""
    lot = stream.random()
    size_bytes = min(2 * MIB, int(stream.lognormvariate(7.75, 1.45)))
    if lot < 0.04 and recent:
        return Path(stream.choice(recent)).read_bytes(), f"copy{number}.py"
    name = f"{stream.choice(prose.words)}{number}"
    if lot < 0.10:
        return stream.randbytes(size_bytes), name + ".png"
    offset = stream.randrange(len(shared_text) - size_bytes)
    shared_bytes = size_bytes // 3
    content = shared_text[offset : offset + shared_bytes] + prose.text(size_bytes - shared_bytes)
    return content, name + SUFFIXES[number % len(SUFFIXES)]


def _write(path: str, content: bytes, modified_s: int) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(content)
    os.utime(path, ns=(modified_s * SECOND_NS,) * 2)


def _image_blocks(stream: random.Random, size_bytes: int) -> Iterator[bytes]:
    """Blocks of 16 KiB to 1 MiB: 20 % zero, 25 % random, 20 % repeats cut at an odd offset, the rest text."""
    prose = Prose(stream)
    history: list[bytes] = []
    missing = size_bytes
    while missing > 0:
        lot = stream.random()
        length = stream.choice((16, 64, 256, 1024)) << 10
        if lot < 0.20:
            block = bytes(length)
        elif lot < 0.45:
            block = stream.randbytes(length)
        elif lot < 0.65 and len(history) > 8:
            earlier = stream.choice(history)
            block = earlier[stream.randrange(len(earlier) // 2) :]
        else:
            block = prose.text(length)
        if len(block) >= 256 << 10:
            history.insert(stream.randrange(len(history) + 1), block)
            del history[64:]
        yield block[:missing]
        missing -= len(block)


def _database_pages(stream: random.Random, size_bytes: int) -> Iterator[bytes]:
    """Pages of 8 KiB: a header, 60 records of numbers, 60 bytes of text and 12 of noise, then free space."""
    prose = Prose(stream)
    record = struct.Struct("<IIQ60s12s")
    for page in range(size_bytes // PAGE_BYTES):
        text = prose.text(60 * PAGE_RECORDS)
        noise = stream.randbytes(17 * PAGE_RECORDS)
        body = [struct.pack("<QIHHQ", page * PAGE_BYTES + 7, stream.getrandbits(32), PAGE_RECORDS, PAGE_BYTES, 0)]
        for number in range(PAGE_RECORDS):
            spot = noise[17 * number : 17 * number + 17]
            amount = int.from_bytes(spot[:5], "little")
            words = text[60 * number : 60 * number + 60]
            body.append(record.pack(page * PAGE_RECORDS + number, EPOCH_S + page, amount, words, spot[5:]))
        yield b"".join(body).ljust(PAGE_BYTES, b"\0")


def _log_blocks(stream: random.Random, size_bytes: int) -> Iterator[bytes]:
    """Lines of a request log, a few thousand a block."""
    words = Prose(stream).words
    draw = struct.Struct("<QHHHHHHHH")
    time_ms = EPOCH_S * 1000
    missing = size_bytes
    while missing > 0:
        lines = []
        for identity, wait, worker, user, group, item, status, size, took in draw.iter_unpack(
            stream.randbytes(draw.size * 4000)
        ):
            time_ms += 1 + wait % 39
            lines.append(
                f"{time_ms} INFO worker-{worker % 32:02d} request id={identity:016x} user={words[user % 6000]} "
                f"path=/api/v1/{words[group % 60]}/{words[item % 6000]} status={STATUSES[status % 6]} "
                f"bytes={size % 60000} ms={took % 900}\n"
            )
        block = "".join(lines).encode("ascii")[:missing]
        yield block
        missing -= len(block)


def _media_blocks(stream: random.Random, size_bytes: int) -> Iterator[bytes]:
    for _ in range(size_bytes // MIB):
        yield stream.randbytes(MIB)


def _edit(stream: random.Random, path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    offset = stream.randrange(len(content) + 1)
    content[offset : offset + stream.randrange(40)] = b"edited %d\n" % stream.getrandbits(32)
    Path(path).write_bytes(content)


def _mutate_image(stream: random.Random, path: Path) -> None:
    """Overwrite 150 blocks of 4 KiB, then insert 1 to 199 bytes at 150 places, so that all behind them shifts."""
    content = bytearray(path.read_bytes())
    for _ in range(150):
        offset = stream.randrange(len(content) // 4096) * 4096
        content[offset : offset + 4096] = stream.randbytes(4096)
    places = sorted(stream.randrange(len(content)) for _ in range(150))
    start = 0
    with path.open("wb", buffering=0) as file, memoryview(content) as view:
        for place in [*places, len(content)]:
            while start < place:
                start += file.write(view[start:place])
            file.write(stream.randbytes(stream.randrange(1, 200)))


def _mutate_database(stream: random.Random, path: Path) -> None:
    """Edit 1 to 16 bytes at 1 to 3 places of 2 % of the pages, in place."""
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b", buffering=0) as file:
        for page in sorted(stream.sample(range(pages), pages // 50)):
            for _ in range(stream.randrange(1, 4)):
                file.seek(page * PAGE_BYTES + stream.randrange(32, 7800))
                file.write(stream.randbytes(stream.randrange(1, 17)))


def main() -> None:
    """Make or change one data set and say how long it took."""
    parser = argparse.ArgumentParser(description="Seeded data sets for the benchmarks")
    parser.add_argument("what", choices=("small", "big", "small-next", "big-next"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a set that is made")
    arguments = parser.parse_args()
    actions: dict[str, Callable[[], None]] = {
        "small": lambda: make_small(arguments.folder, arguments.scale),
        "big": lambda: make_big(arguments.folder, arguments.scale),
        "small-next": lambda: mutate_small(arguments.folder),
        "big-next": lambda: mutate_big(arguments.folder),
    }
    started_s = time.monotonic()
    actions[arguments.what]()
    print(f"{arguments.what}: {time.monotonic() - started_s:.1f} s")


if __name__ == "__main__":
    main()
