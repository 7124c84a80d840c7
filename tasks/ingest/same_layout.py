"""Check that all files of a source have the same layout."""

from tasks.ingest.map_columns import FIELDS, list_names, map_columns
from tasks.ingest.readers import ReadOptions, read_rows
from tasks.ingest.source_files import SourceFile, SourceFiles
from tasks.ingest.unpack_limit import take_sample
from tasks.lib.core.errors import DataError

SAMPLE_ROWS = 100  # of each file
MAX_SHOWN = 10  # files in a message


def check_layouts(
    files: SourceFiles, columns: dict[str, str], options: ReadOptions, where: str
) -> None:
    """Check that the first rows of all files have each field in the same column.

    A field may be absent from some files.

    Raises:
        DataError: Two files differ, or a file has no instruction column. The message lists the
            files with their columns.
    """
    if len(files.files) == 1:
        return
    found = {file.name: _layout(file, columns, options) for file in files.files}
    layouts = [layout for layout in found.values() if layout is not None]
    same = all(
        len({layout[field] for layout in layouts if field in layout}) <= 1 for field in FIELDS
    )
    if same and all("instruction" in layout for layout in layouts):
        return
    shown = [f"\n  {name}: {_describe(layout)}" for name, layout in found.items() if layout]
    more = f"\n  and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else ""
    raise DataError(
        "the files differ in their columns" + "".join(shown[:MAX_SHOWN]) + more,
        where=where,
        fix="Choose files with the same layout with -S 'ingest.files=PATTERN', or rename the "
        "columns.",
    )


def _layout(
    file: SourceFile, chosen: dict[str, str], options: ReadOptions
) -> dict[str, str] | None:
    """Return the column of each field; None if the file has no readable rows."""
    sample = take_sample(read_rows(*file, options), SAMPLE_ROWS, options.bound.limits).rows
    if not sample:
        return None
    names = list(dict.fromkeys(name for row in sample for name in row))
    if chosen:
        known = {field: column for field, column in chosen.items() if column in names}
        return known if "instruction" in known else {"": f"the columns {list_names(names)}"}
    try:
        mapping = map_columns(sample, {}, file.name)
    except DataError as error:
        return {"": error.what}
    kind = " (turns)" if mapping.is_chat else ""
    return {**mapping.columns, "instruction": f"{mapping.columns['instruction']}{kind}"}


def _describe(layout: dict[str, str]) -> str:
    return layout.get("") or ", ".join(f"{field} in {name}" for field, name in layout.items())
