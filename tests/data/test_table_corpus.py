"""Files as people have them are read as they are meant, or refused in one sentence."""

import pytest

from tests.corpus import CASES
from tests.corpus.reading import read_faults


def name_of(case):
    return f"{case.name} {case.options}" if case.options else case.name


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_file_is_read_as_expected(case, tmp_path):
    if case.lacks:
        pytest.skip(f"needs {', '.join(case.lacks)}")
    assert read_faults(case, tmp_path) == []


def test_names_of_cases_differ():
    names = [name_of(case) for case in CASES]
    assert len(set(names)) == len(names)
