"""Tables as files."""

from pathlib import Path

import numpy as np
import pandas
import pytest
import xarray as xr

from ppvae import answers

TABLE = pandas.DataFrame(
    {
        "row": [0, 1],
        "cost/km": np.array([5.1, np.nan], dtype=np.float32),
        "kind": np.array(["a", None], dtype=object),
        "mixed": np.array([1.5, "b"], dtype=object),
        "day": np.array(["2024-12-31", "2025-01-01"], dtype="datetime64[s]"),
        "trusted": [True, False],
    }
)


def test_csv_is_written_whole_with_the_shortest_numbers(tmp_path, capsys):
    answers.write_table(TABLE, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "row,cost/km,kind,mixed,day,trusted"
    assert lines[1] == "0,5.1,a,1.5,2024-12-31,True" and lines[2] == "1,,,b,2025-01-01,False"
    answers.write_table(TABLE, answers.STDOUT)
    assert capsys.readouterr().out.splitlines() == lines
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_netcdf_has_a_variable_a_column(tmp_path):
    answers.write_table(TABLE, tmp_path / "t.nc", {"units": "nats"})
    with xr.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as read:
        assert read.sizes == {"data": 2} and read.attrs == {"units": "nats"}
        assert read["cost_km"].attrs["long_name"] == "cost/km"
        assert read.kind.values.tolist() == ["a", ""] and read.trusted.values.tolist() == [1, 0]
        assert read.day.values[0] == np.datetime64("2024-12-31")


def test_parquet_keeps_types(tmp_path):
    pytest.importorskip("pyarrow")
    answers.write_table(TABLE, tmp_path / "t.parquet")
    read = pandas.read_parquet(tmp_path / "t.parquet")
    assert list(read) == list(TABLE) and read["cost/km"].dtype == np.float32
    assert read.mixed.tolist() == ["1.5", "b"]


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '.xls'; expected .csv, .parquet, .nc"):
        answers.check_output(Path("t.xls"))
    with pytest.raises(ValueError, match="there is no folder"):
        answers.check_output(tmp_path / "none" / "t.csv")
