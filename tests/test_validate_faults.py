"""Every fault of a run is found, and its row named."""

import pytest

from tasks.lib.documents.validation import ValidationResult
from tests.pool_faults import POOL_FAULTS, Fault
from tests.selection_faults import SELECTION_FAULTS
from tests.sound_run import findings_of, sound

FAULTS = POOL_FAULTS + SELECTION_FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_and_its_row_named(fault: Fault, sound_result: ValidationResult):
    run = sound()
    fault.change(run)
    unmet = {f.expectation: f.detail for f in findings_of(run, fault.table) if not f.success}
    assert set(unmet) == set(fault.breaks)
    assert fault.named in unmet[fault.breaks[0]]


def test_every_expectation_is_broken_by_some_fault(sound_result: ValidationResult):
    broken = {(fault.table, sentence) for fault in FAULTS for sentence in fault.breaks}
    assert broken == {(finding.table, finding.expectation) for finding in sound_result.expectations}
