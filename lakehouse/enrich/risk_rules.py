"""Finding and grading risky words in one text: pure, deterministic, no Spark.

The lexicon is data (`data/risk_lexicon.json`): category -> weight -> terms. Weight 1 = mild or ambiguous, 2 = clear,
3 = strong or promotional. A term that ends in `*` matches any ending. Words match whole, after folding case, width and
accents; folding keeps the length of a text, so spans point into the text as stored. Scripts written without spaces
(Han, Kana, Thai) match anywhere. `softening` words near a hit (reporting, educating, recovering) lower its level.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from math import exp
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.taxonomy import RISK_LEVELS

SOFTENING_CHARS = 60
"""How far from a hit a softening word counts: about one clause on each side."""
SOFTENED = 0.3
"""What a softened hit counts for in the score."""
REPEATED_TEXTS = 3
REPEATED_SHARE = 0.3
"""A mild topic in at least so many texts and so large a share of them is what the account is about: one level up."""
RARE_SHARE = 0.05
RARE_SCANNED = 20
"""A hit in so small a share of at least so many texts is an exception: one level down."""
EVIDENCE_KEPT = 5
HITS_PER_TEXT = 20
"""Hits kept per text, the gravest: a wall of swear words is no more than that."""
ACCENT_FREE_CHARS = 6
"""Shorter terms must match with their accents: Turkish "gün" (day) is no gun."""
START_CHARS = 3
"""Characters by which terms are looked up at the start of a word; a shorter term by all of its own."""
_WORD_TAIL = re.compile(r"\w+")
_NO_SPACES = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


class _Folding(dict[int, str]):
    """Length-preserving fold of one character: NFKD without marks, lower case; kept as it is where that is no single one."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        bare = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c)).lower()
        self[code] = folded = bare if len(bare) == 1 else char
        return folded


_FOLDING = _Folding()


@dataclass(frozen=True, slots=True)
class Hit:
    """One risky term: category, weight, whether a softening word stands near, and its span in code points."""

    code: str
    weight: int
    is_softened: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a hit was seen: field name, post (None for the profile), span in code points."""

    hit: Hit
    field: str
    post_id: str | None


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """`by_start` maps the first `START_CHARS` of a term to the terms that begin so, longest first; `start` finds them."""

    start: re.Pattern[str]
    by_start: dict[str, tuple[str, ...]]
    unspaced: tuple[str, ...]
    meanings: dict[str, tuple[tuple[str, int], ...]]
    softening: re.Pattern[str]
    prefilter: str


def fold(text: str) -> str:
    """Case, width and accents folded, same length."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def find_hits(text: str) -> list[Hit]:
    """The gravest `HITS_PER_TEXT` hits, in reading order; a term of two categories gives two hits."""
    lexicon = _lexicon()
    folded = fold(text)
    hits: list[Hit] = []
    for start, end, term in sorted(_matches(text, folded, lexicon)):
        near = folded[max(0, start - SOFTENING_CHARS) : end + SOFTENING_CHARS]
        is_softened = lexicon.softening.search(near) is not None
        hits += [Hit(code, weight, is_softened, start, end) for code, weight in lexicon.meanings[term]]
    if len(hits) <= HITS_PER_TEXT:
        return hits
    gravest = sorted(range(len(hits)), key=lambda index: (hits[index].is_softened, -hits[index].weight, index))
    return [hits[index] for index in sorted(gravest[:HITS_PER_TEXT])]


def suspects(texts: pa.Array) -> list[int]:
    """Places of the texts in which `find_hits` may find something, seen fast: in all others it finds nothing."""
    found = pc.match_substring_regex(_arrow_fold(texts), _lexicon().prefilter)
    return list(pc.indices_nonzero(found).to_pylist())


def assess(evidence: Sequence[Evidence], *, scanned: int) -> list[dict[str, Any]]:
    """Risk tags of one account as table values, sorted by code.

    Args:
        evidence: every hit with its place.
        scanned: texts read (posts, and the profile as one).
    """
    by_code: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_code.setdefault(item.hit.code, []).append(item)
    return [_tag(code, items, scanned) for code, items in sorted(by_code.items())]


def level_of(items: Sequence[Evidence], *, scanned: int) -> str:
    """Level of one category: its strongest hit, lowered where all context is softening or the hit is an exception.

    A mild topic that runs through the account is raised one level. `floor` is never given by rules.
    """
    hard = [item for item in items if not item.hit.is_softened]
    level = max(item.hit.weight for item in hard or items)
    texts = len({item.post_id for item in items})
    share = texts / max(scanned, 1)
    if not hard or (share < RARE_SHARE and scanned >= RARE_SCANNED):
        level -= 1
    elif texts >= REPEATED_TEXTS and share >= REPEATED_SHARE:
        level += 1
    return RISK_LEVELS[min(max(level, 1), 3) - 1]


def _tag(code: str, items: Sequence[Evidence], scanned: int) -> dict[str, Any]:
    """Score = 1 - exp(-points / 2); a text counts once, with its strongest hit, softened ones at `SOFTENED`."""
    points: dict[str | None, float] = {}
    for item in items:
        worth = item.hit.weight * (SOFTENED if item.hit.is_softened else 1.0)
        points[item.post_id] = max(worth, points.get(item.post_id, 0.0))
    shown = sorted(items, key=lambda item: (-item.hit.weight, item.post_id or "", item.field, item.hit.start))
    return {
        "code": code,
        "level": level_of(items, scanned=scanned),
        "score": round(1 - exp(-sum(points.values()) / 2), 6),
        "evidence": [
            {"field": item.field, "post_id": item.post_id, "start": item.hit.start, "end": item.hit.end}
            for item in shown[:EVIDENCE_KEPT]
        ],
    }


def _matches(text: str, folded: str, lexicon: _Lexicon) -> Iterator[tuple[int, int, str]]:
    """(start, end, term) of each match: the longest term at a word's start, and unspaced terms anywhere."""
    free = 0
    for word in lexicon.start.finditer(folded):
        start = word.start()
        for term in lexicon.by_start[word[1]] if start >= free else ():
            end = _end_of(term, folded, start)
            if end and (len(term) >= ACCENT_FREE_CHARS or _plain(text[start:end]) == folded[start:end]):
                yield start, end, term
                free = end
                break
    if _NO_SPACES.search(folded):
        for term in lexicon.unspaced:
            yield from ((found.start(), found.end(), term) for found in re.finditer(re.escape(term), folded))


def _end_of(term: str, folded: str, start: int) -> int:
    """End of `term` as a whole word at `start`, 0 where it does not stand there."""
    stem = term.rstrip("*")
    end = start + len(stem)
    if not folded.startswith(stem, start):
        return 0
    tail = _WORD_TAIL.match(folded, end)
    if tail is None:
        return end
    return tail.end() if term.endswith("*") else 0


def _plain(text: str) -> str:
    """Case and width folded, accents kept."""
    return unicodedata.normalize("NFKC", text).lower()


@lru_cache(maxsize=1)
def _lexicon() -> _Lexicon:
    text = resources.files("lakehouse.enrich").joinpath("data/risk_lexicon.json").read_text(encoding="utf-8")
    data = json.loads(text)
    meanings: dict[str, tuple[tuple[str, int], ...]] = {}
    for code, weights in data["rules"].items():
        for weight, terms in weights.items():
            for term in map(fold, terms):
                meanings[term] = (*meanings.get(term, ()), (code, int(weight)))
    by_start: dict[str, tuple[str, ...]] = {}
    for term in sorted(meanings, key=lambda term: (-len(term), term)):
        if not _NO_SPACES.search(term):
            by_start[term[:START_CHARS]] = (*by_start.get(term[:START_CHARS], ()), term)
    stems = pa.array([term.rstrip("*") for term in meanings], pa.string())
    return _Lexicon(
        start=re.compile(rf"(?<!\w)(?=({_branches(by_start)}))"),
        by_start=by_start,
        unspaced=tuple(term for term in meanings if _NO_SPACES.search(term)),
        meanings=meanings,
        softening=re.compile(rf"(?<!\w)(?:{_branches(map(fold, data['softening']))})(?!\w)"),
        prefilter="|".join(sorted(map(re.escape, _arrow_fold(stems).to_pylist()))),
    )


def _branches(terms: Iterable[str]) -> str:
    """Pattern of any of the terms. Those of one first letter share a branch: branches are tried one after another."""
    rests: defaultdict[str, list[str]] = defaultdict(list)
    for term in sorted(terms):
        rests[term[0]].append(re.escape(term[1:].rstrip("*")) + (r"\w*" if term.endswith("*") else ""))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(words)})" for first, words in rests.items())


def _arrow_fold(texts: pa.Array) -> pa.Array:
    """What `fold` does and more (it decomposes), in C++."""
    lower = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKD"))
    return pc.replace_substring_regex(lower, pattern=r"\p{M}", replacement="")
