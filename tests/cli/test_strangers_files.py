"""Files that a stranger sent: nothing that they name is imported, run, written or removed."""

import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import ppvae
from ppvae import data, pairs
from ppvae.cli import main
from ppvae.inference.persistence import ClosedList
from ppvae.pairs import Program

UNSAFE_LOAD = {
    "class_path": "ppvae.cli.configuration.yaml.unsafe_load",
    "init_args": {"stream": "!!python/object/apply:os.mkdir [ran]"},
}
TORCH_LOAD = {
    "class_path": "ppvae.engine.isolation.torch.load",
    "init_args": {"f": "run/pickled.pt", "weights_only": False},
}
EVIL = {"class_path": "evil.Net"}


def elbo(value):
    return {"class_path": "pyro.infer.Trace_ELBO", "init_args": {"num_particles": value}}


def supported(value, at="ppvae.data.dataset.constraints.interval"):
    support = {"class_path": at, "init_args": {"lower_bound": value, "upper_bound": 1}}
    return {"class_path": "ppvae.data.Dataset", "init_args": {"support": support}}


def of_array(**arguments):
    return {"class_path": "ppvae.data.array", "init_args": {"path": "x.npy", **arguments}}


# What a file says, and words of the refusal.
ATTACKS = {
    "an import of our module": ({"objective": elbo(UNSAFE_LOAD)}, "yaml.unsafe_load"),
    "an import of torch": ({"objective": elbo(TORCH_LOAD)}, "torch.load"),
    "an import below the data": ({"data": supported(UNSAFE_LOAD)}, "dataset.constraints.interval"),
    "an import below a support": (
        {"data": supported(UNSAFE_LOAD, "torch.distributions.constraints.interval")},
        "'data.init_args.support.init_args.lower_bound.class_path'",
    ),
    "a pickle below a support": (
        {"data": supported(TORCH_LOAD, "torch.distributions.constraints.interval")},
        "isolation.torch.load",
    ),
    "YAML in a network": ({"network": "{class_path: evil.Net}"}, "under 'network'"),
    "YAML without braces": ({"network": "class_path: evil.Net"}, "under 'network'"),
    "YAML in a likelihood": ({"likelihood": "{class_path: evil.Net}"}, "under 'likelihood'"),
    "YAML in an objective": ({"objective": "{class_path: evil.Net}"}, "under 'objective'"),
    "YAML in an optimizer": ({"optimizer": "class_path: evil.Net"}, "under 'optimizer'"),
    "YAML in a weight": ({"kl_weight": "{class_path: evil.Net}"}, "under 'kl_weight'"),
    "YAML in a number": ({"latent": "{class_path: evil.Net}"}, "latent: expected int"),
    "YAML in a support": (
        {
            "data": {
                "class_path": "ppvae.data.Dataset",
                "init_args": {"support": "{class_path: x}"},
            }
        },
        "data.init_args.support",
    ),
    "YAML in the data": ({"data": "{class_path: evil.Net}"}, "under 'data'"),
    "JSON in a network": ({"network": json.dumps(EVIL)}, "under 'network'"),
    "letters of another alphabet": ({"network": "ｅvil.Net"}, "under 'network'"),
    "a pair of another alphabet": ({"pair": {"class_path": "évil.Net"}}, "'pair.class_path'"),
    "data of another alphabet": ({"data": "évil.net"}, "under 'data'"),
    "a class for a path": ({"data": of_array(path=EVIL)}, "'data.init_args.path.class_path'"),
    "a class for a switch": ({"figures": EVIL}, "under 'figures.class_path'"),
    "a class in a list": (
        {"network": {"class_path": "ppvae.networks.MLP", "init_args": {"hidden": [3, EVIL]}}},
        "'network.init_args.hidden.1.class_path'",
    ),
    "a class in a mapping": ({"seed": {"deep": [{"er": EVIL}]}}, "'seed.deep.0.er.class_path'"),
    "a class as an argument": (
        {"network": {"class_path": "ppvae.networks.MLP", "init_args": {"activation": "evil.Net"}}},
        "'network.init_args.activation'",
    ),
    "a class without annotation": ({"objective": elbo("evil.Net")}, "num_particles"),
    "a function of ours": ({"kl_weight": "ppvae.inference.load"}, "under 'kl_weight'"),
    "a function of torch": ({"network": "torch.hub.load"}, "under 'network'"),
    "a class of another kind": ({"network": "torch.optim.SGD"}, "expected a class of Module"),
    "a class that writes": (
        {"kl_weight": {"class_path": "ppvae.reports.Metrics", "init_args": {"folder": "."}}},
        "'ppvae.reports.Metrics'",
    ),
    "a module": ({"network": "evil"}, "under 'network'"),
    "a private class": ({"pair": "ppvae.pairs.vae._Program"}, "under 'pair'"),
    "a class of a class": ({"network": "ppvae.networks.MLP.__init__.__globals__"}, "'network'"),
    "arguments beside": (
        {"optimizer": {"class_path": "torch.optim.Adam", "dict_kwargs": {"lr": EVIL}}},
        "evil.Net",
    ),
    "other arguments": (
        {"optimizer": {"class_path": "torch.optim.Adam", "dict_kwargs": {"lr": 1}}},
        "'dict_kwargs'",
    ),
    "a dotted key": ({"network.class_path": "evil.Net"}, "no option 'network.class_path'"),
    "a dotted argument": (
        {"network": {"class_path": "ppvae.networks.MLP", "init_args": {"a.class_path": "evil.A"}}},
        "no option 'a.class_path'",
    ),
    "an appended key": ({"trust+": ["evil"]}, "no option 'trust+'"),
    "a list of classes": ({"network": [EVIL]}, "'network.0.class_path'"),
    "a name that is no text": ({"network": {"class_path": ["evil.Net"]}}, "'network.class_path'"),
    **{
        f"{key} in the file": ({key: value}, f"says '{key}', which only the command line may say")
        for key, value in {
            "trust": ["evil"],
            "folder": "/tmp/elsewhere",
            "overwrite": True,
            "resume": "another",
            "config": "other.yaml",
            "traceback": True,
            "print_config": "",
        }.items()
    },
}
COMMANDS = {
    "config": "fit --config run/config.yaml",
    "equals": "fit --config=~/run/config.yaml",
    "resume": "fit --resume run",
    "diagnose": "diagnose run",
    "sample": "sample run -n 3",
}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a module whose import leaves a trace."""
    path, here = list(sys.path), os.getcwd()
    os.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    code = "import torch, pathlib\npathlib.Path('ran').mkdir()\nclass Net: pass\n"
    for name in ("evil.py", "évil.py", "x.py"):
        Path(name).write_text(code)
    Path("run").mkdir()
    yield
    sys.path[:] = path
    os.chdir(here)
    for name in ("evil", "évil", "x"):
        sys.modules.pop(name, None)


def written(content, folder="run"):
    path = Path(folder) / "config.yaml"
    path.write_text(yaml.safe_dump({"data": "digits", "steps": 1, **content}, allow_unicode=True))


def refused(words, message, capsys):
    before = sorted(str(path) for path in Path(".").rglob("*"))
    capsys.readouterr()
    assert main(words.split() if isinstance(words, str) else words) == 2
    shown = capsys.readouterr()
    assert shown.out == "" or shown.out.startswith("data        digits: ")
    assert shown.err.startswith("ppvae: error: ") and shown.err.count("\n") == 1
    assert len(shown.err) < 500
    assert message in shown.err
    assert sorted(str(path) for path in Path(".").rglob("*")) == before
    assert "evil" not in sys.modules and not Path("ran").exists()


@pytest.mark.parametrize(("content", "message"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_configuration_runs_nothing(content, message, capsys):
    torch.save({"a": 1}, "run/pickled.pt")
    written(content)
    for words in COMMANDS.values():
        refused(words, message, capsys)
    refused("fit --config run/config.yaml", "run/config.yaml", capsys)


TEXTS = {
    "a tag": ("network: !!python/name:os.system", "a tag (tag:yaml.org,2002:python/name"),
    "a tag of a new object": ("a: !!python/object/apply:os.mkdir [ran]", "a tag"),
    "an alias": ("a: &a [1]\nb: *a", "an alias (*a), which is not read"),
    "an alias of itself": ("a: &a [*a]", "an alias"),
    "laughs": (
        "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
        "an alias",
    ),
    "merging": ("a: &a {folder: x}\n<<: *a", "an alias"),
    "deep nesting": ("network: " + "[" * 1_000, "nested too deeply"),
    "a large file": ("data: digits\n" + "# \n" * 200_000, "more than 262144 bytes"),
    "a large number": ("seed: " + "9" * 10_000, "config.yaml is damaged: Exceeds"),
    "a null byte": ("data: dig\0its", "config.yaml is damaged"),
    "a list for a key": ("? [a]\n: 1", "config.yaml is damaged"),
    "two documents": ("data: digits\n---\nfolder: x", "config.yaml is damaged"),
    "interpolation": ("data: digits\nlatent: ${oc.env:HOME}", "latent: expected int"),
    "a number for a key": ("data: digits\n1: 2", "no option '1'"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_a_configuration_is_plain_data(text, message, capsys):
    Path("run/config.yaml").write_text(text)
    for command in ("config", "resume", "diagnose"):
        refused(COMMANDS[command], message, capsys)


def test_standard_input_is_not_read(capsys):
    refused("fit --config -", "--config - would be the standard input", capsys)
    refused("fit --config=-", "--config - would be the standard input", capsys)
    os.mkfifo("pipe")
    refused("fit --config pipe", "pipe: no plain file", capsys)
    refused("fit --config run", "run: a folder", capsys)


def test_a_text_is_a_text_and_a_number_a_number(capsys):
    text = (
        "data: {class_path: ppvae.data.array, init_args: {path: 'a: b.csv', label: '{a: 1}'}}\n"
        "optimizer: {class_path: AdamW, init_args: {lr: 1e-2, betas: [0.5, 1E-1]}}\n"
        "device: '[cpu]'\ncompile: false\nkl_weight: 5e-1\n"
        "network: {class_path: MLP, init_args: {hidden: [4], activation: torch.nn.Tanh}}\n"
    )
    Path("mine.yaml").write_text(text)
    Path("a: b.csv").write_text(
        "a,b,{a: 1}\n" + "".join(f"{n},{n / 7},{n % 2}\n" for n in range(40))
    )
    assert main(["fit", "--config", "mine.yaml", "--print_config"]) == 0
    options = yaml.safe_load(capsys.readouterr().out)
    assert options["data"]["init_args"]["path"] == "a: b.csv"
    assert options["data"]["init_args"]["label"] == "{a: 1}"
    assert options["optimizer"]["class_path"].endswith("AdamW")
    assert options["optimizer"]["init_args"]["lr"] == 0.01
    assert options["optimizer"]["init_args"]["betas"] == [0.5, 0.1]
    assert options["device"] == "[cpu]" and options["kl_weight"] == 0.5
    assert options["network"]["init_args"]["activation"] == "torch.nn.Tanh"


WRITTEN = """
--network MLP --network.hidden [8,8] --network.activation torch.nn.Tanh --posterior LowRankNormal
--posterior.rank 2 --prior NormalMixture --prior.components 3 --likelihood Normal
--likelihood.scale ppvae.likelihoods.LearnedScale --optimizer SGD --optimizer.lr 1e-3
--schedule OneCycleLR --schedule.max_lr 0.1 --schedule.total_steps 9 --objective RenyiELBO
--kl_weight ppvae.inference.CyclicWarmup --kl_weight.steps 7 --device cpu --compile_from 3
---
--prior FlowPrior --posterior NormalMixture --posterior.components 3 --likelihood Binomial
--likelihood.total_count 16 --optimizer Muon --objective ppvae.inference.Compiled
--objective.elbo TraceMeanField_ELBO --schedule ReduceLROnPlateau --schedule.mode max
--kl_weight 0.25 --patience 3 --clip_norm 2 --compile true --figures false
---
--objective ppvae.inference.MaximumMeanDiscrepancy_ELBO --objective.weight 3 --pseudo_inputs 9
--schedule MultiStepLR --schedule.milestones [1,2] --likelihood DiscretizedLogisticMixture
--likelihood.highest 16 --batch_size 3 --steps 4 --optimizer RMSprop
"""


@pytest.mark.parametrize("words", WRITTEN.split("---\n"))
def test_what_the_program_writes_it_reads(words, capsys):
    assert main(["fit", "digits", *words.split(), "--print_config"]) == 0
    first = capsys.readouterr().out
    Path("mine.yaml").write_text(first)
    assert main(["fit", "--config", "mine.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == first


def test_every_module_of_ours_can_be_named():
    """A part that no face shows would be saved, and not be loaded."""
    internal = {"_Fixed", "_Autoregressive", "_Aggregate"}
    listed, missing = ClosedList(), set()
    for module in pkgutil.walk_packages(ppvae.__path__, "ppvae."):
        for name, found in vars(importlib.import_module(module.name)).items():
            ours = isinstance(found, type) and found.__module__ == module.name
            # Programs hold their pair, which is saved in their place.
            if ours and issubclass(found, torch.nn.Module) and not issubclass(found, Program):
                missing |= {name} - internal if f"{module.name}.{name}" not in listed else set()
    assert missing == set()


def test_only_words_name_the_users_own_classes(capsys):
    written({"network": "evil.Net"})
    assert main(["fit", "--config", "run/config.yaml", "--trust", "evil.Net"]) == 2
    assert Path("ran").is_dir()  # whoever trusts it runs it
    assert "expected a class of Module, got the text 'evil.Net'" in capsys.readouterr().err
    sys.modules.pop("evil")
    os.rmdir("ran")
    written({"network": "x.torch.load"})
    Path("names.txt").write_text("x")
    for trust in ("evil.Net", "evil", "[evil.Net, x.Net]", "x.torc", "names.txt", "''"):
        refused([*COMMANDS["config"].split(), "--trust", trust], "names 'x.torch.load'", capsys)
    for trust in ("x", "x.torch"):  # what a trusted module imports is not what it defines
        assert main([*COMMANDS["config"].split(), "--trust", trust]) == 2
        assert "there is no class 'x.torch.load'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The files of a small run."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    words = "fit digits --steps 2 --draws 3 --latent 2 --network.width 4 --figures false"
    assert main([*words.split(), "--folder", str(folder)]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def run(saved):
    for name, content in saved.items():
        (Path("run") / name).write_bytes(content)
    Path("elsewhere").mkdir()
    return Path("run")


LINKED = ("figures", "metrics.jsonl", "evidence-test.json", "samples.npy", "diagnosis-test.nc")


@pytest.mark.parametrize("name", [*LINKED, "config.yaml", "pair.json", "pair.safetensors"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_in_a_run_is_refused(name, dangling, run, capsys):
    target = Path("elsewhere") / name
    if (run / name).exists():
        (run / name).rename(target)
    elif not dangling:
        target.mkdir() if name == "figures" else target.write_bytes(b"theirs")
    if dangling and target.exists():
        target.unlink()
    (run / name).symlink_to(target.absolute())
    for command in ("resume", "diagnose", "sample"):
        refused(COMMANDS[command], f"run/{name} is a symbolic link", capsys)


@pytest.mark.parametrize(
    "name", ["checkpoint-2.safetensors", "config.yaml", "pair.json", "figures"]
)
def test_what_is_no_plain_file_is_refused(name, run, capsys):
    path = run / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for command in ("resume", "diagnose", "sample"):
        refused(COMMANDS[command], f"{path} is no plain file or folder", capsys)
    path.unlink()
    path.mkdir()
    if name in ("config.yaml", "pair.json"):
        refused(COMMANDS["diagnose"], f"{path}: a folder", capsys)


def test_no_file_is_written_through_a_link(run):
    pair = pairs.assemble(data.digits(), latent=2)
    target = Path("elsewhere/theirs")
    for name in ("pair.json", "pair.safetensors"):
        target.write_bytes(b"theirs")
        (run / name).unlink()
        (run / name).symlink_to(target.absolute())
        with pytest.raises(OSError, match="a symbolic link to .*, where a file is to be written"):
            ppvae.save(pair, run)
        assert target.read_bytes() == b"theirs"
        with pytest.raises(OSError, match="a symbolic link to .*, where a file is to be read"):
            ppvae.load(run)
        (run / name).unlink()
        ppvae.save(pair, run)
    (run / "checkpoint-2.safetensors").unlink()
    (run / "checkpoint-2.safetensors").symlink_to(target.absolute())
    with pytest.raises(OSError, match="a symbolic link"):
        ppvae.fit(pair, data.digits(), steps=2, checkpoint=run)
    report = ppvae.reports.Run(Path("elsewhere"))
    Path("elsewhere/figures").symlink_to(Path("run").absolute())
    with pytest.raises(ValueError, match="figures is a symbolic link"):
        report.figure("kl", None)
    metrics = ppvae.reports.Metrics(Path("elsewhere"))
    metrics.path.symlink_to(target.absolute())

    class Training:
        ended, records = False, [{"step": 1}]

    with pytest.raises(OSError):
        metrics(Training())
    assert target.read_bytes() == b"theirs"


@pytest.mark.slow
def test_a_link_is_not_overwritten(run, capsys):
    Path("link").symlink_to("run")
    words = "fit digits --steps 1 --figures false --overwrite true --folder"
    refused(f"{words} link", "link is a symbolic link, which is not overwritten", capsys)
    Path(".run.replaced").symlink_to("elsewhere")
    refused(f"{words} run", ".run.replaced is a symbolic link", capsys)
    Path(".run.replaced").unlink()
    refused(f"{words} .", "give the folder by its name", capsys)
    (run / "figures").symlink_to(Path("elsewhere").absolute())
    Path("elsewhere/kept.png").touch()
    assert main([*words.split(), "run", "--draws", "3", "--latent", "2"]) == 0
    assert Path("elsewhere/kept.png").exists() and not (run / "figures").exists()


@pytest.mark.slow
def test_large_and_deep_files_of_a_run_are_one_sentence(run, capsys):
    kept, checkpoint = (run / "pair.json").read_bytes(), run / "checkpoint-2.safetensors"
    # That of version 0.1 is read where there is no other.
    for name, command in {"pair.json": "diagnose", "checkpoint.json": "resume"}.items():
        checkpoint.unlink(missing_ok=name == "checkpoint.json")
        with open(run / name, "wb") as file:
            file.truncate(2**40)  # all zeros, and no room on the disk
        refused(COMMANDS[command], f"{name} is damaged: it has more than", capsys)
        (run / name).write_bytes(b'{"a": ' + b"[" * 100_000)
        refused(COMMANDS[command], f"{name} is damaged: it is nested too deeply", capsys)
        (run / name).write_bytes(b'{"a": ' + b"9" * 10_000 + b"}")
        refused(COMMANDS[command], f"{name} is damaged", capsys)
        (run / "pair.json").write_bytes(kept)
    save_file({"x": torch.zeros(1)}, "elsewhere/x.safetensors")
    for name in ("../elsewhere/x.safetensors", "..", 3):
        content = {"tensors": name, "state": {"dict": []}}
        (run / "checkpoint.json").write_text(json.dumps(content))
        assert main(COMMANDS["resume"].split()) == 2
    (run / "checkpoint.json").unlink()
    for path, command in {checkpoint: "resume", run / "pair.safetensors": "diagnose"}.items():
        with open(path, "wb") as file:
            file.truncate(2**40)
        refused(COMMANDS[command], f"{path.name} is damaged", capsys)


def test_a_killed_run_goes_on_and_is_tidied(saved, run, capsys):
    Path("run/figures").mkdir()
    left = [run / ".pair.json.0123456789abcdef", run / "figures/.kl.png.0123456789abcdef"]
    for path in left:
        path.touch()
    (run / "metrics.jsonl").write_text('{"step": 1')
    Path(".run.replaced").mkdir()  # what the run was to overwrite
    Path(".run.replaced/config.yaml").touch()
    whole = load_file(run / "pair.safetensors")
    assert main(COMMANDS["resume"].split()) == 0
    assert "training starts anew" not in capsys.readouterr().out
    assert not [path for path in (*left, Path(".run.replaced")) if path.exists()]
    (run / "checkpoint-2.safetensors").unlink()
    assert main(COMMANDS["resume"].split()) == 0
    said = capsys.readouterr().out
    assert "run was stopped before its first checkpoint: training starts anew" in said
    again = load_file(run / "pair.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_that_was_to_overwrite_another_and_was_killed_leaves_the_older(saved, run, capsys):
    run.rename(".run.replaced")
    run.mkdir()
    (run / "config.yaml").write_bytes(saved["config.yaml"])
    words = "fit digits --folder run --overwrite true --batch_size 99999"
    assert main(words.split()) == 2
    assert {path.name for path in run.iterdir()} == saved.keys()
    assert not Path(".run.replaced").exists()


def test_a_new_run_is_on_disk_with_its_folders(monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda d: (synced.append(os.readlink(f"/proc/self/fd/{d}")), fsync(d))
    )
    ppvae.reports.Run.create("digits", Path("a/b"))
    ppvae.reports.Run.create("digits")
    here = os.getcwd()
    assert synced == [here, f"{here}/a", here, f"{here}/runs"]


def test_what_a_run_writes_holds_only_what_a_file_may_say(saved):
    options = yaml.safe_load(saved["config.yaml"])
    forbidden = ("folder", "overwrite", "resume", "trust", "config", "traceback", "print_config")
    assert not set(options) & set(forbidden)


def test_a_dataset_of_a_very_long_name_is_one_sentence(capsys):
    written({"data": "x " * 3000})
    Path("run/config.yaml").write_text("data: " + "x " * 3000)
    assert main(["fit", "--config", "run/config.yaml"]) == 2
    shown = capsys.readouterr().err
    assert "there is no dataset 'x x" in shown and shown.count("\n") == 1
