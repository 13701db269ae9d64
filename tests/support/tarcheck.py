"""Would an unpacker that follows links be led out by this archive? An independent judge over the members in order."""

from __future__ import annotations

import io
import tarfile


def leads_out(data: bytes) -> list[str]:
    """What is wrong with the members, in words; an archive that is cut off is judged as far as it goes."""
    if not data:
        return []
    found, folders, others = list[str](), {""}, dict[str, bytes]()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|", ignore_zeros=False) as archive:
        while True:
            try:
                member = archive.next()
            except tarfile.TarError:
                break
            if member is None or member.size > len(data):
                break
            name = member.name.removeprefix("./").rstrip("/") if member.name not in (".", "./") else ""
            parts = name.split("/") if name else []
            if member.name.startswith("/") or ".." in parts or "" in parts or "\0" in member.name:
                found.append(f"{member.name!r} leads elsewhere")
            found += [f"{name!r} lies below {'/'.join(parts[:end])!r}, which is no folder"
                      for end in range(1, len(parts)) if "/".join(parts[:end]) not in folders]  # fmt: skip
            if member.islnk() and member.linkname.removeprefix("./") not in others:
                found.append(f"{name!r} is another name of {member.linkname!r}, which did not come before")
            if member.islnk() and others.get(member.linkname.removeprefix("./")) == tarfile.SYMTYPE:
                found.append(f"{name!r} is another name of a link")
            if member.isdir():
                folders.add(name)
            elif not member.islnk():
                others[name] = member.type
    return found
