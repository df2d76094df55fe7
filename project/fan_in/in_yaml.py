"""Conditions and requirements in YAML templates.

Jinja has no ``&``, ``|`` and ``~``, so ``all_of``, ``any_of`` and ``none_of`` stand for them. Its
``and``, ``or`` and ``not`` look right but are not: of ``a and b`` it keeps only b, so the asset is
requested whatever a is. So they are errors here.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import reduce, wraps
from operator import and_, or_
from typing import Any

from jinja2 import Environment, nodes

from . import condition, requirement
from .durations import IN_TEXT, parse_duration, window_of
from .errors import FanInError
from .windows import ONE_DAY

Functions = Mapping[str, Callable[..., Any]]

INSTEAD_OF = {
    nodes.And: ("and", "all_of"),
    nodes.Or: ("or", "any_of"),
    nodes.Not: ("not", "none_of"),
}
"""Jinja's operators, and what replaces them."""

DAGSTERS = ("dg", "automation_condition")
"""The variables that give YAML Dagster's own conditions."""


def _all_upstreams_updated(within: Any = ONE_DAY, **arguments: Any) -> Any:
    given = {"within": within, **arguments}
    return condition.all_upstreams_updated(
        **{name: IN_TEXT.get(name, _as_it_is)(value) for name, value in given.items()}
    )


def _as_it_is(value: Any) -> Any:
    return value


def _upstream_updated(key: Any, within: Any = ONE_DAY) -> Any:
    return condition.upstream_updated(key, window_of(within))


def _upstreams_settled(quiet: Any) -> Any:
    return condition.upstreams_settled(parse_duration(quiet))


def _all_of(*parts: Any) -> Any:
    return reduce(and_, parts)


def _any_of(*parts: Any) -> Any:
    return reduce(or_, parts)


def _none_of(*parts: Any) -> Any:
    return ~_any_of(*parts)


COMBINATIONS: Functions = {
    "all_of": _all_of,
    "any_of": _any_of,
    "none_of": _none_of,
}

CONDITIONS: Functions = {
    "all_upstreams_updated": _all_upstreams_updated,
    "upstream_updated": _upstream_updated,
    "upstreams_settled": _upstreams_settled,
    "downstream_running": condition.downstream_running,
    "upstreams_running": condition.upstreams_running,
    "at_least": requirement.at_least,
    **COMBINATIONS,
}
"""The functions for the condition of an asset."""

REQUIREMENTS: Functions = {
    "upstream_succeeded": requirement.Needs,
    "at_least": requirement.at_least,
    **COMBINATIONS,
}
"""The functions for the ``when`` of a sensor; text names its upstreams."""


def in_template(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that raises FanInError if the template that calls it has an ``and``,
    ``or`` or ``not`` of conditions."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for operator, instead in _operators(_text_of_template()):
            raise FanInError(
                f"{operator!r} does not combine conditions, since Jinja keeps one of them and drops"
                f" the others: write {instead}(…) instead"
            )
        return function(*args, **kwargs)

    return call


def _text_of_template() -> str:
    """Returns the template that is being rendered; empty outside of one."""
    # Jinja does not give a function its text, and the value does not show it: of "a and b", only b
    # is left. Private: the text is where Dagster renders it.
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_resolve_inner_value":
        frame = frame.f_back
    return str(frame.f_locals.get("val", "")) if frame is not None else ""


def _operators(text: str) -> Iterator[tuple[str, str]]:
    """Yields the operators between conditions in a template, and what replaces them."""
    for node in Environment().parse(text).find_all(tuple(INSTEAD_OF)):
        if any(map(_is_condition, node.iter_child_nodes())):
            yield INSTEAD_OF[type(node)]


def _is_condition(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Call | nodes.Getattr):
        node = node.node
    names = (*CONDITIONS, *REQUIREMENTS, *DAGSTERS)
    return isinstance(node, nodes.Name) and node.name in names
