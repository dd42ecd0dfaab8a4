"""Bad input (F9-F11): each file, what is wrong with it, and what must become of its rows."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.ingest_factories import acme, read

HEAD = "User,Name,Fans\n"
GOOD = "".join(f"user{at},Name {at},{at}\n" for at in range(5))
DEEP = 100_000
LONG_BYTES = 50 * 1024 * 1024
JSON_LINES = "".join(json.dumps({"User": f"user{at}", "Name": "n", "Fans": at}) + "\n" for at in range(3))


@dataclass(frozen=True)
class BadFile:
    """One file of the corpus, and its fate: rows landed, rows withheld, reasons given."""

    number: str
    what: str
    name: str
    content: bytes
    landed: int
    withheld: int
    reasons: tuple[str, ...] = ()


def _csv(
    number: str, what: str, body: str | bytes, landed: int, withheld: int, *reasons: str, head: str = HEAD
) -> BadFile:
    content = head.encode() + (body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    return BadFile(number, what, "acme.csv", content, landed, withheld, reasons)


def _lines(number: str, what: str, line: bytes, landed: int, withheld: int, *reasons: str) -> BadFile:
    return BadFile(number, what, "acme.jsonl", JSON_LINES.encode() + line + b"\n", landed, withheld, reasons)


def corpus() -> list[BadFile]:
    """The files; made anew each time, as some are large."""
    packed = gzip.compress((HEAD + GOOD).encode(), mtime=0)
    return [
        _csv("F9", "clean", GOOD, 5, 0),
        _csv("F9", "byte order mark", GOOD, 5, 0, head="\ufeff" + HEAD),
        _csv("F9", "one row with too many cells", GOOD + "a,b,1,2,3\n", 5, 1, "wrong_column_count"),
        _csv("F9", "bytes of another encoding", GOOD.encode() + b"ann,\xff\xfe,1\n", 5, 1, "bad_encoding"),
        _csv("F9", "a quote that never ends", GOOD + 'ann,"open,1\n', 5, 1, "bad_quoting"),
        _csv("F9", "a row without an account", GOOD + ",,7\n", 5, 1, "no_account_key"),
        _csv("F9", "a line of 50 MB", GOOD.encode() + b"ann," + b"x" * LONG_BYTES + b",1\n", 5, 1, "oversize_line"),
        _csv(
            "F9",
            "NaN, infinity, 2^63, a negative count",
            GOOD + "a,b,NaN\nb,b,Infinity\nc,c,9223372036854775808\nd,d,-1\n",
            9,
            0,
        ),
        BadFile("F9", "an empty file", "acme.csv", b"", 0, 0, ("empty_file",)),
        BadFile("F9", "gzip cut in the middle", "acme.csv.gz", packed[: len(packed) // 2], -1, -1, ("damaged_gzip",)),
        BadFile("F9", "gzip with a wrong checksum", "acme.csv.gz", packed[:-8] + b"\0" * 8, 5, 0, ("damaged_gzip",)),
        BadFile("F9", "not gzip at all", "acme.csv.gz", b"plain text", 0, 0, ("missing_required_column",)),
        _lines("F9", "a line that is no JSON", b'{"User": ', 3, 1, "bad_json"),
        _lines("F9", "a number where an object belongs", b"17", 3, 1, "not_an_object"),
        _lines("F9", "nesting without end", b'{"User":' + b"[" * DEEP + b"]" * DEEP + b"}", 3, 1, "bad_json"),
        _csv("F10", "a new column", "ann,Ann,1,new\n", 1, 0, "unknown_header", head="User,Name,Fans,Shiny\n"),
        _csv("F10", "a column missing", "ann,Ann\n", 1, 0, "missing_column", head="User,Name\n"),
        _csv(
            "F10", "the key column renamed", "ann,Ann,1\n", 0, 1, "missing_required_column", head="Account,Name,Fans\n"
        ),
        _csv("F10", "text where a number belongs", GOOD + "ann,Ann,many\n", 6, 0),
        _csv(
            "F11",
            "emoji, joiners, right-to-left, combining",
            "a\u0301nn,\U0001f468\u200d\U0001f467 \u05e9\u05dc\u05d5\u05dd,1\n",
            1,
            0,
        ),
        _csv("F11", "NUL inside a name", "ann,A\0nn,1\n", 1, 0),
        _csv("F11", "a lone surrogate", "ann,\ud800,1\n", 1, 0),
    ]


def fate(file: BadFile, folder: Path) -> tuple[int, int, Counter[str]]:
    """Rows landed, rows withheld, entries by reason; the reader's own sums are checked on the way."""
    source, _, entries = read(folder, file.content, acme(), name=file.name)
    return source.counts.rows_landed, source.counts.rows_quarantined, Counter(entry.reason_code for entry in entries)
