"""Tables of odd shapes, damaged files, arrays and pictures."""

import gzip

import numpy as np
import pandas

from tests.corpus import survey
from tests.corpus.case import Case, fit, refused, text

RANDOM = np.random.default_rng(2)
PLAIN = survey.written(survey.table())
HEAD, *BODY = PLAIN.splitlines()
KINDS = survey.KINDS
WIDE = pandas.DataFrame(RANDOM.normal(size=(60, 300)).round(3)).add_prefix("gene")
GRAY = RANDOM.integers(0, 256, (60, 8, 8), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)


def _csv(name, content, expected, file="table.csv", **options):
    return Case(name, text(file, content), expected, options)


def _npy(name, values, expected, **options):
    def write(folder):
        np.save(folder / "values.npy", values)
        return folder / "values.npy"

    return Case(name, write, expected, options)


def _npz(name, expected, **arrays):
    def write(folder):
        np.savez(folder / "values.npz", **arrays)
        return folder / "values.npz"

    return Case(name, write, expected)


def _sparse(folder):
    import scipy.sparse

    counts = scipy.sparse.random(300, 40, 0.1, format="csr", random_state=0)
    counts.data = np.ceil(10 * counts.data)
    scipy.sparse.save_npz(folder / "counts.npz", counts)
    return folder / "counts.npz"


def _pictures(sizes=((8, 8),), classes=("",), mode="L"):
    def write(folder):
        from PIL import Image

        for number in range(30):
            place = folder / "pictures" / classes[number % len(classes)]
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(COLOR[number]).convert(mode)
            picture.resize(sizes[number % len(sizes)]).save(place / f"{number}.png")
        return folder / "pictures"

    return write


CASES = [
    _csv(
        "one column",
        "x\n" + "\n".join(f"{x:.3f}" for x in RANDOM.normal(size=80)),
        fit(80, real="x"),
    ),
    _csv(
        "one column without a name",
        "\n".join(f"{x:.3f}" for x in RANDOM.normal(size=80)),
        fit(80, real="0"),
    ),
    _csv("two rows", "\n".join([HEAD, *BODY[:2]]), refused("2 datapoints", "at least")),
    _csv("ten rows", "\n".join([HEAD, *BODY[:10]]), fit(10, others=True, real="height weight")),
    _csv("an empty file", "", refused("no rows")),
    _csv("line ends alone", "\n\n\n", refused("no rows")),
    _csv("a header alone", HEAD + "\n", refused("rows")),
    _csv(
        "nothing left to model",
        "id,name\n" + "\n".join(f"{n},person {n}" for n in range(50)),
        refused("column"),
    ),
    _csv("all cells missing", "a,b\n" + "NA,NA\n" * 50, refused("column")),
    _csv(
        "a row too short",
        "\n".join([HEAD, *BODY[:50], "1.7,60", *BODY[50:]]),
        fit(121, **KINDS, missing=3, said="row 52"),
    ),
    _csv(
        "a row too long",
        "\n".join([HEAD, *BODY[:50], BODY[50] + ",1,2", *BODY[51:]]),
        refused("row 52", "field"),
    ),
    _csv(
        "a sum below",
        "\n".join([HEAD, *BODY, "Total,8000,,,"]),
        fit(121, others=True, real="height weight", missing=None, said="Total"),
    ),
    _csv(
        "a quote that stays open",
        "\n".join([HEAD, '1.7,"60', *BODY]),
        refused("quotation marks", "row 2"),
    ),
    _csv(
        "gzip that is cut off",
        gzip.compress(PLAIN.encode())[:-400],
        refused("cannot be read"),
        "table.csv.gz",
    ),
    _csv("no gzip", PLAIN, refused("gzip"), "table.csv.gz"),
    _csv("bytes", bytes(range(256)) * 20, refused("text")),
    _csv("another ending", PLAIN, refused(".docx"), "table.docx"),
    _csv(
        "each row twice",
        "\n".join([HEAD, *BODY, *BODY]),
        fit(240, **KINDS, said="copies of training rows"),
    ),
    _csv("more columns than rows", survey.written(WIDE), fit(60, real=list(WIDE.columns))),
    _csv(
        "one row of each class",
        "x,kind\n" + "\n".join(f"{x:.3f},kind {n}" for n, x in enumerate(RANDOM.normal(size=60))),
        refused("'kind'", "classes"),
        label="kind",
    ),
    _csv(
        "a label with gaps",
        PLAIN.replace("Bonn", ""),
        refused("'city'", "data row", "remove"),
        label="city",
    ),
    _csv("a label that is not there", PLAIN, refused("'town'", "city"), label="town"),
    _csv(
        "words alone",
        "a,b\n" + "\n".join(f"{'xyz'[n % 3]},{'uv'[n % 2]}" for n in range(90)),
        fit(90, category="a", binary="b"),
    ),
    _csv(
        "yes or no alone",
        "a,b,c\n" + "\n".join(f"{n % 2},{n // 2 % 2},{n // 3 % 2}" for n in range(90)),
        fit(90, binary="a b c"),
    ),
    _csv(
        "counts alone",
        survey.written(
            pandas.DataFrame(RANDOM.negative_binomial(2, 0.1, (100, 5))).add_prefix("n")
        ),
        fit(100, count="n0 n1 n2 n3 n4"),
    ),
    _csv(
        "scales from 1e-6 to 1e6",
        survey.written(
            pandas.DataFrame(RANDOM.normal(size=(100, 4)) * [1e-6, 1e-2, 1e2, 1e6]).add_prefix("x")
        ),
        fit(100, real="x0 x1 x2 x3"),
    ),
    _csv(
        "rows that are nearly all gaps",
        "a,b,c\n"
        + "\n".join(
            ",".join(f"{x:.3f}" if n % 3 == c else "" for c, x in enumerate(row))
            for n, row in enumerate(RANDOM.normal(size=(90, 3)))
        ),
        fit(90, real="a b c", missing=180),
    ),
    _npy("an array of floating values", RANDOM.normal(size=(80, 5)), fit(80)),
    _npy("gray pictures in an array", GRAY, fit(60)),
    _npy("color pictures in an array, channels last", COLOR, fit(60)),
    _npy("color pictures in an array, channels first", np.moveaxis(COLOR, -1, 1), fit(60)),
    _npy(
        "an array with NaN",
        np.where(RANDOM.uniform(size=(80, 5)) < 0.1, np.nan, 1.0),
        refused("NaN", "impute"),
    ),
    _npy("an array of objects", np.array([{}, []], dtype=object), refused("objects")),
    _npz(
        "an archive with labels",
        fit(80),
        data=RANDOM.normal(size=(80, 5)),
        labels=np.arange(80) % 3,
    ),
    _npz("an archive of two arrays", refused("arrays", "np.savez"), a=GRAY, b=COLOR),
    Case("a sparse matrix", _sparse, refused("sparse")),
    Case("a folder of pictures", _pictures(), fit(30)),
    Case("a folder of pictures by class", _pictures(classes=("cat", "dog")), fit(30)),
    Case("a folder of color pictures", _pictures(mode="RGB"), fit(30)),
    Case("pictures of several sizes", _pictures(sizes=((8, 8), (9, 8))), refused("size")),
    Case(
        "pictures of several sizes, resized",
        _pictures(sizes=((8, 8), (9, 8))),
        fit(30, said="stretched"),
        {"size": [8, 8]},
    ),
    Case("a folder without pictures", lambda folder: folder, refused("no picture")),
    Case("no such file", lambda folder: folder / "table.csv", refused("No such file")),
]
