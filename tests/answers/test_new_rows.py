"""Rows that a pair was not fitted to, and rows of a class."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.distributions import constraints

import ppvae
from ppvae import answers, data, likelihoods, networks, pairs, posteriors, priors


def cars(missing=0):
    generator = np.random.default_rng(0)
    size = np.round(generator.normal(5, 1, 60), 1)
    size[:missing] = np.nan
    return {
        "name": [f"car {number}" for number in range(60)],
        "kind": np.array(["van", "bus", "cab"] * 20, dtype=object),
        "size": size,
        "seats": generator.poisson(4, 60) + 1,
    }


def test_a_file_of_the_same_rows_is_read_as_the_dataset(tmp_path):
    import pandas

    frame = pandas.DataFrame(cars(missing=4))
    dataset = data.table(frame, label="kind", id="name").conditional()
    pair = pairs.assemble(dataset, latent=2)
    known = answers.encode(pair, dataset, split="all")
    file = tmp_path / "new.csv"
    frame[["seats", "kind", "size", "name"]].to_csv(file, index=False)
    for source in (str(file), file, frame):
        new = answers.encode(pair, answers.new_rows(dataset, source))
        assert list(new)[:3] == ["row", "name", "kind"]
        assert new.equals(known)


def test_rows_that_do_not_fit_are_refused_in_words(tmp_path):
    frame = cars()
    dataset = data.table(frame, label="kind", id="name")
    frame["size"] = np.where(np.arange(60) == 7, np.nan, frame["size"])
    with pytest.raises(ValueError, match=r"column 'size' has no known value in data row 8"):
        answers.new_rows(dataset, frame)
    without = {key: cells for key, cells in cars().items() if key in ("size", "seats")}
    rows = answers.new_rows(dataset, without)  # neither ids nor classes are needed
    assert rows.labels is None and not rows.names
    with pytest.raises(ValueError, match="given the class of each row.*add a column 'kind'"):
        answers.new_rows(dataset.conditional(), without)
    odd = {**cars(), "kind": np.array(["van"] * 59 + ["ship"], dtype=object)}
    with pytest.raises(ValueError, match="data row 60 has no class that the pair knows.*bus, cab"):
        answers.new_rows(dataset.conditional(), odd)


def test_arrays_and_pictures_are_read_as_the_data_were(tmp_path):
    digits = data.digits()
    values = digits.test[:5].numpy().astype(np.uint8)
    np.save(tmp_path / "five.npy", values)
    for source in (str(tmp_path / "five.npy"), values, torch.as_tensor(values)):
        (x,) = answers.new_rows(digits, source).batch
        assert torch.equal(x, digits.test[:5])
    with pytest.raises(ValueError, match="has 63 values a row; expected 64"):
        answers.new_rows(digits, values[:, :63])
    with pytest.raises(ValueError, match="outside the support"):
        answers.new_rows(digits, values + 17)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        Image.new("L", (4, 3), 20 * number).save(folder / f"{number:02}.png")
    pictures = data.images(folder)
    rows = answers.new_rows(pictures, folder)
    assert rows.names[3] == "03.png"
    assert torch.equal(rows.batch[0], answers.rows_of(pictures, "all").batch[0])


def test_rows_are_drawn_of_a_class_by_its_name_or_number():
    dataset = data.table(cars(), label="kind", id="name").conditional()
    pair = pairs.assemble(dataset, latent=2)
    for label in ("cab", 1):
        table = answers.sample(pair, dataset, 70, label=label)
        assert set(table.kind) == {"cab"} and list(table) == ["kind", "size", "seats"]
        assert table.seats.dtype == np.int64
    mixed = answers.sample(pair, dataset, 300).kind.value_counts()
    shares = dataset.labels["train"].bincount() / len(dataset.train)
    for name, share in zip(("bus", "cab", "van"), shares.tolist(), strict=True):
        assert abs(mixed[name] / 300 - share) < 5 * np.sqrt(share / 300)
    with pytest.raises(
        ValueError, match="there is no class 'ship'; expected one of bus, cab, van"
    ):
        answers.sample(pair, dataset, 1, label="ship")
    plain = data.table(cars(), label="kind", id="name")
    with pytest.raises(ppvae.Unsupported, match="not given the class of a row"):
        answers.sample(pairs.assemble(plain, latent=2), plain, 1, label="cab")


class Sure(torch.nn.Module):
    """Maps a class, one-hot behind z, to logits of 0 or 1 in three places."""

    def forward(self, z, given):
        return 100 * given[..., 1:] - 50 + torch.zeros(3) * z


def test_a_semi_supervised_pair_draws_rows_of_a_class_and_keeps_those_of_others():
    """Rows of class 1 are all ones, of class 0 all zeros, and the pair knows it."""
    classes = torch.arange(60) % 2
    x = classes.float().unsqueeze(1).expand(-1, 3)
    bits = data.split("bits", x, constraints.boolean, labels=classes).labeled(known=10)
    pair = pairs.SemiSupervisedVAE(
        priors.StandardNormal(1),
        likelihoods.Bernoulli(Sure()),
        posteriors.DiagonalNormal(networks.First(torch.nn.Linear(3, 2))),
        torch.nn.Linear(3, 2),
        shares=[0.5, 0.5],
    )
    for label in ("0", 1):
        table = answers.sample(pair, bits, 70, label=label)
        assert next(iter(table)) == "label" and set(table.label.astype(str)) == {str(label)}
        assert bool((table.iloc[:, 1:] == int(label)).all(axis=None))
    with torch.no_grad():  # q(y|x) is sure
        pair.classifier.weight.copy_(torch.tensor([[-99.0] * 3, [99.0] * 3]))
        pair.classifier.bias.copy_(torch.tensor([99.0, -99.0]))
    table = answers.reconstruct(pair, bits, draws=3)
    assert np.allclose(table.iloc[:, -3:], bits.test)


class Means(torch.nn.Module):
    """Maps a class, one-hot behind z, to the mean 10 times its number."""

    def forward(self, z, given):
        return 10 * given @ torch.arange(3.0)[:, None] + 0 * z[..., :1]


def test_what_is_drawn_is_of_the_class_that_is_asked_for():
    labels = torch.arange(60) % 3
    parts = data.split("x", 10.0 * labels[:, None], constraints.real, labels=labels).conditional()
    pair = pairs.assemble(parts, latent=1)
    pair.likelihood = ppvae.likelihoods.Normal(Means(), scale=0.1)
    x, classes = answers.draw_rows(pair, parts, 200)
    assert torch.equal(x.round(decimals=-1).flatten(), 10.0 * classes)
    x, classes = answers.draw_rows(pair, parts, 20, label=2)
    assert set(classes.tolist()) == {2} and bool((x > 19).all())
