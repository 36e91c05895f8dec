"""Which results of executed pages may be used again."""

import hashlib
from pathlib import Path


def of_sources(root: Path) -> str:
    """Return a name that changes with the sources of the library and the examples."""
    digest = hashlib.sha256()
    for folder in ("ppvae", "examples", "docs/machinery"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
