"""`ppvae fit --tensorboard true`: curves in the run's folder, also of a run that goes on."""

import json

import pytest

from ppvae.cli import main
from tests.inference.test_tensorboard import read

RUN = (
    "fit segments --data.rows 60 --latent 2 --network.width 8 --batch_size 4 --steps 12 "
    "--draws 5 --compile false --figures false --folder"
)


@pytest.mark.slow
def test_a_run_goes_on_with_curves_from_its_first_evaluation(tmp_path):
    run = str(tmp_path / "run")
    assert main([*RUN.split(), run]) == 0
    assert not [*tmp_path.glob("run/events*")]
    for steps in ("24", "36"):
        assert main(["fit", "--resume", run, "--steps", steps, "--tensorboard", "true"]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    expected = {json.loads(line)["step"]: json.loads(line)["train_elbo"] for line in lines}
    points = read(tmp_path / "run").Scalars("elbo/train")
    assert {point.step: pytest.approx(point.value) for point in points} == expected
    assert max(expected) == 36 and len(points) == len(expected)
    assert "tensorboard: true" in (tmp_path / "run" / "config.yaml").read_text()
    assert main([*RUN.split(), run, "--overwrite", "true"]) == 0
    assert not [*tmp_path.glob("run/events*")]
