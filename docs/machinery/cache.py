"""Which results of executed pages may be used again."""

import hashlib
from pathlib import Path


def of_sources(root: Path) -> str:
    """Return a name that changes with the sources of the library, the examples and their pages."""
    digest = hashlib.sha256()
    used = ("docs/machinery/examples.py", "docs/machinery/tutorial.py")
    for pattern in ("ppvae/**/*.py", "examples/**/*.py", *used):
        for path in sorted(root.glob(pattern)):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
