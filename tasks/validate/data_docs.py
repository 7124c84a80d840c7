"""Turn Great Expectations' Data Docs into static pages that fetch nothing and run no script.

The pages need libraries from six hosts to be readable. Our own style sheet replaces these, and our
own index replaces the one that a script draws.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from tasks.lib.core.format_text import visible
from tasks.lib.documents.validation import Finding

STYLE = Path(__file__).with_name("data_docs.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_FETCHES = re.compile(
    r"<(script|style|footer)\b.*?</\1\s*>|<(?:link|img)\b[^>]*>", re.DOTALL | re.IGNORECASE
)
_COLLAPSED = re.compile(r"<p class=\"m-0\">\s*<a\b[^>]*data-toggle=\"collapse\".*?</p>", re.DOTALL)


def make_static(folder: Path, findings: Sequence[Finding]) -> None:
    """Rewrite every page in a folder of Data Docs, and replace the first page.

    Args:
        folder: The folder.
        findings: The run's findings, grouped by table.
    """
    shutil.rmtree(folder / "static", ignore_errors=True)  # 5 MB of logos and fonts
    head = f"{_policy()}<style>{STYLE.read_text(encoding='utf-8')}</style></head>"
    for path in folder.rglob("*.html"):
        page = _COLLAPSED.sub("", _FETCHES.sub("", path.read_text(encoding="utf-8")))
        path.write_text(visible(page.replace("</head>", head, 1)), encoding="utf-8")
    results = {
        path.relative_to(folder).parts[1]: path.relative_to(folder).as_posix()
        for path in sorted(folder.glob("validations/**/*.html"))
    }
    title = "<title>Checks of this run</title>"
    page = f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{title}{head}\n'
    page += f"<body>\n{''.join(_body(findings, results))}</body></html>\n"
    (folder / "index.html").write_text(page, encoding="utf-8")


def _policy() -> str:
    return f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


def _body(findings: Sequence[Finding], results: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the first page: every table with its expectations."""
    n_met = sum(finding.success for finding in findings)
    yield f"<h1>Checks of this run</h1>\n<p>{n_met} of {len(findings)} expectations are met.</p>\n"
    for table, group in groupby(findings, key=lambda finding: finding.table):
        name = escape(table)
        link = f'<a href="{escape(results[table])}">{name}</a>' if table in results else name
        yield f'<div class="results"><h2>{link}</h2>\n<table><tbody>\n'
        for finding in group:
            kind = "met" if finding.success else "unmet"
            mark = "✓ met" if finding.success else "✗ warning" if finding.is_warning else "✗ unmet"
            texts = (escape(visible(text)) for text in (finding.expectation, finding.detail))
            cells = "".join(f"<td>{text}</td>" for text in texts)
            yield f'<tr><td class="{kind}">{mark}</td>{cells}</tr>\n'
        yield "</tbody></table></div>\n"
