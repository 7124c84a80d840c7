"""Write the tables of the reference pages from the code that they describe.

Run `python docs/make_reference.py` after changing params.yaml, dvc.yaml, a table's schema or the
command line; a test compares the committed pages with the output. The part of a page above the
marker is written by hand, and kept.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import typer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from flows.cli.commands import app  # noqa: E402
from tasks.evaluate import tables  # noqa: E402
from tasks.lib.core import schemas  # noqa: E402
from tasks.lib.core.params import read_params  # noqa: E402
from tasks.lib.documents import (  # noqa: E402
    choice,
    clusters,
    evaluation,
    judgement,
    receipt,
    usage,
    validation,
)
from tasks.lib.gateway.deployment_settings import Deployment  # noqa: E402

PAGES = ROOT / "docs" / "reference"
MARKER = "<!-- docs/make_reference.py writes the rest: edit its sources, then run it. -->"
WORDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
}
BOUNDS = {"from": "minimum", "over": "exclusiveMinimum", "to": "maximum"}
SHARED = {
    "engine": "`local` or `ray`",
    "seed": "integer, from 0 to 4294967295",
    "compare": "mapping",
}
"""Types of the keys outside all sections."""
DOCUMENTS = {
    "data/cluster/clusters.json": clusters.Clusters,
    "data/llm_select/judgements.jsonl": judgement.Judgement,
    "data/llm_select/usage.json": usage.Usage,
    "data/choose/choice.json": choice.Choice,
    "data/choose/receipt.jsonl": receipt.Receipt,
    "data/validate/result.json": validation.ValidationResult,
    "data/tune/training.json": evaluation.Training,
    "data/score/result.json": evaluation.Evaluation,
}


def pages() -> dict[Path, str]:
    """Return the text of every page with tables, by path."""
    declared = read_params(ROOT / "dvc.yaml")["stages"]
    evaluation = read_params(ROOT / "tasks" / "evaluate" / "graph.yaml")["stages"]
    values = read_params(ROOT / "params.yaml")
    group = typer.main.get_command(app)
    notes = _schema_notes()
    parts = {
        "params.md": _param_texts(values, declared),
        "commands.md": _command_texts(group, "selectllm"),
        "artifacts.md": (
            _stage_text(name, stage, notes) for name, stage in (declared | evaluation).items()
        ),
    }
    return {PAGES / name: _page(PAGES / name, texts) for name, texts in parts.items()}


def _page(path: Path, texts: Iterable[str]) -> str:
    by_hand = path.read_text(encoding="utf-8").partition(MARKER)[0].rstrip()
    return "\n\n".join([by_hand, MARKER, *texts]) + "\n"


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([head, "|---" * head.count(" | ") + "|---|", *rows])


def _param_texts(values: Mapping[str, Any], declared: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table for each section of params.yaml, and a table of the keys of a route."""
    meanings = dict(_meanings((ROOT / "params.yaml").read_text(encoding="utf-8")))
    rows = {section: list(_param_rows(section, values, meanings, declared)) for section in values}
    shared = [row for section in SHARED for row in rows.pop(section)]
    for title, section in {"Shared keys": shared, **rows}.items():
        head = "| key | type and range | value | meaning | makes stale |"
        yield f"## {title}\n\n{_table(head, section)}"
    route = (f"| `{key}` | {kind} |" for key, kind in _kinds(Deployment).items())
    yield f"## Keys of a route\n\n{_table('| key | type and range |', route)}"


def _meanings(text: str) -> Iterator[tuple[str, str]]:
    """Yield each dotted key of params.yaml with the comment at the end of its line."""
    section = ""
    for line in text.splitlines():
        match = re.match(r"( *)(\w+):(?:(?!#).)*(?:# (.*))?$", line)
        if not match or len(match[1]) > 2:
            continue
        key = match[2] if not match[1] else f"{section}.{match[2]}"
        section = section if match[1] else match[2]
        yield key, (match[3] or "").replace("|", "\\|")


def _param_rows(
    section: str,
    values: Mapping[str, Any],
    meanings: Mapping[str, str],
    declared: Mapping[str, Any],
) -> Iterator[str]:
    if section in SHARED:
        kinds, keys = SHARED, [section]
    elif section == "models":
        keys = [f"models.{alias}" for alias in values["models"]]
        kinds = dict.fromkeys(keys, "a route")
    else:
        module = "params" if section == "evaluate" else "step"
        model = get_type_hints(import_module(f"tasks.{section}.{module}").check)["return"]
        keys = [f"{section}.{key}" for key in values[section]]
        kinds = {f"{section}.{key}": kind for key, kind in _kinds(model).items()}
    for key in keys:
        stale = ", ".join(stages_made_stale(key, values, declared)) or "-"
        value = _value(values, key)
        yield f"| `{key}` | {kinds[key]} | {value} | {meanings[key]} | {stale} |"


def stages_made_stale(
    key: str, values: Mapping[str, Any], declared: Mapping[str, Any]
) -> list[str]:
    """Return the stages that depend on a key, on its section, or on the file that it names."""
    return [
        name
        for name, stage in declared.items()
        if any(
            f"{key}.".startswith(f"{_filled(entry, values)}.") or f"${{{key}}}" in entry
            for entry in (*stage.get("params", []), *stage["deps"])
        )
    ]


def _filled(entry: str, values: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{(\w+)\.(\w+)\}", lambda m: str(values[m[1]][m[2]]), entry)


def _value(values: Mapping[str, Any], key: str) -> str:
    """Return the committed value in YAML's flow style; describe a long value by its size."""
    value: Any = values
    for part in key.split("."):
        value = value[part]
    if isinstance(value, Mapping) and value:
        return value.get("model", f"{len(value)} entries")
    text = str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")
    return f"`{text}`" if len(text) < 50 else f"{len(value)} entries"


def _kinds(model: Any) -> dict[str, str]:
    """Return the type and range of every key of a section's model, in words."""
    schema = model.model_json_schema()
    return {key: _kind(body, schema.get("$defs", {})) for key, body in schema["properties"].items()}


def _kind(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _kind(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "enum" in schema:
        return _any_of([f"`{value}`" for value in schema["enum"]])
    if "anyOf" in schema:
        return _any_of([_kind(s, defs) for s in schema["anyOf"] if s.get("type") != "null"])
    if schema.get("type") == "array":
        return f"list of: {_kind(schema['items'], defs)}"
    limits = " ".join(f"{word} {schema[key]}" for word, key in BOUNDS.items() if key in schema)
    return WORDS[schema["type"]] + (f", {limits}" if limits else "")


def _any_of(kinds: list[str]) -> str:
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]]) if kinds[1:] else kinds[0]


def _command_texts(command: Any, name: str) -> Iterator[str]:
    """Yield the help of a command of Typer, or of each command in a group."""
    if hasattr(command, "commands"):
        for child, body in command.commands.items():
            yield from _command_texts(body, f"{name} {child}")
        return
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = filter(None, (parameter.get_help_record(context) for parameter in command.params))
    rows = [f"| `{spelling}` | {meaning} |" for spelling, meaning in records]
    table = f"\n\n{_table('| option | meaning |', rows)}" if rows else ""
    yield f"## {name}\n\n{command.help}\n\n```console\n$ {usage}\n```{table}"


def _stage_text(name: str, stage: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    reads = [f"`{dep}`" for dep in stage["deps"] if dep.startswith(("data/", "${"))]
    outs = [next(iter(out.items())) for out in stage["outs"]]
    writes = [f"| `{path}` | {options['desc']} |" for path, options in outs]
    tables = [_columns(path, notes) for path, _ in outs if path.endswith(".parquet")]
    tables += [_fields(path) for path, _ in outs if path in DOCUMENTS]
    head = f"## {name}\n\n{stage['desc']}." + (f" Reads {', '.join(reads)}." if reads else "")
    return "\n\n".join([head, _table("| writes | meaning |", writes), *tables])


def _columns(path: str, notes: Mapping[str, str]) -> str:
    """Return the columns of a table; its schema is named after its file, or stage and file."""
    _, stage, file = path.split("/")
    stem = file.partition(".")[0].upper()
    known = vars(schemas) | vars(tables)
    name = stem if stem in known else f"{stage.upper()}_{stem}"
    schema: pa.Schema = known[name]
    rows = [
        f"| `{field.name}` | {field.type}{', optional' if field.nullable else ''} "
        f"| {notes.get(f'{name}.{field.name}', '')} |"
        for field in schema
    ]
    note = f"{notes[name]}\n\n" if name in notes else ""
    return note + _table(f"| column of `{path}` | type | meaning |", rows)


def _fields(path: str) -> str:
    """Return the fields of a JSON document, and those of its parts as PART.FIELD."""
    schema = DOCUMENTS[path].model_json_schema()
    rows = list(_field_rows(schema, schema.get("$defs", {}), ""))
    return _table(f"| field of `{path}` | type | meaning |", rows)


def _field_rows(schema: Mapping[str, Any], defs: Mapping[str, Any], prefix: str) -> Iterator[str]:
    described = schema.get("description", "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", described, re.MULTILINE)
    meanings = {name: " ".join(text.split()) for name, text in entries}
    for name, body in schema["properties"].items():
        yield f"| `{prefix}{name}` | {_kind(body, defs)} | {meanings.get(name, '')} |"
        if "$ref" in body:
            part = defs[body["$ref"].rpartition("/")[2]]
            yield from _field_rows(part, defs, f"{prefix}{name}.")


def _schema_notes() -> dict[str, str]:
    """Return what the schemas say of their tables (docstrings) and columns (comments)."""
    notes: dict[str, str] = {}
    for module in (schemas, tables):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        _add_schema_notes(source, notes)
    return notes


def _add_schema_notes(source: str, notes: dict[str, str]) -> None:
    table = ""
    for node in ast.parse(source).body:
        code = ast.get_source_segment(source, node) or ""
        if isinstance(node, ast.Assign):
            table = code.partition(" ")[0]
            for other in re.findall(r"\*(\w+)", code):  # its columns are part of this table
                shared = [key for key in notes if key.startswith(f"{other}.")]
                notes |= {f"{table}.{key.partition('.')[2]}": notes[key] for key in shared}
            for column, note in re.findall(r'\("(\w+)", .*# (.+)', code):
                notes[f"{table}.{column}"] = note
        elif isinstance(node, ast.Expr) and table:
            notes[table] = " ".join(str(ast.literal_eval(node.value)).split())


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
