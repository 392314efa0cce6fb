"""Bytes to text without damage, or a clear no."""

from __future__ import annotations

import codecs
import re

from knowledge.sources.skipped import UnreadableError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_CONTROL_SHARE = 0.01
_HIGH = re.compile(rb"[\x80-\xff]")
_WESTERN = re.compile("^[\x00-\x7f\u00a0-\u00ff€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]*$")
_ODD_WESTERN = re.compile("[¤¥¦¨¬¯¸¹³þðÞÐ×÷ˆ˜ƒ†‡‰]|[A-Za-zÀ-ÿ][\u00a1-\u00bf†‡•™˜ˆ](?=[A-Za-zÀ-ÿ])|[À-ß]{3}")
_MAX_CHAOS = 0.1
_SAMPLE = 200_000


def decode(data: bytes, declared: str = "") -> str:
    """The text of `data`; `declared` is an encoding named by the data itself (an HTML `meta`).

    UTF-8 first, then byte order marks, the declared encoding, UTF-16 by its pattern of zero bytes,
    Windows-1252, and last a statistical guess, taken only when it is confident.
    Raises UnreadableError when the data is empty, not text, or in no encoding that fits.
    """
    if not data.strip():
        raise UnreadableError("is empty")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _checked(_strictly(data, encoding))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _checked(_decode_other(data, declared, error))
    if "\x00" in text and (wide := _wide(data)):
        return _checked(wide)
    return _checked(text)


def without_lone_surrogates(text: str) -> str:
    """`text` with halves of surrogate pairs, which JSON lets through, joined or replaced by U+FFFD."""
    if not re.search("[\ud800-\udfff]", text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _checked(text: str) -> str:
    if "\x00" in text:
        raise UnreadableError("is binary, not text")
    if len(_CONTROL.findall(text)) > _CONTROL_SHARE * len(text):
        raise UnreadableError("is binary, not text")
    if not text.strip():
        raise UnreadableError("is empty")
    return text


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"says it is {encoding} and is not (byte {error.start})") from None


def _wide(data: bytes) -> str | None:
    """UTF-16 without a byte order mark: nearly every other byte of Western text is zero."""
    sample = data[:4096]
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = sample[offset::2].count(0)
        if zeros > 0.7 * len(sample[offset::2]) and sample[1 - offset :: 2].count(0) == 0:
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                return None
    return None


def _decode_other(data: bytes, declared: str, error: UnicodeDecodeError) -> str:
    if wide := _wide(data):
        return wide
    sample = data[:_SAMPLE]
    if b"\x00" in sample or len(_CONTROL_BYTE.findall(sample)) > _CONTROL_SHARE * len(sample):
        raise UnreadableError("is binary, not text")
    if _is_damaged_utf8(data):
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"is damaged UTF-8 (line {line}, byte 0x{data[error.start]:02x})")
    if declared:
        try:
            return data.decode(declared)
        except (LookupError, UnicodeDecodeError):
            pass
    return _western(data) or _guessed(data)


def _is_damaged_utf8(data: bytes) -> bool:
    """Whether most bytes beyond ASCII form valid UTF-8, so that another encoding would garble them."""
    replaced = data.decode("utf-8", "replace")
    broken = replaced.count("\ufffd")
    whole = sum(1 for character in replaced if character > "\x7f") - broken
    return whole > broken


def _western(data: bytes) -> str | None:
    """Windows-1252 (of which Latin-1 text is a part), if what comes out is what Western text uses."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    high = len(_HIGH.findall(data))
    if high > 0.2 * len(data) or not _WESTERN.match(text):
        return None
    return None if len(_ODD_WESTERN.findall(text)) > 0.1 * high else text


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    if best is None or best.chaos > _MAX_CHAOS or (best.coherence == 0.0 and len(data) > 1000):
        raise UnreadableError("is in no text encoding that can be told with confidence; save it as UTF-8")
    return _strictly(data, best.encoding)
