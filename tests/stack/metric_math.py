"""Metric math, as far as the alarms of template.yaml use it.

How missing data behave is from the CloudWatch User Guide, "Using math expressions with CloudWatch
metrics" (AmazonCloudWatch/latest/monitoring/using-metric-math.html):

- Arithmetic and comparisons of two series: a value that only one of them lacks counts as 0.
- IF: drops a point whose condition is missing, or whose false value is missing or left out; a
  missing true value is 0.
- DIFF: the difference from the preceding value of the series. Between them there may be a gap.
- FILL: replaces missing values.
- METRICS(): the list of all metrics, without the results of other expressions. Here it is all
  series that an expression is given: no alarm has METRICS() next to another expression.

Not from the guide, because it does not say: SUM and MAX of a list take the values that exist, and
give none if all are missing. A series without a value in the range is filled too, but only if
CloudWatch has received the metric before. Where this matters, the tests say so.

SUM and MAX of a single series are refused: they give one number for all the points that CloudWatch
fetches for an alarm, and the guide advises against them because it does not say how many it
fetches.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

Point = float | None
Binary = Callable[[float, float], float]

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*)|(<=|>=|==|!=|[-+*/()<>,\[\]]))")
COMPARISONS: dict[str, Binary] = {
    "<": lambda a, b: float(a < b),
    "<=": lambda a, b: float(a <= b),
    ">": lambda a, b: float(a > b),
    ">=": lambda a, b: float(a >= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
}
SUMS: dict[str, Binary] = {"+": operator.add, "-": operator.sub}
PRODUCTS: dict[str, Binary] = {"*": operator.mul, "/": operator.truediv}


class MathError(Exception):
    """An expression that this module does not support, or that CloudWatch would refuse."""


@dataclass(frozen=True)
class TimeSeries:
    """Points, the oldest first; None is missing."""

    points: tuple[Point, ...]
    # CloudWatch has received the metric before.
    is_known: bool = True


MathValue = float | TimeSeries | list[TimeSeries]
SeriesById = Mapping[str, TimeSeries]
Formula = Callable[[SeriesById], MathValue]


def evaluate(expression: str, series: SeriesById) -> TimeSeries:
    """The series that the expression yields; `series` has those of the other Ids."""
    value = _formula(expression)(series)
    if not isinstance(value, TimeSeries):
        raise MathError(f"{expression}: an alarm needs an expression that yields one series")
    return value


@cache
def _formula(expression: str) -> Formula:
    return _Parser(expression).parse()


class _Parser:
    """Reads an expression, from the weakest operator to the strongest."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = self._tokens()
        self.position = 0

    def _tokens(self) -> list[str]:
        tokens, position, text = [], 0, self.expression.rstrip()
        while position < len(text):
            found = TOKEN.match(text, position)
            if found is None:
                raise MathError(f"{text}: cannot read {text[position:]!r}")
            tokens.append(found[0].strip())
            position = found.end()
        return tokens

    def parse(self) -> Formula:
        formula = self._comparison()
        if self._next():
            raise MathError(f"{self.expression}: {self._next()!r} is left over")
        return formula

    def _next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _take(self, expected: str = "") -> str:
        token = self._next()
        if not token or (expected and token != expected):
            raise MathError(f"{self.expression}: expected {expected or 'more'}, found {token!r}")
        self.position += 1
        return token

    def _comparison(self) -> Formula:
        return self._chain(COMPARISONS, self._sum)

    def _sum(self) -> Formula:
        return self._chain(SUMS, self._product)

    def _product(self) -> Formula:
        return self._chain(PRODUCTS, self._unary)

    def _chain(self, operators: Mapping[str, Binary], operand: Callable[[], Formula]) -> Formula:
        formula = operand()
        while self._next() in operators:
            formula = _binary(operators[self._take()], formula, operand())
        return formula

    def _unary(self) -> Formula:
        if self._next() == "-":
            self._take()
            return _binary(operator.mul, lambda _: -1.0, self._unary())
        return self._primary()

    def _primary(self) -> Formula:
        token = self._take()
        if token == "(":
            formula = self._comparison()
            self._take(")")
            return formula
        if token == "[":
            items = self._items("]")
            return lambda series: [_series(item(series)) for item in items]
        if token[0].isdigit():
            return lambda _: float(token)
        if self._next() == "(":
            self._take()
            return self._call(token)
        return lambda series: self._lookup(series, token)

    def _lookup(self, series: SeriesById, name: str) -> TimeSeries:
        if name not in series:
            raise MathError(f"{self.expression}: no Id {name}")
        return series[name]

    def _items(self, end: str) -> list[Formula]:
        items = [self._comparison()]
        while self._next() == ",":
            self._take()
            items.append(self._comparison())
        self._take(end)
        return items

    def _call(self, name: str) -> Formula:
        if name == "METRICS":
            self._take(")")
            return lambda series: list(series.values())
        if name not in FUNCTIONS:
            raise MathError(f"{self.expression}: {name} is not supported here")
        arguments = self._items(")")
        return lambda series: FUNCTIONS[name](*(argument(series) for argument in arguments))


def _binary(binary: Binary, left: Formula, right: Formula) -> Formula:
    return lambda series: _combine(binary, left(series), right(series))


def _series(value: MathValue) -> TimeSeries:
    if not isinstance(value, TimeSeries):
        raise MathError("expected a time series")
    return value


def _points(value: float | TimeSeries, count: int) -> tuple[Point, ...]:
    return value.points if isinstance(value, TimeSeries) else (value,) * count


def _length(*values: MathValue) -> int:
    return next(len(value.points) for value in values if isinstance(value, TimeSeries))


def _is_known(*values: MathValue) -> bool:
    return any(value.is_known for value in values if isinstance(value, TimeSeries))


def _combine(binary: Binary, left: MathValue, right: MathValue) -> MathValue:
    if isinstance(left, list) or isinstance(right, list):
        raise MathError("operators on lists are not supported here")
    if not isinstance(left, TimeSeries) and not isinstance(right, TimeSeries):
        return binary(left, right)
    count = _length(left, right)
    pairs = zip(_points(left, count), _points(right, count), strict=True)
    are_series = isinstance(left, TimeSeries) and isinstance(right, TimeSeries)
    points = tuple(_combine_points(binary, *pair, are_series) for pair in pairs)
    return TimeSeries(points, _is_known(left, right))


def _combine_points(binary: Binary, left: Point, right: Point, are_series: bool) -> Point:
    is_missing = (left is None and right is None) or not are_series and None in (left, right)
    if is_missing:
        return None
    try:
        return binary(left or 0.0, right or 0.0)
    except ZeroDivisionError:
        return None


def _aggregate(name: str, aggregate: Callable[[list[float]], float]) -> Callable[..., TimeSeries]:
    def over_list(values: MathValue, *others: MathValue) -> TimeSeries:
        if others or not isinstance(values, list):
            raise MathError(f"{name} takes one list: of one series it depends on what is fetched")
        points: list[Point] = []
        count = _length(*values)
        for at_index in zip(*(_points(series, count) for series in values), strict=True):
            real = [point for point in at_index if point is not None]
            points.append(aggregate(real) if real else None)
        return TimeSeries(tuple(points), _is_known(*values))

    return over_list


def _fill(value: MathValue, filler: MathValue) -> TimeSeries:
    series = _series(value)
    if not isinstance(filler, float):
        raise MathError("FILL is supported with a number only")
    if not series.is_known:
        return series
    points = tuple(filler if point is None else point for point in series.points)
    return TimeSeries(points)


def _diff(value: MathValue) -> TimeSeries:
    series = _series(value)
    points: list[Point] = []
    preceding: Point = None
    for point in series.points:
        has_difference = point is not None and preceding is not None
        points.append(point - preceding if has_difference else None)
        preceding = preceding if point is None else point
    return TimeSeries(tuple(points), series.is_known)


def _if(condition: MathValue, true: MathValue, false: MathValue | None = None) -> TimeSeries:
    series = _series(condition)
    if isinstance(true, list) or isinstance(false, list):
        raise MathError("IF takes series and numbers")
    points: list[Point] = []
    count = len(series.points)
    otherwise = (None,) * count if false is None else _points(false, count)
    for holds, if_true, if_false in zip(
        series.points, _points(true, count), otherwise, strict=True
    ):
        if holds is None:
            points.append(None)
        else:
            points.append((if_true or 0.0) if holds else if_false)
    return TimeSeries(tuple(points), series.is_known)


FUNCTIONS: dict[str, Callable[..., TimeSeries]] = {
    "SUM": _aggregate("SUM", sum),
    "MAX": _aggregate("MAX", max),
    "FILL": _fill,
    "DIFF": _diff,
    "IF": _if,
}
