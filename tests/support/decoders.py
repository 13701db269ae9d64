"""Every decoder of bytes or words from a disk, a partner or a user, ready to be fed: the one list of them.

`COVERED` follows from it; what looks like a decoder and is not fed on its own stands in `LEFT_OUT` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared import chain, durations, keyfile, names, organisation
from shared.errors import FarkeepError
from siteagent.cli import moment, settings, sizes, snapspec, tags
from siteagent.disk import mounts, owner
from siteagent.jobs import retention
from siteagent.ledger import high_water
from siteagent.sources import selection, xattrs
from siteagent.sources.pathpattern import PathPattern
from siteagent.store import nameruns, pack, page
from tests.support import log_feeds as log
from tests.support import store_feeds as store
from tests.support.bounds import bounded
from tests.support.log_feeds import text_of
from tests.support.material import goldens, key_material, log_rows, pack_heads
from tests.support.store_feeds import SEEDS_MAX, Seeds, exhaust, halves, pair


@dataclass(frozen=True)
class Decoder:
    """One decoder: what it is called, the functions of the product it stands for, and how it is fed."""

    name: str
    covers: tuple[str, ...]
    run: Callable[[bytes], object]
    seeds: Seeds

    def check(self, data: bytes) -> None:
        """Feed it within the bounds of a message: a typed error may come out, nothing else."""
        with bounded():
            self.feed(data)

    def feed(self, data: bytes) -> None:
        """Feed it without bounds."""
        try:
            self.run(data)
        except FarkeepError as error:
            assert error.kind != "bug", error
            assert error.message


def _words(*texts: str) -> Seeds:
    return lambda: [text.encode() for text in texts]


def feed_pattern(data: bytes) -> None:
    found = PathPattern(text_of(data), ignores_case=bool(len(data) & 1))
    exhaust(found.places(b"folder\0sub", [b"name", b"a" * 60, b"aaab"], 0, 3))


def feed_excludes(data: bytes) -> None:
    lines = tuple(selection.read_patterns(data)[:8])
    found = selection.PatternSelection(selection.Wanted(lines, lines[:1]), [b"/srv"])
    for name in (b"/srv/a", b"/srv/" + b"a" * 60, b"/srv/b/c.d"):
        found.excludes(b"/srv", name, is_folder=False, size_bytes=1)


def feed_settings(data: bytes) -> None:
    settings.parse_file(data, "farkeep.toml")


_STORE = "siteagent.store."
_PATTERNS = ("*.tmp", "!kept", "/abs/**/x", "a[!b-d]?", "**/cache/", "a\\*b", "x*y*z", "[[:alpha:]]", "a/**", "[]a]")

DECODERS: tuple[Decoder, ...] = (
    Decoder("segment", tuple(f"{_STORE}segment.{name}" for name in (
        "parse_header", "open_table", "open_segment", "open_body")), store.feed_segment,
        lambda: sorted((goldens()[0].sealed(one) for one in goldens()[0].segments), key=len)[:3]),
    Decoder("segment-resealed", (f"{_STORE}frame.expand_frame", "shared.sealing.open_sealed"), store.feed_resealed,
            store.table_and_body_examples),
    Decoder("table", (f"{_STORE}table.decode_table",), store.feed_table, store.table_examples),
    Decoder("delta-base", (f"{_STORE}delta.decode_base", f"{_STORE}delta.dictionary_of"), store.feed_base,
            store.base_examples),
    Decoder("delta-frame", (f"{_STORE}delta.expand_delta",), store.feed_delta_frame, store.delta_frame_examples),
    Decoder("frame", ("shared.codec.decompress", "shared.codec.decompress_head"), store.feed_frame,
            store.frame_examples),
    Decoder("pack-header", (f"{_STORE}pack.parse_pack_header",), lambda data: pack.parse_pack_header(data, "fuzz"),
            pack_heads),
    Decoder("pack-trailer", (f"{_STORE}pack.read_trailer",), store.feed_trailer, store.pack_examples),
    Decoder("entry-page", (f"{_STORE}page.EntryPage", f"{_STORE}page.read_header"), store.feed_entry_page,
            store.page_examples(page.ENTRIES)),
    Decoder("index-page", (f"{_STORE}page.decode_index",), lambda data: page.decode_index(*halves(data)),
            store.index_page_examples),
    Decoder("chunk-list", (f"{_STORE}page.decode_chunks",), lambda data: page.decode_chunks(*halves(data)),
            store.chunk_page_examples),
    Decoder("value-page", (f"{_STORE}page.decode_value",), page.decode_value, lambda: [page.encode_value(b"value")]),
    Decoder("side", (f"{_STORE}page.decode_side",), store.feed_side, store.side_examples),
    Decoder("columns", tuple(f"{_STORE}columns.{name}" for name in (
        "Columns", "read_integers", "read_blobs", "read_fixed")), store.feed_columns, store.column_examples),
    Decoder("names", tuple(f"{_STORE}nameruns.{name}" for name in (
        "decode_names", "decode_stretches", "unpack_stretches", "unpack_names")),
        lambda data: exhaust(nameruns.unpack_names(data)), store.name_examples),
    Decoder("reach", (f"{_STORE}reach.decode_reach",), store.feed_reach,
            lambda: [data for golden in goldens() for data in golden.files("reaches/*")]),
    Decoder("changes", (), store.feed_changes, lambda: goldens()[1].files("changes/*")),
    Decoder("format", (f"{_STORE}layout.read_format",), store.feed_format, store.format_examples),
    Decoder("envelope", ("shared.chain.decode_envelope",), lambda data: chain.decode_envelope(data).encode(),
            lambda: [row[0] for row in log_rows()][:SEEDS_MAX]),
    Decoder("signed-head", ("shared.chain.decode_signed_head", "shared.chain.decode_position"),
            lambda data: (chain.decode_signed_head(data).is_signed(), chain.decode_position(data[:88])),
            lambda: [bytes((1,)) + goldens()[0].files("../home.head")[0][9:97] + bytes(96)]),
    Decoder("body", ("shared.bodies.split_body",), log.feed_body, lambda: [row[2] for row in log_rows()][:SEEDS_MAX]),
    Decoder("sealed-body", ("shared.bodies.open_body",), log.feed_opened_body, lambda: [b"", b"sealed part"]),
    Decoder("fact-parts", ("shared.codec.decode", "shared.factkinds.FactKind.decode_clear",
                           "shared.factkinds.FactKind.decode_sealed"), log.feed_parts, log.part_examples),
    Decoder("fact-kind", ("shared.factkinds.find_kind",), log.feed_kind, _words("\x01job.started")),
    Decoder("chain", (), log.feed_chain, lambda: [pair(log_rows()[1][0], log_rows()[1][2])]),
    Decoder("manifest", ("shared.manifest.decode_manifest_header", "shared.manifest.decode_manifest"),
            log.feed_manifest,
            lambda: goldens()[0].files("snapshots/*.manifest")),
    Decoder("sealed-manifest", (), log.feed_sealed_manifest, log.manifest_body_examples),
    Decoder("key-file", ("shared.keyfile.is_protected", "shared.keyfile.decode_key_file"), log.feed_key_file,
            lambda: [key_material("keyfile-plain.bin"), key_material("keyfile-passphrase.bin")]),
    Decoder("passphrase", ("shared.keyfile.passphrase_of",), lambda data: keyfile.passphrase_of(data, subject="fuzz"),
            _words("secret\n")),
    Decoder("keyring", tuple(f"shared.keyringfile.{name}" for name in (
        "read_keyring", "open_keyring", "recover_keyring")), log.feed_keyring, log.keyring_examples),
    Decoder("organisation", ("shared.organisation.decode_organisation",), organisation.decode_organisation,
            lambda: [key_material("organisation.json")]),
    Decoder("share", ("shared.shares.note_of", "shared.shares.combine"), log.feed_share,
            lambda: [key_material(f"share-{number}.txt") for number in (1, 2)]),
    Decoder("high-water", ("siteagent.ledger.high_water.read_high_water",),
            lambda data: high_water.read_high_water(data, goldens()[0].keyring),
            lambda: goldens()[0].files("../home.head")),
    Decoder("owner-note", ("siteagent.disk.owner.read_holder",), owner.read_holder, log.owner_examples),
    Decoder("mark", (), log.feed_mark, lambda: [b'{"device":1,"inode":2}', b'{"x":' + b"[" * 3000]),
    Decoder("history-cache", (), log.feed_state, log.state_examples),
    Decoder("mounts", ("siteagent.disk.mounts.read_mounts",), mounts.read_mounts,
            _words("36 35 98:0 /mnt1 /mnt\\0402 rw - ext3 /dev/sda rw\n")),
    Decoder("xattrs", ("siteagent.sources.xattrs.decode_xattrs",), xattrs.decode_xattrs,
            lambda: [xattrs.encode_xattrs({b"user.a": b"1", b"user.b": b"2" * 30})]),
    Decoder("patterns", ("siteagent.sources.selection.read_patterns", "siteagent.sources.selection.PatternSelection",
                         "siteagent.sources.selection.absolute_pattern"), feed_excludes, _words(*_PATTERNS)),
    Decoder("path-pattern", ("siteagent.sources.pathpattern.PathPattern",), feed_pattern, _words(*_PATTERNS)),
    Decoder("settings", ("siteagent.cli.settings.parse_file",), feed_settings, log.settings_examples),
    Decoder("snapshot-spec", ("siteagent.cli.snapspec.parse_spec", "siteagent.cli.snapspec.parse_path"),
            lambda data: (snapspec.parse_spec(text_of(data)), snapspec.parse_path(text_of(data))),
            _words("docs@latest:/a/./b", "0123abcd")),
    Decoder("position", ("shared.chain.parse_position",), lambda data: chain.parse_position(text_of(data)),
            _words("72e6df3a/aabbccdd/17")),
    Decoder("moment", ("siteagent.cli.moment.parse_moment",), lambda data: moment.parse_moment(text_of(data)),
            _words("2026-11-23T07:37:47.5Z", "2026-11-23", "2026-11-23T07:37", "2026-11-23 07:37:47+01:30")),
    Decoder("duration", ("shared.durations.parse_duration",), lambda data: durations.parse_duration(text_of(data)),
            _words("30d", "12 h", "100y")),
    Decoder("size", ("siteagent.cli.sizes.parse_size",), lambda data: sizes.parse_size(text_of(data)),
            _words("500", "1.5GiB", "10 M", "9" * 400 + "P")),
    Decoder("share-count", ("siteagent.cli.sizes.parse_share",), lambda data: sizes.parse_share(text_of(data), "share"),
            _words("2/3", "1/" + "9" * 5000)),
    Decoder("rules", ("siteagent.jobs.retention.parse_rules",), lambda data: retention.parse_rules(text_of(data)),
            _words("last 3, daily 7, within 30d, tag x", "yearly all")),
    Decoder("name", ("shared.names.check_name", "siteagent.cli.tags.check_tag"),
            lambda data: (names.check_name(text_of(data)), tags.check_tag(text_of(data))), _words("docs", "latest")),
)  # fmt: skip

LEFT_OUT = {
    "shared.sealing.derive": "its words are constants of the program",
    "shared.organisation.create": "makes one; the name is checked by the same rule as when it is read",
    "shared.shares.split": "makes shares of a seed that was opened before",
    "shared.wrapping.wrap_to_public": "makes a wrap; unwrapping is reached through key records and keyrings",
    "siteagent.cli.settings.read_file": "opens the file and hands it to parse_file",
    "siteagent.cli.settings.read_passphrase": "opens the file and hands it to passphrase_of",
    "siteagent.disk.confined.open_folder": "a folder on the disk, no decoder",
    "siteagent.disk.confined.safe_component": "names are attacked by the tests of invariant 21",
    "siteagent.disk.durable.read_whole": "reads within a limit and decodes nothing",
    "siteagent.disk.owner.take_home": "a lock; its note is read in tests/unit/siteagent/disk/test_owner.py",
    "siteagent.home.open_home": "opens everything; attacked file by file in invariant 9",
    "siteagent.home.open_for_repair": "the same, for repair",
    "siteagent.home.read_keys": "hands files to decode_key_file and open_keyring",
    "siteagent.jobs.recovery.new_organisation": "makes one",
    "siteagent.jobs.repair_log.open_broken": "opens everything; attacked file by file in invariant 9",
    "siteagent.ledger.rescue.rescue_log": "reads a database, attacked by bit flips in invariant 9",
    "siteagent.ledger.state.open_snapshot": "a row of the sealed history cache; fed with it",
    "siteagent.ledger.state.open_job": "the same",
    "siteagent.sources.posixfile.open_file": "a file of the source, no decoder",
    "siteagent.sources.posixfile.read_small_files": "files of the source, no decoder",
    "siteagent.sources.roots.merge_roots": "paths of the command line, compared and nothing else",
    "siteagent.sources.xattrs.read_xattrs": "attributes of the source, no decoder",
    "siteagent.store.catalog.read_entries": "hands a page to EntryPage",
    "siteagent.store.catalog.read_index": "hands a page to decode_index",
    "siteagent.store.chunker.Chunker": "cuts, no decoder",
    "siteagent.store.chunklist.read_leaves": "hands pages to decode_chunks and decode_index",
    "siteagent.store.sealwork.check_opens": "hands its bytes to parse_header and open_segment",
    "siteagent.store.entrycheck.require_references": "judges a row that EntryPage decoded, and is reached from there",
    "siteagent.store.listcheck.ListCheck": "hands pages to decode_chunks and decode_index",
    "siteagent.disk.child.Child": "a process of our own",
    "siteagent.store.deltahelper.DeltaHelper": "a process of our own",
    "siteagent.restore.crew.Processes": "processes of our own",
    "siteagent.store.sealhelper.SealHelper": "a process of our own",
}
"""What the rule in tests/invariants/test_22_decoders_are_bounded.py finds and is not fed on its own, and why."""

COVERED = frozenset(name for decoder in DECODERS for name in decoder.covers)


