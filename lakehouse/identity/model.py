"""The identity model as data: weights, thresholds, caps and word lists, read once from `model.json`.

How a signal is computed belongs in `signals.py`; what it is worth belongs here. All weights are base-2 log-odds (bits).

Every level has the weight `offset + share * bits`, where `bits` is how surprising the agreeing value is (its length and
its frequency among the accounts), so rare agreement counts more than common agreement. Where the numbers come from:

* `prior`: about one candidate pair in 700 is a true pair before anything is compared; blocking already chose the pairs.
* `handle`: exact equality of a rare handle alone reaches the merge threshold, similarity never does, because similarity
  alone has a precision below .04 where handles share affixes. Similarity is therefore measured on the stripped forms.
* `name`: equal names reach the threshold only with rare tokens and no account of the same name beside them.
* `email`, `domain`, `link`: near-deterministic when rare; agencies and fan pages lose bits with every doubling.
* `fan_page`: pages about a creator link to it, carry its name and look like it; one that says so is not it.
* `same_platform`: a soft penalty, people own several accounts.

* `field_weights`: of fields that a file of its own declares (`load_model`), by their kind; `bits` is the share of rows with the value.

The numbers are set by hand and checked on hand-verified account lists (docs/identity.md). What a sum of them is worth in a given set
of accounts is learned from the set (`calibration.py`); the packaged model comes without.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from lakehouse.errors import NotFoundError, SettingsError
from lakehouse.identity.calibration import Calibration

WINDOW_MIN = 2
"""Of fewer neighbours a refined key could not be told from the smallest ones (`keys.is_lone`)."""
WEIGHTS = "weights"
RESOLUTION = 64.0
"""Weights are multiples of 1/64 bit: sums are then exact in floating point, in any order."""


@dataclass(frozen=True, slots=True)
class Level:
    """Weight of one outcome of one comparison: `offset + share * bits`."""

    signal: str
    level: str
    offset: float
    share: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Log-odds from which a pair is merged or reviewed; pairs below `floor_probability` are not kept."""

    merge: float
    review: float
    floor_probability: float

    @property
    def floor(self) -> float:
        """The kept minimum as log-odds."""
        return float(np.log2(self.floor_probability / (1 - self.floor_probability)))


@dataclass(frozen=True, slots=True)
class Blocking:
    """Caps of candidate generation.

    `candidates_max`: most candidates of one account. `key_size_max`: most accounts of a key that are all compared.
    `window`: neighbours on each side that are compared under a larger key. `grams_max`: rarest n-grams kept. `limits`: the same
    of each other kind of key.
    """

    candidates_max: int
    key_size_max: int
    window: int
    grams_max: int
    gram_chars: int
    limits: dict[str, int]


@dataclass(frozen=True, slots=True)
class ClusterRules:
    """Chaining guard: see `cluster.py`."""

    size_max: int
    recut_step: float
    recut_end: float
    conflict: float
    singleton_confidence: float


@dataclass(frozen=True, slots=True)
class TextBits:
    """How much agreement on a text is worth: bits by length, capped, minus bits for every doubling of its uses.

    `*_rival_bits` are lost with every doubling of the accounts of one platform that bear the same name or stripped
    handle: they belong to different people.
    """

    bits_per_char: float
    affix_bits_per_char: float
    handle_bits_max: float
    token_bits_per_char: float
    wide_bits_per_char: float
    token_bits_max: float
    generic_token_bits: float
    name_bits_max: float
    stem_chars_min: int
    expected_uses: int
    rival_bits: float
    stem_rival_bits: float


@dataclass(frozen=True, slots=True)
class SharedBits:
    """What a shared rare e-mail, domain or link target is worth, and what every doubling of its users costs."""

    email: float
    domain: float
    link_target: float
    bits_per_doubling: float


@dataclass(frozen=True, slots=True)
class LinkBits:
    """What a one-way link is worth by where it was found. `inbound_free`: links to an account before they count less."""

    declared: float
    bio: float
    post: float
    inbound_free: int
    listed_max: int


COMMON_BITS = 3.0
"""What a value is worth at most that more rows have than counts can tell."""
EQUAL, SIMILAR, PARTIAL, DIFFERENT = "equal", "similar", "partial", "different"


class FieldKind(StrEnum):
    """How values of a declared field are compared (`fields.py`)."""

    NAME = "name"
    DATE = "date"
    CODE = "code"
    EXACT = "exact"

    @property
    def levels(self) -> tuple[str, ...]:
        """What a comparison can come to."""
        return (EQUAL, DIFFERENT) if self is FieldKind.EXACT else (EQUAL, SIMILAR, PARTIAL, DIFFERENT)


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field: a column of the file, which is also the name of its signal, and how it is compared."""

    name: str
    kind: FieldKind
    common_bits: float = COMMON_BITS

    @property
    def column(self) -> str:
        """Where rows carry its value."""
        return f"field {self.name}"

    @property
    def bits_column(self) -> str:
        """Where rows carry how surprising its value is."""
        return f"bits of {self.name}"


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A part of a blocking key: a field, and how many of its first characters; 0 for all."""

    field: Field
    chars: int


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that scoring, blocking and clustering need besides the accounts."""

    version: str
    prior: float
    thresholds: Thresholds
    blocking: Blocking
    cluster: ClusterRules
    text: TextBits
    shared: SharedBits
    links: LinkBits
    weights: dict[tuple[str, str], Level]
    similarity: dict[str, float]
    followers_decades: dict[str, float]
    fan_patterns: dict[str, str]
    affixes: tuple[str, ...]
    generic_tokens: frozenset[str]
    calibration: Calibration
    fields: tuple[Field, ...]
    field_keys: tuple[tuple[KeyPart, ...], ...]
    is_sized: bool

    def sized(self, rows: int) -> Model:
        """The model for so many rows: where `is_sized`, its prior is for the chance of one of them."""
        return replace(self, prior=float(quantize(self.prior - np.log2(max(rows, 1))))) if self.is_sized else self

    def weigh(self, signal: str, level: str, bits: np.ndarray | float = 0.0) -> np.ndarray:
        """Weight of a level for agreeing values of `bits`, rounded to the model's resolution."""
        rule = self.weights[signal, level]
        return quantize(rule.offset + rule.share * np.asarray(bits, dtype=np.float64))


def quantize(log_odds: np.ndarray) -> np.ndarray:
    """Round to multiples of 1/64 bit."""
    return np.asarray(np.round(log_odds * RESOLUTION) / RESOLUTION, dtype=np.float64)


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Probability of base-2 log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp2(-np.asarray(log_odds, dtype=np.float64))), dtype=np.float64)


@cache
def default_model() -> Model:
    """The packaged model."""
    return parse_model(_packaged())


def load_model(path: Path) -> Model:
    """The packaged model with what a JSON file says otherwise: of its sections, of single weights, and further fields.

    Raises:
        NotFoundError: there is no such file.
        SettingsError: it is no JSON, or the model that it makes is malformed.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"There is no file {path}."
        raise NotFoundError(message) from error
    except ValueError as error:
        message = f"{path} is no JSON: {error}."
        raise SettingsError(message) from error
    if not isinstance(said, dict):
        message = f"{path} is no JSON object."
        raise SettingsError(message)
    packaged = _packaged()
    if unknown := sorted(said.keys() - packaged.keys()):
        message = f"{path} says what no model has: {', '.join(unknown)}."
        raise SettingsError(message)
    return parse_model(overlaid(packaged, said))


def overlaid(body: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A model's body with what is said otherwise: single values of sections, the last weight of a level, else whole lists."""
    merged = dict(body)
    for name, value in said.items():
        known = body.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            merged[name] = overlaid(known, value)
        else:
            merged[name] = [*known, *value] if name == WEIGHTS and known else value
    return merged


def _packaged() -> dict[str, Any]:
    text = resources.files("lakehouse.identity").joinpath("model.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def parse_model(body: dict[str, Any]) -> Model:
    """Model from its JSON body.

    Raises:
        SettingsError: a part is missing, unknown or of the wrong shape.
    """
    try:
        return _model(body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"The identity model is malformed: {error}."
        raise SettingsError(message) from error


def _model(body: dict[str, Any]) -> Model:
    fields = tuple(_field(row) for row in body["fields"])
    levels = [*_field_levels(fields, body), *(Level(**row) for row in body[WEIGHTS])]
    blocking = Blocking(**body["blocking"])
    if blocking.window < WINDOW_MIN:
        message = f"window is {blocking.window}, at least {WINDOW_MIN} is needed"
        raise ValueError(message)
    return Model(
        version=body["version"],
        prior=float(quantize(np.asarray(body["prior"]))),
        thresholds=Thresholds(**body["thresholds"]),
        blocking=blocking,
        cluster=ClusterRules(**body["cluster"]),
        text=TextBits(**body["text"]),
        shared=SharedBits(**body["shared"]),
        links=LinkBits(**body["links"]),
        weights={(level.signal, level.level): level for level in levels},
        similarity=dict(body["similarity"]),
        followers_decades=dict(body["followers_decades"]),
        fan_patterns=dict(body["fan_patterns"]),
        affixes=tuple(body["affixes"]),
        generic_tokens=frozenset(body["generic_tokens"]),
        calibration=Calibration.of(list(body["calibration"])),
        fields=fields,
        field_keys=tuple(_key_parts(rule, fields) for rule in body["field_keys"]),
        is_sized=body["is_sized"],
    )


def _field(row: dict[str, Any]) -> Field:
    return Field(**(row | {"kind": FieldKind(row["kind"])}))


def _field_levels(fields: Iterable[Field], body: dict[str, Any]) -> Iterator[Level]:
    """Weights of the levels of declared fields: those of their kind, under the name of the field.

    Raises:
        ValueError: a field has the name of a signal, or that of another field.
    """
    taken = {row["signal"] for row in _packaged()[WEIGHTS]}
    for field in fields:
        if field.name in taken:
            message = f"the name {field.name!r} of a field is taken"
            raise ValueError(message)
        taken.add(field.name)
        rows = [row for row in body["field_weights"] if row["signal"] == field.kind]
        yield from (Level(**(row | {"signal": field.name})) for row in rows)


def _key_parts(rule: list[str], fields: Iterable[Field]) -> tuple[KeyPart, ...]:
    """Parts of a key as a model writes them: `name`, or `name:3` for its first three characters.

    Raises:
        ValueError: there are none.
    """
    if not rule:
        message = "a key has no parts"
        raise ValueError(message)
    by_name, parts = {field.name: field for field in fields}, [text.partition(":") for text in rule]
    return tuple(KeyPart(by_name[name], int(chars or 0)) for name, _, chars in parts)
