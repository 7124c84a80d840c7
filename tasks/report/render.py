"""Render the page: one file that fetches nothing and runs only scripts with our hashes."""

import importlib.resources
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.lib.core.format_text import usd_text, visible
from tasks.lib.documents.labels import solver_name
from tasks.report.formatting import number, script_json

TEMPLATES = Path(__file__).parent / "templates"
LIBRARIES = ("bokeh.min.js", "bokeh-api.min.js")


def render(view: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Render the report as HTML.

    Every text is escaped, including control and bidi characters. A policy in the page's head lets
    the browser run only our scripts and fetch nothing. So no text in the pool can become a script.

    Args:
        view: The values of the templates.
        data: The data of the scripts, by the id of the element that contains it.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {"number": number, "solver_name": solver_name, "usd": usd_text}
    scripts = [*map(_library, LIBRARIES), (TEMPLATES / "page.js").read_text(encoding="utf-8")]
    return environment.get_template("page.html").render(
        **view,
        policy=_policy(scripts),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        data={name: Markup(script_json(_all_shown(value))) for name, value in data.items()},
    )


def _shown(value: Any) -> Any:
    """Escape the control characters in a text, unless it is our own markup."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return visible(value) if is_text else value


def _all_shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _all_shown(item) for key, item in value.items()}
    return [_all_shown(item) for item in value] if isinstance(value, list) else _shown(value)


@cache
def _library(name: str) -> str:
    file = importlib.resources.files("bokeh") / "server" / "static" / "js" / name
    return file.read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy; it allows all styles, since plots set their own."""
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    rest = "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'"
    return f"default-src 'none'; script-src {hashes}; {rest}; form-action 'none'"
