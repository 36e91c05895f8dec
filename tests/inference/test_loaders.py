"""Whatever torch calls data trains a pair, and as the same rows in memory do."""

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import ppvae
from ppvae import likelihoods, networks, posteriors, priors
from ppvae.inference import Checkpoints
from ppvae.inference.steps import minibatches_of

X = torch.randint(0, 2, (50, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(50) % 3


class Pictures:
    """Rows with names, which no class of torch knows of."""

    def __init__(self, rows=50):
        self.rows = rows

    def __len__(self):
        return self.rows

    def __getitem__(self, number):
        return {"image": X[number], "label": int(LABELS[number]), "file": f"{number}.png"}


def vae():
    torch.manual_seed(0)
    return ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, 6, hidden=[8])),
        posteriors.DiagonalNormal(networks.MLP(6, 4, hidden=[8])),
    )


def trained(data, pair=None, **options):
    pair = pair or vae()
    fit = ppvae.fit(pair, data, epochs=2, compile=False, **options)
    return torch.nn.utils.parameters_to_vector(pair.parameters()), fit


def image(item):
    return item["image"]


LOADED = {
    "labels": lambda: (DataLoader(TensorDataset(X, LABELS), 20), {}),
    "text beside": lambda: (DataLoader([(x, "text") for x in X], 20), {}),
    "names": lambda: (DataLoader(Pictures(), 20), {"batch": image}),
    "boolean": lambda: (DataLoader(TensorDataset(X.bool()), 20), {}),
    "double": lambda: (DataLoader(TensorDataset(X.double()), 20), {}),
    "list": lambda: ([{"image": x} for x in X.split(20)], {"batch": image}),
}


@pytest.mark.parametrize("make", LOADED.values(), ids=LOADED.keys())
def test_a_loader_trains_as_its_datapoints_do(make, caplog):
    data, options = make()
    weights, _ = trained(data, **options)
    same = [*X.float().split(20)] if isinstance(data, list) else DataLoader(X.float(), 20)
    assert torch.equal(weights, trained(same)[0])
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (isinstance(data, DataLoader) and len(data.dataset[0]) == 2)
    assert all("2 parts a batch and the pair takes the first" in message for message in told)


def validated(fit):
    return [float(fit.history[name][-1]) for name in ("validation_elbo", "validation_kl")]


def test_validation_may_be_a_loader_or_a_dataset():
    _, expected = trained(X, validation=X[:30])
    for validation in (DataLoader(Pictures(30), 7), Pictures(30), Subset(Pictures(), range(30))):
        _, fit = trained(X, validation=validation, batch=image)
        assert validated(fit) == validated(expected)
    _, fit = trained(X, validation=DataLoader(TensorDataset(X[:30], LABELS[:30]), 7))
    assert validated(fit) == validated(expected)


def test_labels_are_left_aside_once_for_data_and_validation(caplog):
    loader = DataLoader(TensorDataset(X, LABELS), 20)
    trained(loader, validation=loader)
    trained(TensorDataset(X, LABELS))
    assert len(caplog.records) == 2


def test_rows_of_a_dataset_are_shuffled_by_the_seed_alone():
    first, _ = trained(Pictures(), batch_size=16, batch=image, seed=1)
    torch.randn(3)
    again, _ = trained(Pictures(), batch_size=16, batch=image, seed=1)
    other, _ = trained(Pictures(), batch_size=16, batch=image, seed=2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    batches = minibatches_of(Subset(TensorDataset(X), range(50)), vae(), 16)
    orders = [torch.cat([batch.tensors[0] for batch in batches]) for _ in range(2)]
    assert not torch.equal(orders[0], orders[1])
    assert [torch.equal(order.sum(0), X.float().sum(0)) for order in orders] == [True, True]


def test_a_dataset_resumes_within_an_epoch_as_if_it_had_never_stopped(tmp_path):
    class Killed(BaseException):
        pass

    def killing(step):
        if step == 6:  # of 4 steps an epoch
            raise Killed
        return 1.0

    options = dict(batch_size=16, batch=image)
    whole, _ = trained(Pictures(), **options)
    every_step = Checkpoints(tmp_path, 0.0)
    with pytest.raises(Killed):
        trained(Pictures(), **options, kl_weight=killing, checkpoint=every_step)
    assert torch.equal(trained(Pictures(), **options, resume=tmp_path)[0], whole)


class Unsized(torch.utils.data.Dataset):
    def __getitem__(self, number):
        return X[number]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (X, {"batch": image}, ValueError, "batch is for a loader"),
        (Pictures(), {"batch": 16}, TypeError, "batch must be a function .* got int"),
        (Pictures(), {"batch": image, "batch_size": 51}, ValueError, "the 50 rows .* got 51"),
        (Pictures(1), {"batch": image}, ValueError, "data has 1 row; training"),
        (Unsized(), {}, TypeError, "Unsized without a length"),
        ((X, LABELS), {}, TypeError, "2 tensor.s., but the encoder, MLP, takes 1"),
        (X, {"validation": Unsized()}, TypeError, "validation is a Unsized .* length"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(data, options, error, message):
    with pytest.raises(error, match=message):
        trained(data, **options)
