"""Small readings that all sources share: addresses, dates, titles, names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from twin.records import as_utc

_TRACKING = re.compile(
    r"^(utm_.*|mc_[ce]id|fbclid|gclid|dclid|msclkid|igshid|yclid|_hs(enc|mi)|mkt_tok|ref_src|source_?id"
    r"|publication_id|post_id|isFreemail|showWelcome|triedRedirect)$",
    re.IGNORECASE,
)
_HOST_TRACKING = {
    "substack.com": frozenset({"r", "s", "token", "triedsigningin"}),
    "medium.com": frozenset({"source", "sk", "gi"}),
}
"""Parameters that name a reader or a way in, not a page, on these hosts and below them."""

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:19|20)\d\d"
WRITTEN_DATE = rf"(?:{_MONTH} {_DAY},? {_YEAR}|{_DAY} {_MONTH},? {_YEAR}|{_YEAR}-\d\d-\d\d|{_YEAR}/\d\d/\d\d)"
"""A date as people write it, year included. Month-first figures ("3/4/2024") are ambiguous and left out."""

_DATE_LINE = re.compile(
    rf"^\W*(?:(?:first )?(?:published|posted|updated|written|date|on)\b:?\W*(?:on )?)*(?P<date>{WRITTEN_DATE})"
    rf"(?:\W+(?:\d+ min read|by .{{1,60}}))?\W*$",
    re.IGNORECASE,
)
_READ_TIME_DATE = re.compile(rf"\bmin read\s*[·•|]?\s*(?P<date>{_MONTH} {_DAY}, {_YEAR})")
_NAME_DATE = re.compile(rf"(?<!\d)({_YEAR})[-_/](0[1-9]|1[0-2])[-_/](0[1-9]|[12]\d|3[01])(?!\d)")
_DATE_LINES = 40
_DATE_CHARS = 4000


def canonical_url(url: str) -> str:
    """`url` in the form that identifies its page; "" if it is no http(s) address.

    Scheme and host in lower case, default port, fragment and tracking parameters gone, the rest as
    it was, parameters sorted.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme.lower() not in ("http", "https") or not host:
        return ""
    scheme = parts.scheme.lower()
    netloc = host if port in (None, 80 if scheme == "http" else 443) else f"{host}:{port}"
    dropped = next((names for base, names in _HOST_TRACKING.items() if f".{host}".endswith(f".{base}")), frozenset())
    query = sorted(
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _TRACKING.match(name) and name.lower() not in dropped
    )
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._") or "/"
    if len(path) > 1:
        path = path.rstrip("/") or "/"
    return urlunsplit((scheme, netloc, path, urlencode(query), ""))


def host_of(url: str) -> str:
    """The host that `url` names, without `www.`; "" if none."""
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def parse_date(value: Any) -> datetime | None:
    """A moment from what sources hold: date objects, ISO 8601, mail dates, "July 29, 2024", Unix time in
    seconds or milliseconds, MongoDB's `{"$date": ...}`. None if it is none of these or not in 1970-2100."""
    try:
        moment = _parse_date(value)
    except (ValueError, OverflowError, OSError, TypeError):
        return None
    return moment if moment is not None and 1970 <= moment.year <= 2100 else None


def _parse_date(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, Mapping):
        return _parse_date(value.get("$date") or value.get("$numberLong"))
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{9,13}", value.strip()):
        value = int(value)
    if isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= 1e11 else value
        return datetime.fromtimestamp(seconds, UTC) if seconds >= 1e8 else None
    return _parse_written(str(value).strip())


def _parse_written(text: str) -> datetime | None:
    if not text or len(text) > 80:
        return None
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError:
        pass
    if found := re.search(WRITTEN_DATE, text, re.IGNORECASE):
        plain = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b|[.,]", "", found.group())
        plain = re.sub(r"[A-Za-z]+", lambda month: month.group()[:3].title(), plain)
        for form in ("%b %d %Y", "%d %b %Y", "%Y-%m-%d", "%Y/%m/%d"):
            try:
                return datetime.strptime(plain, form).replace(tzinfo=UTC)
            except ValueError:
                continue
    try:
        return as_utc(parsedate_to_datetime(text))
    except ValueError:
        return None


def date_in_text(text: str) -> datetime | None:
    """The date that stands at the top of a crawled page: alone on its line, or after a reading time."""
    head = text[:_DATE_CHARS]
    if found := _READ_TIME_DATE.search(head):
        return parse_date(found.group("date"))
    lines = [line for line in head.split("\n") if line.strip()]
    for line in lines[:_DATE_LINES]:
        if len(line) <= 120 and (found := _DATE_LINE.match(line.strip())):
            return parse_date(found.group("date"))
    return None


def date_in_name(name: str) -> datetime | None:
    """The date in an address or file name such as `/posts/2024-07-15_title` or `/2024/07/15/`."""
    found = _NAME_DATE.search(name)
    return parse_date("-".join(found.groups())) if found else None


def tidy_title(title: str, author: str = "", site: str = "") -> str:
    """The title without what browsers' title bars add: " - by NAME", the author's or the site's name."""
    tidy = " ".join(title.split())
    tidy = re.sub(r"\s+[-–—|·]\s+by\s+\S.*$", "", tidy)
    for name in (author, site):
        if name.strip():
            escaped = re.escape(" ".join(name.split()))
            tidy = re.sub(
                rf"\s+[-–—|·]\s+{escaped}(?:[’']s \w+)?$|^{escaped}\s+[-–—|·]\s+", "", tidy, flags=re.IGNORECASE
            )
    return tidy or " ".join(title.split())


def as_text(value: Any) -> str:
    """One line of text from a string, number, list, or an object that has a name."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, Mapping):
        return next((as_text(value[key]) for key in ("name", "full_name", "title", "$oid", "url") if key in value), "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(part for item in value if (part := as_text(item)))
    return " ".join(str(value).split())


def as_tags(value: Any) -> tuple[str, ...]:
    """Tags from a list, or from a string with commas; each once, in order."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, Sequence) else []
    return tuple(dict.fromkeys(tag for part in parts if (tag := as_text(part).lstrip("#"))))
