"""What the columns of a table hold: cells as numbers, numbers as cells, and their file."""

import numpy as np
import pytest
import torch

from ppvae import data
from ppvae.data.tabular import (
    Binary,
    Category,
    Count,
    Date,
    Positive,
    Proportion,
    Real,
    Schema,
)

DAYS = np.array(["2020-01-01", "2024-02-29", "1969-12-31"], dtype="datetime64[D]")
CELLS = {
    "real": (Real("a"), [1.5, -2.0, 0.25]),
    "whole": (Real("a", whole=True), [1990, 2001, -3]),
    "positive": (Positive("a"), [0.5, 1e4, 2.0]),
    "positive and whole": (Positive("a", whole=True), [1, 10_000, 3]),
    "count": (Count("a"), [0, 7, 300]),
    "proportion": (Proportion("a"), [0.25, 0.5, 0.75]),
    "proportion with ends": (Proportion("a", ends=True), [0.0, 0.5, 1.0]),
    "text": (Category("a", levels=("blue", "green", "red")), ["red", "blue", "green"]),
    "codes": (Category("a", levels=(1, 5, 9)), [9, 1, 5]),
    "answers": (Binary("a", levels=("no", "yes")), ["yes", "no", "yes"]),
    "booleans": (Binary("a", levels=(False, True)), [True, False, True]),
    "dates": (Date("a"), DAYS),
}


@pytest.mark.parametrize(("column", "cells"), CELLS.values(), ids=CELLS.keys())
def test_cells_come_back_as_they_were(column, cells, tmp_path):
    cells = np.asarray(cells)
    schema = Schema((column,), complete=False)
    x, seen = schema.encode({"a": cells})
    assert bool((seen == 1).all()) and bool(column.support.check(x).all())
    back = schema.decode(x)["a"]
    assert back.tolist() == cells.tolist() and back.dtype.kind in (cells.dtype.kind, "O")
    # Cells of text, as a file has them, are the same numbers; a missing one is none.
    texts = np.array([*map(str, cells), None], dtype=object)
    again, known = schema.encode({"a": texts})
    assert torch.equal(again[:3], x) and known[:, 0].tolist() == [1, 1, 1, 0]
    (tmp_path / "schema.yaml").write_text(schema.write(), encoding="utf-8")
    assert Schema.read(tmp_path / "schema.yaml") == schema


def test_unlisted_levels_are_other_or_missing():
    cells = np.array(["a", "new", None], dtype=object)
    x, seen = Schema((Category("c", levels=("a", "b"), other=True),)).encode({"c": cells})
    assert x[:, 0].tolist() == [0, 2, 0] and seen[:, 0].tolist() == [1, 1, 0]
    x, seen = Schema((Category("c", levels=("a", "b")),)).encode({"c": cells})
    assert seen[:, 0].tolist() == [1, 0, 0]


REFUSED = {
    "text for a number": (Real("a"), ["1", "two"], "'two' in data row 2; expected numbers"),
    "zero for a positive": (Positive("a"), [1, 0], "'0' in data row 2; expected positive"),
    "half a count": (Count("a"), [1, 0.5], "'0.5' in data row 2; expected whole numbers from 0"),
    "two as a proportion": (Proportion("a"), [0.5, 2], "expected numbers above 0 and below 1"),
    "no date": (Date("a"), np.array(["2020-01-01", "soon"], object), "expected dates such as"),
    "infinity": (Real("a"), [1, np.inf], "expected finite numbers"),
    "too large": (Real("a"), [1, 1e300], "32-bit numbers cannot hold"),
}


@pytest.mark.parametrize(("column", "cells", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_cells_of_another_kind_are_refused(column, cells, message):
    with pytest.raises(ValueError, match="column 'a'") as error:
        Schema((column,)).encode({"a": np.asarray(cells)})
    assert message in str(error.value)


BAD_FILES = {
    "no columns": ("a: 1", "has no `columns`"),
    "no type": ("columns: {a: reel}", "the type 'reel' (did you mean 'real'?); expected real"),
    "another key": (
        "columns: {a: real}\nlable: b",
        "no 'lable' in a schema (did you mean 'label'",
    ),
    "another option": ("columns: {a: {type: real, levels: [1]}}", "column 'a' has 'levels'"),
    "one level": ("columns: {a: {type: category, levels: [1]}}", "has 1 levels; expected at"),
    "levels of lists": ("columns: {a: {type: category, levels: [[1], 2]}}", "expected texts"),
    "a tag": ("columns: !!python/name:os.system {}", "a tag"),
    "an alias": ("columns: {a: &x {type: real}, b: *x}", "an alias"),
    "no YAML": ("columns: [", "is no schema"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_schema_is_one_sentence(text, message, tmp_path):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ValueError) as error:
        Schema.read(tmp_path / "s.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_features_of_one_kind_stand_side_by_side_and_columns_keep_their_order():
    columns = (
        Category("c", levels=(1, 2, 3)),
        Real("a"),
        Category("d", levels=(1, 2, 3)),
        Real("b"),
    )
    schema = Schema(columns)
    assert [column.name for column in schema.features] == ["a", "b", "c", "d"]
    assert schema.support.lengths == [2, 2]
    frame = {"a": [0.5], "b": [1.5], "c": [3], "d": [1]}
    x, _ = schema.encode({name: np.array(cells) for name, cells in frame.items()})
    assert x.tolist() == [[0.5, 1.5, 2, 0]] and list(schema.decode(x)) == ["c", "a", "d", "b"]


def test_a_table_goes_by_the_schema_that_is_passed(tmp_path):
    random = np.random.default_rng(0)
    frame = {"size": random.normal(size=40), "code": np.arange(40) % 3, "kind": ["a", "b"] * 20}
    found = data.table(frame, label="kind")
    assert [type(column) for column in found.schema.columns] == [Real, Category]
    text = found.schema.write().replace("type: category", "type: category\n    other: true")
    (tmp_path / "s.yaml").write_text(text)
    corrected = data.table({**frame, "code": [7] * 40}, schema=tmp_path / "s.yaml")
    assert corrected.train[:, 1].tolist() == [3.0] * 32
    assert corrected.label_names == found.label_names == ("a", "b")
    other = data.table({**frame, "pet": ["cat", "dog"] * 20}, schema=found.schema, label="pet")
    assert other.label_names == ("cat", "dog")
    with pytest.raises(ValueError, match="no column 'size' .*; it has"):
        data.table(
            {"sizes": [1.0] * 40, "code": [1] * 40, "kind": ["a"] * 40}, schema=found.schema
        )
