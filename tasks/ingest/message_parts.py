"""Find the text in a turn's content, which may be text or a list of parts."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tasks.ingest.rows import Fault
from tasks.lib.core.drops import IngestDrop

_THOUGHTS = {"thinking", "redacted_thinking", "reasoning"}  # parts that the user does not see
_MEDIA = re.compile(r"(?:input_)?(?:image|audio|video|file)(?:_url)?|inline_?data", re.IGNORECASE)
_MEDIA_MARK = re.compile(r"\A\s*<(image|audio|video)>|<(image|audio|video)>\s*\Z")


def content_text(value: object) -> str | Fault:
    """Return the text of a turn's content, or a fault if it contains media."""
    if value is None or isinstance(value, str):
        mark = _MEDIA_MARK.search(value or "")
        return _media(mark[1] or mark[2]) if mark else value or ""
    if isinstance(value, list | tuple):
        texts = [content_text(part) for part in value if not _is_thought(part)]
        fault = next((text for text in texts if isinstance(text, Fault)), None)
        return fault or "\n".join(text for text in texts if isinstance(text, str) and text)
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    kind = kind_of(value)
    media = next((name for name in (kind, *value) if value.get(name, name) and _is_media(name)), "")
    if media:
        return _media(media)
    inner = next((value[key] for key in ("text", "parts", "content") if value.get(key)), None)
    if inner is not None or kind == "text":
        return content_text(inner)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def kind_of(item: Mapping[str, Any]) -> str:
    """Return the type of a message or of a part; empty if it is not text."""
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


def _is_thought(part: object) -> bool:
    return isinstance(part, Mapping) and kind_of(part) in _THOUGHTS


def _is_media(name: str) -> bool:
    return _MEDIA.fullmatch(name) is not None


def _media(kind: str) -> Fault:
    return Fault(IngestDrop.MEDIA, f"a turn contains media ({kind})")
