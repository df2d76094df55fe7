"""The report of a replay: one HTML file that needs no other, with every name escaped."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

MOST_ROWS = 500


def report(replay: Any, svg: str) -> str:
    """Returns the page.

    Args:
        replay: What to tell.
        svg: The picture, as an SVG element whose texts are escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text())
    return template.render(replay=replay, svg=Markup(svg), most=MOST_ROWS)
