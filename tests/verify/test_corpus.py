"""A pair is trained on every file of the corpus, with finite and sensible numbers."""

import pytest

from tests.corpus import CASES
from tests.corpus.training import run

pytestmark = pytest.mark.verify


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {dict(case.options)}")
def test_a_file_ends_as_expected(case, tmp_path):
    if case.lacks:
        pytest.skip(f"needs {', '.join(case.lacks)}")
    outcome = run(case, tmp_path)
    print(outcome.summary)
    assert outcome.faults == ()
