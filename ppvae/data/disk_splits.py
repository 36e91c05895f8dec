"""Splits rows on disk into training, validation and test rows, without reading them."""

import fnmatch
import math
import random
from pathlib import Path

from ppvae.data.row_pieces import RowPieces
from ppvae.data.rows_on_disk import RowsOnDisk

_RUNS = 64  # of consecutive rows in validation and test, at least


def split_pieces(
    path: Path,
    rows: RowsOnDisk,
    validation: float | str,
    test: float | str,
    held_out: int,
    shuffle: bool,
    seed: int,
) -> dict[str, RowPieces]:
    """Return the pieces of the rows that are for training, validation and testing.

    The arguments are those of `on_disk`.

    Raises:
        ValueError: if a part would be empty, or a pattern fits no file or one of the other part.
    """
    wanted = {"validation": validation, "test": test}
    found: dict[str, RowPieces] = {}
    owner: dict[int, str] = {}
    for part, pattern in wanted.items():
        if isinstance(pattern, str):
            for place in _matched(path, rows, part, pattern):
                if place in owner:
                    raise ValueError(
                        f"{rows.shards[place].path} fits validation={validation!r} and "
                        f"test={test!r}; expected one of them"
                    )
                owner[place] = part
    for part in wanted:
        if part in owner.values():
            found[part] = _of_files(rows, [place for place in owner if owner[place] == part])
    rest = _of_files(rows, [place for place in range(len(rows.shards)) if place not in owner])
    fractions = {part: each for part, each in wanted.items() if not isinstance(each, str)}
    n = len(rest)
    sizes = {
        part: min(math.floor(n * each), held_out) if each < 1 else n
        for part, each in fractions.items()
    }
    if min(sizes.values(), default=1) < 1 or n - sum(sizes.values()) < 1:
        raise ValueError(
            f"{path}: {n} rows cannot be split into validation={validation}, test={test} and a "
            "rest, each with at least one row; take other fractions or more data"
        )
    return {**found, **_of_fractions(rest, sizes, shuffle, seed)}


def _matched(path: Path, rows: RowsOnDisk, part: str, pattern: str) -> list[int]:
    if not path.is_dir():
        raise ValueError(
            f"{part}={pattern!r} is a pattern of files in a folder, and {path} is a file; pass a "
            "fraction"
        )
    names = [shard.path.relative_to(path).as_posix() for shard in rows.shards]
    matched = [place for place, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
    if not matched:
        raise ValueError(
            f"{part}={pattern!r} fits none of the {len(names)} files in {path}, such as {names[0]}"
        )
    return matched


def _of_files(rows: RowsOnDisk, files: list[int]) -> RowPieces:
    return RowPieces([(int(rows.begins[file]), int(rows.begins[file + 1])) for file in files])


def _of_fractions(
    rest: RowPieces, sizes: dict[str, int], shuffle: bool, seed: int
) -> dict[str, RowPieces]:
    """Return pieces of so many rows each, and those of the others for training."""
    n = len(rest)
    spans: dict[str, list[tuple[int, int]]] = {part: [] for part in sizes}
    if not shuffle:
        start = n - sum(sizes.values())
        for part, size in sizes.items():
            spans[part].append((start, start + size))
            start += size
    elif sizes:
        length = max(1, min(sizes.values()) // _RUNS)
        counts = {part: math.ceil(size / length) for part, size in sizes.items()}
        total = min(sum(counts.values()), n // length)
        runs = random.Random(seed).sample(range(n // length), total)
        for part, size in sizes.items():
            own, runs = runs[: counts[part]], runs[counts[part] :]
            left = size
            for run in own:
                spans[part].append((run * length, run * length + min(length, left)))
                left -= length
    taken = sorted(span for each in spans.values() for span in each)
    edges = [0, *(edge for span in taken for edge in span), n]
    spans["train"] = [
        (begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if begin < end
    ]
    return {
        part: RowPieces.joined([rest.between(begin, end) for begin, end in sorted(each)])
        for part, each in spans.items()
    }
