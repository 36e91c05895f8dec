"""One and the same table, written in the forms that programs and people give tables."""

import gzip
import io
import zipfile

from tests.corpus import survey
from tests.corpus.case import Case, fit, refused, text

T, W = survey.table(), survey.western()
N, KINDS = survey.ROWS, survey.KINDS
ALL = fit(N, **KINDS)
PLAIN = survey.written(T)
HEAD, *BODY = PLAIN.splitlines()
NUMBERS = T[["height", "weight"]]
REALS = fit(N, real="0 1")


def _same(name, file, content, encoding="utf-8", expected=ALL, **options):
    return Case(name, text(file, content, encoding), expected, options)


def _zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("survey.csv", PLAIN)
    return buffer.getvalue()


def _padded(table):
    """Return columns aligned by spaces, as programs for people print them."""
    return table.to_string(index=False)


def _thousands(value):
    return f"{value:,}"


CASES = [
    _same("commas", "survey.csv", PLAIN),
    _same("semicolons, decimal comma", "survey.csv", survey.written(W, sep=";", decimal=",")),
    _same("semicolons, decimal point", "survey.csv", survey.written(W, sep=";")),
    _same("tabs, .tsv", "survey.tsv", survey.written(T, sep="\t")),
    _same("tabs, .txt", "survey.txt", survey.written(T, sep="\t")),
    _same("tabs, decimal comma", "survey.txt", survey.written(T, sep="\t", decimal=",")),
    _same("bars", "survey.txt", survey.written(T, sep="|")),
    _same("aligned by spaces", "survey.txt", _padded(T)),
    _same("gzip", "survey.csv.gz", gzip.compress(PLAIN.encode())),
    _same("gzip of tabs", "survey.tsv.gz", gzip.compress(survey.written(T, sep="\t").encode())),
    _same("ending in capitals", "SURVEY.CSV", PLAIN),
    _same(
        "pandas' own index",
        "survey.csv",
        survey.written(T, index=True),
        expected=fit(N, **KINDS, said="first column counts"),
    ),
    _same(
        "R's write.csv",
        "survey.csv",
        survey.written(T.set_axis(range(1, N + 1)), index=True, quoting=2),
        expected=fit(N, **KINDS, said="first column counts"),
    ),
    # R names rows, but not the column of these names.
    _same(
        "R's write.table",
        "survey.txt",
        "\n".join(
            [
                " ".join(f'"{name}"' for name in T.columns),
                *survey.lines(
                    T.set_axis([f"{n}" for n in range(1, N + 1)]),
                    sep=" ",
                    index=True,
                    header=False,
                    quoting=2,
                ),
            ]
        ),
        expected=fit(N, **KINDS, said="first column counts"),
    ),
    _same("cp1252", "survey.csv", survey.written(W), "cp1252"),
    _same("latin-1, semicolons", "survey.csv", survey.written(W, sep=";", decimal=","), "latin-1"),
    _same("UTF-16, as Excel's Unicode text", "survey.txt", survey.written(T, sep="\t"), "utf-16"),
    _same("byte order mark", "survey.csv", PLAIN, "utf-8-sig"),
    _same("Windows' line ends", "survey.csv", PLAIN.replace("\n", "\r\n")),
    _same("old Macs' line ends", "survey.csv", PLAIN.replace("\n", "\r")),
    _same("no line end at the end", "survey.csv", PLAIN.rstrip("\n")),
    _same("empty lines", "survey.csv", "\n" + PLAIN.replace("\n", "\n\n")),
    _same("comment lines", "survey.csv", "# Survey of 2019\n# by mail\n" + PLAIN),
    _same(
        "a title above",
        "survey.csv",
        "Survey of 2019\n" + PLAIN,
        expected=fit(N, **KINDS, said="Survey of 2019"),
    ),
    _same(
        "a title and an empty line above",
        "survey.csv",
        "Survey of 2019\n\n" + PLAIN,
        expected=fit(N, **KINDS, said="Survey of 2019"),
    ),
    _same(
        "a title with its separators",
        "survey.csv",
        "Survey of 2019,,,,\n" + PLAIN,
        expected=fit(N, **KINDS, said="Survey of 2019"),
    ),
    _same(
        "Excel's line of the separator",
        "survey.csv",
        "sep=;\n" + survey.written(W, sep=";", decimal=","),
    ),
    _same(
        "separators at the ends",
        "survey.csv",
        "\n".join(f"{line}," for line in [HEAD, *BODY]),
        expected=fit(N, **KINDS, others=True, missing=None),
    ),
    _same(
        "spaces around the cells",
        "survey.csv",
        "\n".join(line.replace(",", " , ") for line in [HEAD, *BODY]),
    ),
    _same("all in quotes", "survey.csv", survey.written(T, quoting=1)),
    _same("all in single quotes", "survey.csv", survey.written(T, quoting=1, quotechar="'")),
    _same(
        "thousands in quotes",
        "survey.csv",
        survey.column(map(_thousands, range(1000, 1000 + 137 * N, 137)), "income"),
        expected=fit(N, **{**KINDS, "count": "income visits"}),
    ),
    _same(
        "thousands by points",
        "survey.csv",
        survey.column(
            (f"{1000 + 137 * n:,}".replace(",", ".") for n in range(N)),
            "income",
            sep=";",
            decimal=",",
        ),
        expected=fit(N, others=True, real="height weight", missing=0),
    ),
    _same(
        "three digits after a decimal comma",
        "survey.csv",
        survey.written(
            T.assign(height=T["height"] / 10), sep=";", decimal=",", float_format="%.3f"
        ),
        expected=fit(N, **KINDS, said="decimal commas"),
    ),
    _same(
        "percent signs",
        "survey.csv",
        survey.column((f"{n % 90 + 0.5}%" for n in range(N)), "share"),
        expected=fit(N, **{**KINDS, "real": "height weight share"}, said="%"),
    ),
    _same(
        "currency",
        "survey.csv",
        survey.column((f"${(n * 7919) % 1000 + 0.25}" for n in range(N)), "price"),
        expected=fit(N, **{**KINDS, "real": "height weight price"}, said="$"),
    ),
    _same("no header", "survey.csv", survey.written(NUMBERS, header=False), expected=REALS),
    _same(
        "no header, text too",
        "survey.csv",
        "\n".join(BODY),
        expected=fit(N, real="0 1", count="2", binary="3", category="4"),
    ),
    _same(
        "years as a header",
        "survey.csv",
        survey.written(NUMBERS.set_axis(["2019", "2020"], axis=1)),
        expected=fit(N, real="2019 2020", said="header=False"),
    ),
    _same(
        "said: no header",
        "survey.csv",
        survey.written(NUMBERS.set_axis([1, 2], axis=1)),
        expected=fit(N + 1, real="0 1"),
        header=False,
    ),
    _same(
        "two columns of one name",
        "survey.csv",
        PLAIN.replace("weight", "height", 1),
        expected=fit(N, others=True, said="height"),
    ),
    _same(
        "a column without a name",
        "survey.csv",
        PLAIN.replace("weight", "", 1),
        expected=fit(N, count="visits", others=True, real="height"),
    ),
    _same(
        "names of many signs",
        "survey.csv",
        PLAIN.replace("height", '"Körper-Größe [m], ""exakt"""'),
        expected=fit(N, **{**KINDS, "real": ['Körper-Größe [m], "exakt"', "weight"]}),
    ),
    _same(
        "line ends in cells",
        "survey.csv",
        survey.column((f"line {n}\nand, {n}" for n in range(N)), "note"),
        expected=fit(N, **KINDS, aside={"note": "differ"}),
    ),
    _same(
        "a row of units",
        "survey.csv",
        "\n".join([HEAD, "m,kg,,,", *BODY]),
        expected=fit(N, **KINDS, said="kg"),
    ),
    _same(
        "a label",
        "survey.csv",
        PLAIN,
        expected=fit(N, real="height weight", count="visits", binary="smoker"),
        label="city",
    ),
    _same("a zip archive", "survey.csv", _zipped(), expected=refused("zip")),
    _same("an Excel file called .csv", "survey.csv", _zipped(), expected=refused("survey.csv")),
    _same(
        "a page of the web",
        "survey.csv",
        "<!DOCTYPE html>\n<html><body><p>Not found</p></body></html>\n",
        expected=refused("HTML"),
    ),
    _same("JSON called .csv", "survey.csv", T.to_json(orient="records"), expected=refused("JSON")),
    _same("JSON", "survey.json", T.to_json(orient="records"), expected=refused(".json")),
    Case(
        "parquet", lambda folder: _file(folder, "survey.parquet", "parquet"), ALL, {}, ["pyarrow"]
    ),
    Case(
        "feather", lambda folder: _file(folder, "survey.feather", "feather"), ALL, {}, ["pyarrow"]
    ),
    Case("Excel", lambda folder: _file(folder, "survey.xlsx", "excel"), ALL, {}, ["openpyxl"]),
]


def _file(folder, name, how):
    path = folder / name
    getattr(T, f"to_{how}")(path, **({"index": False} if how == "excel" else {}))
    return path
