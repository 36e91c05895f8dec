"""Files as people have them, each with what should become of it.

Some come with packages that the library does not need, and are left out where these are missing:
`pip install --no-deps statsmodels vega_datasets palmerpenguins pyarrow openpyxl et_xmlfile`.
`python -m tests.corpus` reads all files, trains a pair on each, and prints what became of it.
"""

from tests.corpus import formats, packages, shapes, values
from tests.corpus.case import Case, Fit, Refused

__all__ = ["CASES", "Case", "Fit", "Refused"]

CASES = [*packages.CASES, *formats.CASES, *values.CASES, *shapes.CASES]
