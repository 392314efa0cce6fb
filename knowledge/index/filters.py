"""Filters: LangChain's `structured_query` types to SQL, checked and quoted.

A comparison with a missing date is false and NOT is the plain complement, so that every document is
either in or out. A date without a time means the whole day, in UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation, Operator

from twin.errors import InputError
from twin.records import as_utc

TEXT_FIELDS = ("author", "platform", "language", "title", "document_id")
DATE_FIELD = "published_at"
TAGS_FIELD = "tags"

_ORDER = {Comparator.GT: ">", Comparator.GTE: ">=", Comparator.LT: "<", Comparator.LTE: "<="}


def to_sql(directive: FilterDirective) -> str:
    """The filter as an SQL condition that is true or false for every row, never NULL.

    Raises InputError for fields, comparisons or values that no index can filter by.
    """
    if isinstance(directive, Comparison):
        return _comparison(directive)
    if isinstance(directive, Operation):
        parts = [f"({to_sql(argument)})" for argument in directive.arguments]
        if directive.operator is Operator.NOT:
            if len(parts) != 1:
                raise InputError(f"a filter's NOT takes one condition, not {len(parts)}")
            return f"NOT {parts[0]}"
        if not parts:
            raise InputError(f"a filter's {directive.operator.name} has no conditions")
        return (" AND " if directive.operator is Operator.AND else " OR ").join(parts)
    raise InputError(f"{type(directive).__name__} is not a filter: use Comparison and Operation")


def date_range(value: Any) -> tuple[datetime, datetime]:
    """The half-open range of moments that a date or time means: a day, or one microsecond.

    Takes datetime, date, their ISO 8601 text, and LangChain's `{"date": ...}`. Raises InputError.
    """
    if isinstance(value, dict):
        value = value.get("date") or value.get("datetime")
    try:
        if isinstance(value, str):
            value = (
                date.fromisoformat(value) if len(value.strip()) <= len("2024-01-01") else datetime.fromisoformat(value)
            )
        if isinstance(value, datetime):
            start, length = as_utc(value), timedelta(microseconds=1)
        elif isinstance(value, date):
            start, length = datetime.combine(value, time(), UTC), timedelta(days=1)
        else:
            raise InputError(f"{DATE_FIELD} is compared with dates, not with {value!r:.80}")
        return start, start + length
    except (ValueError, OverflowError):
        raise InputError(f"{value!r:.80} is not a date", "Write dates as 2024-05-31 or 2024-05-31T12:00:00Z") from None


def _comparison(comparison: Comparison) -> str:
    field = comparison.attribute
    if field == DATE_FIELD:
        return _dates(comparison)
    if field == TAGS_FIELD:
        return _tags(comparison)
    if field in TEXT_FIELDS:
        return _texts(comparison)
    names = ", ".join((*TEXT_FIELDS, TAGS_FIELD, DATE_FIELD))
    raise InputError(f"there is no field {field!r:.80} to filter by", f"The fields are: {names}")


def _texts(comparison: Comparison) -> str:
    field, comparator, value = comparison.attribute, comparison.comparator, comparison.value
    if comparator is Comparator.EQ:
        return f"{field} = {_text(field, value)}"
    if comparator is Comparator.NE:
        return f"{field} <> {_text(field, value)}"
    if comparator is Comparator.IN:
        return f"{field} IN ({_text_list(field, value)})" if value else "false"
    if comparator is Comparator.NIN:
        return f"{field} NOT IN ({_text_list(field, value)})" if value else "true"
    if comparator in _ORDER:
        return f"{field} {_ORDER[comparator]} {_text(field, value)}"
    raise _unsupported(comparison)


def _tags(comparison: Comparison) -> str:
    comparator, value = comparison.comparator, comparison.value
    if comparator in (Comparator.EQ, Comparator.CONTAIN):
        return f"array_has({TAGS_FIELD}, {_text(TAGS_FIELD, value)})"
    if comparator is Comparator.NE:
        return f"NOT array_has({TAGS_FIELD}, {_text(TAGS_FIELD, value)})"
    if comparator in (Comparator.IN, Comparator.NIN):
        found = f"array_has_any({TAGS_FIELD}, [{_text_list(TAGS_FIELD, value)}])" if value else "false"
        return found if comparator is Comparator.IN else f"NOT ({found})"
    raise _unsupported(comparison)


def _dates(comparison: Comparison) -> str:
    comparator, value = comparison.comparator, comparison.value
    if comparator in (Comparator.IN, Comparator.NIN):
        if not isinstance(value, list | tuple | set | frozenset):
            raise InputError(f"{comparator.value} needs a list of dates")
        each = [_one_date(Comparator.EQ, item) for item in value]
        found = " OR ".join(f"({one})" for one in each) or "false"
        return found if comparator is Comparator.IN else f"NOT ({found})"
    if comparator in (Comparator.EQ, Comparator.NE, *_ORDER):
        return _one_date(comparator, value)
    raise _unsupported(comparison)


def _one_date(comparator: Comparator, value: Any) -> str:
    start, end = (_moment(moment) for moment in date_range(value))
    known = f"{DATE_FIELD} IS NOT NULL AND {DATE_FIELD}"
    if comparator in (Comparator.EQ, Comparator.NE):
        within = f"{known} >= {start} AND {DATE_FIELD} < {end}"
        return within if comparator is Comparator.EQ else f"NOT ({within})"
    return {
        Comparator.GT: f"{known} >= {end}",
        Comparator.GTE: f"{known} >= {start}",
        Comparator.LT: f"{known} < {start}",
        Comparator.LTE: f"{known} < {end}",
    }[comparator]


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.year:04d}-{moment:%m-%dT%H:%M:%S.%f}Z'"


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{field} is compared with text, not with {value!r:.80}")
    return "'" + value.encode("utf-8", "replace").decode().replace("'", "''") + "'"


def _text_list(field: str, value: Any) -> str:
    if not isinstance(value, list | tuple | set | frozenset):
        raise InputError(f"{field} needs a list of texts, not {value!r:.80}")
    return ", ".join(_text(field, item) for item in value)


def _unsupported(comparison: Comparison) -> InputError:
    return InputError(f"{comparison.attribute} cannot be filtered by {comparison.comparator.value!r}")
