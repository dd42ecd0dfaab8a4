"""Zero-shot niches: cosine to prototype vectors, joined with what the source's own labels say; abstains when unsure.

A niche's prototype is the mean vector of its phrases (`contracts/taxonomy.py`), at unit length; the text's cosines go
through a softmax. On YouTube trending 2018 (756 videos, 11 category ids, nothing trained; name, tags and title as
text): macro-F1 .47, .60 without the catch-all "Entertainment"; at the floors below .52 accurate on 70 % of the videos,
.74 without Entertainment. A learner trained on the same data gives .47.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakehouse.contracts.tables import DOCS, EMBEDDINGS
from lakehouse.contracts.tables import NICHES as NICHES_TABLE
from lakehouse.contracts.taxonomy import NICHES
from lakehouse.encoder import Encoder, Vectors
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.docs import SEPARATOR
from lakehouse.enrich.embed import vectors_of
from lakehouse.enrich.labels import content_type_of, niches_of
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

VERSION = "zero-shot/1"
TEMPERATURE = 0.05
"""Cosine difference that changes odds by e; fitted so that scores match accuracy on the videos above."""
TOP_FLOOR = 0.2
"""Least score of the best niche, else the tagger abstains (70 % of real videos pass)."""
FLOOR = 0.15
"""Least score of a further niche."""
NICHES_KEPT = 5
LABEL_SUPPORT = 0.9
"""Probability that a source's label of weight 1 is right; it is joined with the text's by noisy-or."""
LABEL_DECAY = 0.05
"""Each later label counts this much less: sources name the main topic first."""
READABLE_SHARE = 0.5
"""Least share of letters in scripts that the default encoder was trained on."""
_LETTER = re.compile(r"[^\W\d_]")
_READABLE = re.compile(
    "[a-zA-Z\u00aa-\u024f\u1e00-\u1eff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff"
    "\uac00-\ud7af\uff21-\uff9f]"
)
"""Latin, Cyrillic, Arabic, Thai, Hangul, Kana and Han; texts in other scripts become unknown tokens."""


@dataclass(frozen=True, slots=True)
class Prototypes:
    """Niche codes and their unit vectors, float32 (niches, dimensions), made by the encoder `model_id`."""

    model_id: str
    codes: tuple[str, ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class NicheTag:
    """Niches of one text, best first; `niches` is empty when the tagger abstains."""

    niches: tuple[tuple[str, float], ...]

    @property
    def is_abstained(self) -> bool:
        """No niche that the tagger would defend."""
        return not self.niches

    def columns(self) -> dict[str, Any]:
        """As table columns."""
        best = self.niches[0] if self.niches else (None, None)
        return {
            "niche_code": best[0],
            "niche_score": best[1],
            "niches": [{"code": code, "score": score} for code, score in self.niches],
            "is_abstained": self.is_abstained,
        }


def make_prototypes(encoder: Encoder) -> Prototypes:
    """Prototype vectors of all niches that have phrases."""
    tagged = [niche for niche in NICHES if any(niche.prototypes)]
    phrases = encoder.encode([phrase for niche in tagged for phrase in niche.prototypes])
    ends = np.cumsum([len(niche.prototypes) for niche in tagged])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(phrases, ends)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    return Prototypes(encoder.model_id, tuple(niche.code for niche in tagged), unit.astype(np.float32))


def text_scores(vectors: Vectors, prototypes: Prototypes) -> np.ndarray:
    """Softmax over niches, float64 (texts, niches); rows add up to 1."""
    logits = (vectors @ prototypes.vectors.T).astype(np.float64) / TEMPERATURE
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def decide(scores: np.ndarray | None, labels: Sequence[str], codes: Sequence[str]) -> NicheTag:
    """Niches of one text from its scores over `codes` (None where the text says nothing) and the source's labels."""
    joined = dict(zip(codes, scores.tolist(), strict=True)) if scores is not None else {}
    for rank, (code, weight) in enumerate(niches_of(labels).items()):
        support = LABEL_SUPPORT * weight * (1 - LABEL_DECAY * min(rank, NICHES_KEPT))
        joined[code] = 1 - (1 - joined.get(code, 0.0)) * (1 - support)
    ranked = sorted(joined.items(), key=lambda item: (-item[1], item[0]))[:NICHES_KEPT]
    if not ranked or ranked[0][1] < TOP_FLOOR:
        return NicheTag(())
    return NicheTag(tuple((code, round(score, 6)) for code, score in ranked if score >= FLOOR))


def is_readable(text: str) -> bool:
    """Whether most letters are in scripts that the default encoder knows; a text without letters is not readable."""
    letters = len(_LETTER.findall(text))
    return letters > 0 and len(_READABLE.findall(text)) >= READABLE_SHARE * letters


def tag_rows(
    vectors: Vectors, says_something: Sequence[bool], labels: Sequence[Sequence[str]], prototypes: Prototypes
) -> list[NicheTag]:
    """Tags of many texts; a text that says nothing is judged by its labels alone."""
    scores = text_scores(vectors, prototypes)
    return [
        decide(row if told else None, names, prototypes.codes)
        for row, told, names in zip(scores, says_something, labels, strict=True)
    ]


def build_niches(ctx: StepContext) -> Report:
    """Tag every account by the vector of its text and its category labels; conserves rows."""
    from pyspark.sql import functions as F

    settings = ctx.settings
    prototypes = make_prototypes(Encoder.load(settings.encoder_model, device=settings.encoder_device, threads=1))
    embeddings = ctx.lake.read(EMBEDDINGS).where(F.col("model_id") == prototypes.model_id).drop("model_id")
    schema = ctx.lake.spark_schema(NICHES_TABLE)

    def fold(read: Read) -> DataFrame:
        return read(DOCS).join(embeddings, "content_hash", "left").mapInArrow(_tagger(prototypes), schema)

    derive(ctx, NICHES_TABLE, fold, inputs=(DOCS,))  # a text's vector never changes
    return one_for_one(ctx.lake, DOCS, NICHES_TABLE, abstained_count="is_abstained")


def _tagger(prototypes: Prototypes) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield _tag_batch(batch, prototypes)

    return tag


def _tag_batch(batch: pa.RecordBatch, prototypes: Prototypes) -> pa.RecordBatch:
    """A name alone says nothing: only a text with a second part is judged by its vector."""
    vectors, present = vectors_of(batch.column("vector"), prototypes.vectors.shape[1])
    texts = batch.column("doc_text").to_pylist()
    told = [bool(has) and SEPARATOR in text and is_readable(text) for has, text in zip(present, texts, strict=True)]
    labels = [names or [] for names in batch.column("category_labels").to_pylist()]
    tags = tag_rows(vectors, told, labels, prototypes)
    keys = batch.select(["platform", "platform_account_id", "content_hash"]).to_pylist()
    version = f"{VERSION} {prototypes.model_id}"
    rows = [
        key | tag.columns() | {"content_type_code": content_type_of(names), "model_version": version}
        for key, tag, names in zip(keys, tags, labels, strict=True)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=NICHES_TABLE.arrow_schema())
