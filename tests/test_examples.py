"""Every example runs, at a small size."""

import runpy
from pathlib import Path

import pytest
import torch

import ppvae
from examples.tutorial.__main__ import STEPS
from examples.tutorial.__main__ import main as tutorial
from ppvae import data, pairs
from tests.data.test_handwriting import write
from tests.verify.reference import Tutorial, score_tutorial, train_tutorial

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[!_]*.py"))
SMALL = dict.fromkeys(("fit_digits", "own_factor", "own_pair"), (2, 20)) | {"own_table": (2, 30)}


def taken(name):
    """Return an example that has a test of its own, and leave it out of those for all."""
    path = next(path for path in EXAMPLES if path.stem == name)
    EXAMPLES.remove(path)
    return path


REFERENCE = taken("reference_script")
VARIANTS = taken("variants")
OBJECTIVES = taken("objectives")
DISCRETE = taken("discrete_latents")
TRACKER = taken("other_tracker")
MISSING = taken("missing_cells")
HIERARCHY = taken("hierarchy")
CLUSTERS = taken("clusters")
CLASSES = taken("classes")
FEW_LABELS = taken("semi_supervised")
FIGURES = {name: taken(name) for name in ("rotations", "topics", "two_views")}
SHOWN = {
    "rotations": "correlation of found and true angles",
    "topics": "LDA of scikit-learn: coherence",
    "two_views": "upper half, completed",
}
SEQUENCES = taken("sequences")
SCHOOLS = taken("eight_schools")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, capsys):
    runpy.run_path(str(path))["main"](*SMALL[path.stem])
    shown = capsys.readouterr().out
    assert "posterior_kl" in shown


def test_a_tracker_gets_each_evaluation(capsys):
    script, points = runpy.run_path(str(TRACKER)), {}
    script["main"](2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["12", "24"]
    x = torch.randn(30, 2)
    parts = data.split("noise", x, torch.distributions.constraints.real)
    fitted = ppvae.fit(
        pairs.assemble(parts, latent=1),
        parts,
        steps=12,
        compile=False,
        callbacks=[script["Tracked"](lambda metrics, *, step: points.update({step: metrics}))],
    )
    assert list(points) == fitted.history.step.values.tolist()
    for name, curve in fitted.history.items():
        assert [each[name] for each in points.values()] == curve.values.tolist()


def test_missing_cells_are_filled_in(tmp_path, capsys):
    runpy.run_path(str(MISSING))["main"](epochs=2, draws=30, output=str(tmp_path))
    shown = capsys.readouterr().out
    assert "MissingDataVAE" in shown and "of them lie in their interval" in shown
    assert (tmp_path / "missing_cells.png").stat().st_size > 10_000


def test_eight_schools_runs(tmp_path, capsys):
    runpy.run_path(str(SCHOOLS))["main"](steps=10, draws=200, output=str(tmp_path))
    shown = capsys.readouterr().out
    assert "posterior means are off the guide's" in shown and "refined off by" in shown
    assert (tmp_path / "eight_schools.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_example_prints_and_draws(name, tmp_path, capsys):
    runpy.run_path(str(FIGURES[name]))["main"](epochs=1, output=str(tmp_path))
    assert SHOWN[name] in capsys.readouterr().out
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_reference_script_runs(tmp_path, capsys):
    write(tmp_path)  # as many images as MNIST has for training, smaller ones
    script = runpy.run_path(str(REFERENCE))
    script["main"](str(tmp_path), steps=20, output=str(tmp_path / "figures"))
    shown = capsys.readouterr().out.splitlines()
    loss, reconstruction, kl = (float(line.split()[-5]) for line in shown)
    assert loss == pytest.approx(reconstruction + kl, abs=0.02)
    assert (tmp_path / "figures" / "manifold.png").stat().st_size > 10_000


def test_reference_script_starts_from_the_variances_it_names():
    layer = runpy.run_path(str(REFERENCE))["linear"](2000, 500)
    # Standard errors of the two standard deviations: 0.07 % and 3 %.
    assert layer.weight.std().item() == pytest.approx((2 / 2000) ** 0.5, rel=0.003)
    assert layer.bias.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.13)


def test_reference_script_is_the_plain_port_on_the_same_weights_and_draws():
    script = runpy.run_path(str(REFERENCE))
    pair = script["build"](6, hidden=5)
    port = Tutorial(6, hidden=5).copy(layers_of(pair))
    x = torch.rand(20_000, 6)
    ours, theirs = script["score"](pair, x, draws=20), score_tutorial(port, x, draws=20)
    assert ours["KL"] == pytest.approx(theirs["KL"], rel=1e-5)
    # The draws differ: 400,000 of them, whose standard error is below 0.01.
    assert ours["negative ELBO"] == pytest.approx(theirs["negative ELBO"], abs=0.05)


def test_reference_script_takes_the_steps_of_the_plain_port(tmp_path, monkeypatch):
    write(tmp_path)
    script, digits = runpy.run_path(str(REFERENCE)), data.mnist(tmp_path, binarized=False)
    pair = script["build"](6, hidden=5).double()
    port = Tutorial(6, hidden=5).double().copy(layers_of(pair))
    states, shuffle = [], torch.randperm

    def recorded(*args, **kwargs):
        states.append(torch.get_rng_state())
        return shuffle(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randperm", recorded)
        script["train"](pair, digits, 100)
    torch.set_rng_state(states[0])
    train_tutorial(port, digits.train.double(), 100)
    for name, layer in layers_of(pair).items():
        # Steps of 1e-3 go by the sign of small gradients, and rounding grows from step to step.
        torch.testing.assert_close(layer.weight.T, port.weights[name], rtol=0, atol=1e-7)
        torch.testing.assert_close(layer.bias, port.biases[name], rtol=0, atol=1e-7)


def layers_of(pair):
    """Return the linear layers of the script's pair by the names that the port gives them."""
    return {
        "encoder": pair.posterior.network[0],
        "loc": pair.posterior.loc,
        "log_variance": pair.posterior.log_variance,
        "decoder": pair.likelihood.network[0],
        "pixels": pair.likelihood.network[2],
    }


@pytest.mark.slow
def test_tutorial_runs(tmp_path, capsys):
    tutorial(str(tmp_path / "figures"), 0.01)
    shown, errors = capsys.readouterr()
    lines = [line for line in shown.splitlines() if not line.startswith("   drawn: ")]
    assert max(map(len, lines)) < 90
    assert [line.split(".")[0] for line in lines if line[:2].strip(" .").isdigit()] == [
        str(step) for step in STEPS
    ]
    assert errors == ""
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert len(drawn) == shown.count("   drawn: ") == 11


@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param(("FlowPosterior",), marks=pytest.mark.verify, id="two posteriors"),
        pytest.param((), marks=pytest.mark.verify, id="all posteriors"),
    ],
)
def test_variants_runs(left_out, tmp_path, capsys):
    write(tmp_path)
    script = runpy.run_path(str(VARIANTS))
    for name in ("NormalMixture", "FlowPrior"):
        del script["PRIORS"][name]
    for name in left_out:
        del script["POSTERIORS"][name]
    script["main"](str(tmp_path), epochs=1, images=20, draws=20, output=str(tmp_path / "figures"))
    assert capsys.readouterr().out.count("VampPrior") == 2 * len(script["POSTERIORS"])
    assert (tmp_path / "figures" / "variants.png").stat().st_size > 10_000


@pytest.mark.slow
def test_objectives_runs(tmp_path, capsys):
    script = runpy.run_path(str(OBJECTIVES))
    script["main"](epochs=1, draws=(1, 2), gradients=3, output=str(tmp_path))
    shown = capsys.readouterr().out
    assert all(shown.count(f"{name} ") >= 2 for name in script["OBJECTIVES"])
    assert (tmp_path / "objectives.png").stat().st_size > 10_000


@pytest.mark.slow
def test_hierarchy_runs(tmp_path, capsys):
    runpy.run_path(str(HIERARCHY))["main"](epochs=2, draws=20, output=str(tmp_path))
    shown = capsys.readouterr().out
    assert "posterior_kl" in shown and "KL by layer: z2 " in shown
    assert (tmp_path / "hierarchy.png").stat().st_size > 10_000


@pytest.mark.slow
def test_sequences_runs(tmp_path, capsys):
    main = runpy.run_path(str(SEQUENCES))["main"]
    main(epochs=2, rows=300, draws=50, output=str(tmp_path))
    shown = capsys.readouterr().out
    assert "posterior_kl" in shown and "lies in its interval of 90 %" in shown
    assert (tmp_path / "sequences.png").stat().st_size > 10_000


@pytest.mark.slow
def test_clusters_runs(tmp_path, capsys):
    runpy.run_path(str(CLUSTERS))["main"](epochs=3, output=str(tmp_path))
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 13 and "their cluster holds most of" in rows[-1]
    assert sum(int(count) for row in rows[2:12] for count in row.split()[1:]) == 1439
    assert (tmp_path / "clusters.png").stat().st_size > 10_000


@pytest.mark.slow
def test_few_labels_runs(tmp_path, capsys):
    main = runpy.run_path(str(FEW_LABELS))["main"]
    main(epochs=2, labels=(20, 40), output=str(tmp_path))
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[-2:]] == ["20", "40"]
    assert (tmp_path / "semi_supervised.png").stat().st_size > 10_000


@pytest.mark.slow
def test_discrete_latents_runs(capsys):
    script = runpy.run_path(str(DISCRETE))
    script["main"](epochs=1, repeats=20)
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == len(script["WAYS"])
    variances = [float(row.split()[-3]) for row in rows]
    enumeration, score, averaged, others, _ = variances
    assert enumeration < 1e-9 < others < averaged < score


@pytest.mark.slow
def test_classes_runs(tmp_path, capsys):
    runpy.run_path(str(CLASSES))["main"](epochs=2, output=str(tmp_path))
    assert "log P(X|y) of held-out images: -" in capsys.readouterr().out
    for name in ("samples", "translations"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
