"""Reasons for dropping a row in ingest or a record in dedupe."""

from enum import StrEnum


class IngestDrop(StrEnum):
    """Why a row is dropped. All reasons except the first two are faults in the row."""

    EXCLUDED = "excluded"  # by ingest.exclude
    REPEATED = "repeated"  # same id as an earlier row
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    BAD_ENCODING = "bad_encoding"
    WRONG_CELLS = "wrong_cells"
    MISSING_INSTRUCTION = "missing_instruction"  # absent, null or NaN
    BLANK_INSTRUCTION = "blank_instruction"
    NOT_TEXT = "not_text"
    MEDIA = "media"  # the request includes an image, audio or video
    NUL = "nul"
    LONE_SURROGATE = "lone_surrogate"
    TOO_LONG = "too_long"

    @property
    def is_fault(self) -> bool:
        """Whether the reason counts against ``ingest.max_dropped``."""
        return self not in {IngestDrop.EXCLUDED, IngestDrop.REPEATED}


class DedupeDrop(StrEnum):
    """Why a record counts as a duplicate."""

    HELD_OUT = "held_out"  # equal to or near a record in ingest.decontaminate
    IDENTICAL = "identical"  # the same text after normalisation
    NEAR = "near"
