"""Print the lower bounds of pyproject.toml as pins, one a line, for `make test-lowest`."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
for line in project["dependencies"]:
    print(re.sub(r">=([0-9.]+).*", r"==\1", line))
