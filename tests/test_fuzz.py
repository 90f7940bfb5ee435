"""Every reader, on inputs that are valid and inputs that are damaged: `make fuzz` in small."""

import pytest
from benchmarks.fuzz import FAULTS, NAMES, run_one

INPUTS = 100


@pytest.mark.parametrize("name", NAMES)
def test_readers_give_records_or_a_clear_error(name, tmp_path):
    found = []
    for index in range(INPUTS):
        folder = tmp_path / str(index)
        folder.mkdir()
        found.append(run_one(name, 1, index, folder))
    assert [one for one in found if one.outcome in FAULTS] == []
    # an input generator that breaks everything, or nothing, shows nothing
    assert {one.outcome for one in found} == {"read", "refused"}
