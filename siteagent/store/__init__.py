"""The store: what Farkeep keeps, to the last byte. Every format's byte table is in the module that writes it.

From small to large: `chunker` cuts files into chunks; `frame` compresses chunks together, `delta` against earlier
ones; `table` lists a segment's chunks and frames; `segment` seals up to 1 MiB of frames; `pack` is a file of
segments, kept by `packs`; `page`, `boundary`, `chunklist`, `catalogbuilder` and `catalog` are the tree of a snapshot;
`reach` is the set of segments a snapshot needs; `snapshots` keeps manifests and reaches. `index` finds chunks and
segments and may be lost at any time. `writer`, `stream`, `deltastream`, `pipeline`, `sealwork`, `deltawork` and
`packwriter` are the way in (`sealhelper`, `deltahelper`: with processes `sealprocess`, `deltaprocess`, which are sent
their keys, `sentkeys`), `opened` and `reader` are the way out.
`scrub` and `packwalk` check segments and packs, `treecheck` and `listcheck` catalogs, `trace` tells what damage means;
`nameruns` and `nameset` hold many names in few bytes. `catalogdiff` compares catalogs, `catalogsearch` searches many.
`oldversion` walks an earlier version of a file, which deltas rest on. `clearing` and `holes` remove packs and
stretches of packs, `liveness` finds what is still used;
`successors`, `retired` and `namebits` know what was superseded and swept, `changes` repeats it beside the packs.
`leases` keeps running jobs and sweeps apart; its docstring has the table of what may run beside what. `spots` corrects
an index that lies.

Algorithms and versions of this format:

| what                | id | is                                                                                 |
| ------------------- | -- | ---------------------------------------------------------------------------------- |
| home                | 1  | siteagent.store.layout                                                             |
| chunk and page ids  | 1  | keyed BLAKE3-256, key of the dedup domain                                          |
| chunker             | 1  | FastCDC 16/64/256 KiB above 128 KiB; 2: fixed 64 KiB (images)                      |
| frame codec         | 0  | raw; 1: zstd; 2: zstd with base chunks as raw-content dictionary                   |
| segment sealing     | 1  | BLAKE3 derive-key, AES-256-GCM                                                     |
| segment kinds       | 1  | data; 2: catalog; 3: parity (reserved); 4: sealed by an agent (reserved)           |
| padding             | 1  | Padme, floor 512 bytes (shared.padding)                                            |
| digests             | 1  | BLAKE3 Merkle tree over 64 KiB leaves (shared.merkle)                              |

Order of a commit, and what a crash between two steps leaves: siteagent.jobs.backup.
"""
