"""What the columns of a table hold, as a person can read, correct and use again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.files import check_plain
from ppvae.data.plain_yaml import PlainLoader
from ppvae.data.supports import merged
from ppvae.data.tabular.cells import Cells, Frame
from ppvae.data.tabular.columns import KINDS, Category, Column

_LARGEST = 2**24  # bytes
_OF_ALL = ("columns", "set_aside", "label", "labels", "id", "complete")
_HEAD = """\
# What each column of the table holds. Correct it, and pass it as --schema FILE.
# Types: real, positive, count, proportion, binary, category, date. A column that is not listed
# under `columns` is left out.
"""


@dataclass(frozen=True)
class Schema:
    """The columns of a table: those that are modeled, and what the others are.

    Args:
        columns: the columns that are modeled, each as one feature, in the order of the table.
        set_aside: columns that are left out, each with the reason.
        label: the column of the classes, if there is one.
        labels: the classes, in the order of their numbers.
        id: the column that names the rows, if there is one.
        complete: whether no cell may be missing.

    Example:
        >>> from ppvae.data.tabular import Category, Real
        >>> schema = Schema((Real("size"), Category("color", levels=("blue", "red", "green"))))
        >>> frame = {"size": np.array([1.5, 2.5]), "color": np.array(["red", None], dtype=object)}
        >>> x, seen = schema.encode(frame)
        >>> x.tolist(), seen.tolist()
        ([[1.5, 1.0], [2.5, 0.0]], [[1.0, 1.0], [1.0, 0.0]])
        >>> schema.decode(x)["color"].tolist()
        ['red', 'blue']
    """

    columns: tuple[Column, ...]
    set_aside: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    labels: tuple[Any, ...] = ()
    id: str | None = None
    complete: bool = True

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns in the order of the features, those of one kind side by side."""
        kinds = list(KINDS.values())
        return tuple(
            sorted(
                self.columns,
                key=lambda column: (
                    kinds.index(type(column)),
                    getattr(column, "count", 0),
                    getattr(column, "ends", False),
                ),
            )
        )

    @property
    def support(self) -> constraints.Constraint:
        """The values that the features may take."""
        return merged([column.support for column in self.features])

    def encode(self, frame: Frame) -> tuple[Tensor, Tensor]:
        """Return the numbers of a table's cells, and which of them are known, 1 or 0.

        Where a cell is missing stands a number of the column's support.

        Args:
            frame: the columns by name; those that are not modeled are not looked at.

        Returns:
            Two tensors `(data, features)`, in the order of `features`.

        Raises:
            ValueError: if a column is missing, or a cell is not of its column's kind.
        """
        features = self.features
        check_names("the table", [column.name for column in features], frame)
        rows = len(frame[features[0].name])
        x = np.empty((rows, len(features)), dtype=np.float32)
        seen = np.ones_like(x)
        for place, column in enumerate(features):
            numbers = column.encode(frame[column.name])
            empty = np.isnan(numbers)
            if empty.any():
                numbers = np.where(empty, column.filling, numbers)
                seen[empty, place] = 0
            with np.errstate(over="ignore"):
                x[:, place] = numbers
            if not np.isfinite(x[:, place]).all():
                raise ValueError(
                    f"column {column.name!r} holds a value that 32-bit numbers cannot hold; "
                    "divide the column by a constant"
                )
        return torch.from_numpy(x), torch.from_numpy(seen)

    def decode(self, x: Tensor) -> dict[str, Cells]:
        """Return the columns that numbers stand for, in the units, types and order of the table.

        Args:
            x: `(*, features)`.
        """
        numbers = x.detach().cpu().double().numpy()
        places = {column.name: place for place, column in enumerate(self.features)}
        return {c.name: c.decode(numbers[..., places[c.name]]) for c in self.columns}

    def write(self) -> str:
        """Return the text of a YAML file that `read` reads."""
        content: dict[str, Any] = {"columns": {c.name: _described(c) for c in self.columns}}
        for name in _OF_ALL[1:]:
            value = getattr(self, name)
            if value or name == "complete":
                content[name] = _plain(value)
        text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=99)
        return _HEAD + text

    @classmethod
    def read(cls, path: str | Path) -> "Schema":
        """Return the schema of a YAML file.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no schema; the message names what is wrong.
        """
        path = Path(path)
        check_plain(path)
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path} is no schema: it is larger than {_LARGEST} bytes")
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)
        except RecursionError as error:
            raise ValueError(f"{path} is no schema: it is nested too deeply") from error
        except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, too many digits
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is no schema: {reason:.300}") from error
        if not isinstance(content, dict) or not isinstance(content.get("columns"), dict):
            raise ValueError(f"{path} is no schema: it has no `columns`, each with its type")
        for key in content:
            if key not in _OF_ALL:
                raise ValueError(f"{path}: there is no {key!r} in a schema{_meant(key, _OF_ALL)}")
        columns = tuple(_column(path, str(n), about) for n, about in content["columns"].items())
        if not columns:
            raise ValueError(f"{path}: `columns` is empty; expected at least one column")
        aside, complete = content.get("set_aside") or {}, content.get("complete", True)
        labels = content.get("labels") or []
        if not isinstance(aside, dict) or not isinstance(labels, list):
            raise ValueError(f"{path}: expected names with reasons in set_aside, a list in labels")
        if not isinstance(complete, bool):
            raise ValueError(f"{path}: complete is {complete!r}; expected true or false")
        names = {key: content.get(key) for key in ("label", "id")}
        for key, name in names.items():
            if name is not None and not isinstance(name, str):
                raise ValueError(f"{path}: {key} is {name!r}; expected the name of a column")
        return cls(
            columns,
            {str(name): str(reason) for name, reason in aside.items()},
            names["label"],
            tuple(labels),
            names["id"],
            complete,
        )


def check_names(where: str, wanted: Iterable[str], present: Iterable[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ValueError: with what it has instead.
    """
    present = list(present)
    for name in wanted:
        if name not in present:
            shown = ", ".join(present)
            raise ValueError(
                f"{where} has no column {name!r}{_meant(name, present)}; it has {shown:.300}"
            )


def _meant(name: object, names: Iterable[str]) -> str:
    near = get_close_matches(str(name), [str(each) for each in names], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _described(column: Column) -> Any:
    """Return a column's type, with what else it has."""
    kind = next(name for name, kind in KINDS.items() if type(column) is kind)
    own = {f.name: _plain(getattr(column, f.name)) for f in fields(column)[1:]}
    if isinstance(column, Category) and not column.other:
        del own["other"]
    own = {name: value for name, value in own.items() if value not in ([], False)}
    if kind == "date":
        own["whole"] = _plain(getattr(column, "whole", True))
    return {"type": kind, **own} if own else kind


def _plain(value: Any) -> Any:
    """Return a value as YAML can hold it."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _column(path: Path, name: str, about: Any) -> Column:
    """Return the column that a file describes."""
    given = dict(about) if isinstance(about, dict) else {"type": about}
    kind = given.pop("type", None)
    if kind not in KINDS:
        expected = ", ".join(KINDS)
        raise ValueError(
            f"{path}: column {name!r} has the type {kind!r:.60}{_meant(kind, KINDS)}; expected "
            f"{expected}"
        )
    known = {f.name: f.type for f in fields(KINDS[kind])[1:]}
    for key, value in given.items():
        if key not in known:
            raise ValueError(
                f"{path}: column {name!r} has {key!r}{_meant(key, known)}; a {kind} column has "
                f"type, {', '.join(known)}"
            )
        wanted = bool if known[key] is bool else list
        if not isinstance(value, wanted):
            what = "true or false" if wanted is bool else "a list"
            raise ValueError(f"{path}: {key} of column {name!r} is {value!r}; expected {what}")
        if isinstance(value, list):
            if not all(isinstance(each, str | int | float) for each in value):
                raise ValueError(
                    f"{path}: {key} of column {name!r} holds {value!r:.100}; expected texts, "
                    "numbers, true or false"
                )
            given[key] = tuple(value)
    column = KINDS[kind](name, **given)
    if isinstance(column, Category):
        least = 2 if kind == "category" else 2 - (len(column.levels) > 2)
        if len(column.levels) < least or (kind == "binary" and len(column.levels) != 2):
            raise ValueError(
                f"{path}: column {name!r} has {len(column.levels)} levels; expected "
                f"{'2' if kind == 'binary' else 'at least 2'}"
            )
    return column
