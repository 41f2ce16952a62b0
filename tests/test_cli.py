"""What people type: answers at once, one sentence for a mistake, the right exit status, output for scripts."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from olhar import cli, given
from olhar.config import Config, all_settings
from olhar.options import SHORT, as_typed, changes

# A new option is a promise: it is added here on purpose, with a line in CHANGELOG.md.
PLAIN_OPTIONS = {
    "check": "--allow --download --full --ignore --json --task",
    "train": "--allow --batch-size --budget --corruption --download --epochs --ignore --image-size --json --lr --model"
    " --run --seed --task --weights",
    "adopt": "--run --tokenizer",
    "resume": "--json --verify",
    "evaluate": "--classes --json --judge --prompt --split",
    "predict": "--batch-size --classes --csv --flips --format --json --out --pictures --prompt --tiles --top",
    "search": "--csv --html --json --top --words",
    "generate": "--batch-size --class --download --guidance --init-image --json --mask --n --negative --out --precision"
    " --sampler --seed --size --steps --strength --strip",
    "report": "",
    "inspect": "--beside --dark --image --json --layer --out --text",
    "explain": "--at --by --json --out",
    "tour": "--budget --check --fresh --only --quick --run",
    "models": "--json",
}


def plain_options(verb: str) -> set[str]:
    names = {name for action in cli.parser(verb)._actions for name in action.option_strings}
    return {name for name in names if name.startswith("--") and "." not in name} - {"--help"}


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit status and what stands on standard error, where nothing may stand on standard output."""
    status = cli.main(words)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return status, err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_plain_options_are_the_promised_ones(verb: str):
    assert plain_options(verb) == set(PLAIN_OPTIONS[verb].split())


def test_training_has_at_most_fourteen_plain_options_and_every_setting_by_its_dotted_name():
    assert len(plain_options("train") - {"--json"}) <= 14
    names = {name for action in cli.parser("train")._actions for name in action.option_strings}
    assert {f"--{key}" for key in all_settings()} <= names
    assert set(SHORT) <= set(all_settings())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--optim.lr 0.1", {"optim.lr": 0.1}),
        ("--lr 1e-3 --epochs 5", {"optim.lr": 1e-3, "train.epochs": 5}),
        ("--budget 1min --epochs 3", {"train.budget": "1min", "train.epochs": 3}),
        ("--optim.weight-decay=0", {"optim.weight_decay": 0.0}),
        ("--batch_size 8", {"train.batch_size": 8}),
        ("--train.tensorboard", {"train.tensorboard": True}),
        ("--train.tensorboard --seed 1", {"train.tensorboard": True, "train.seed": 1}),
        ("--data.flip no", {"data.flip": False}),
        ("--data.flip none", {"data.flip": None}),
        ("--download", {"data.download": True}),
        ("--allow a,b --allow c", {"data.allow": ("a", "b", "c")}),
        ("--model.args widths=64,128,pools=2", {"model.args": {"widths": "64,128", "pools": 2}}),
        ("--optim.name adamw", {"optim.name": "adamw"}),
        ("--budget 10min", {"train.budget": "10min"}),
        ("--latent own", {"model.latent": "own"}),
    ],
)
@pytest.mark.parametrize("order", ["before", "after"])
def test_settings_are_read_as_their_types(words: str, expected: dict, order: str):
    line = ["DATA", *words.split()] if order == "before" else [*words.split(), "DATA"]
    found = cli.parser("train").parse_args(line)
    assert found.data == "DATA"
    assert Config().with_changes(changes(found)) == Config().with_changes(expected)
    if "model.args" not in expected:  # what check says to type next means the same
        again = cli.parser("train").parse_args(["DATA", *as_typed(changes(found))])
        assert changes(again) == changes(found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trian x", "did you mean 'train'?"),
        ("train", "Missing: DATA."),
        ("train x --epoch 3", "did you mean '--epochs'?"),
        ("train x --optim.learning_rate 3", "There is no option --optim.learning_rate"),
        ("train x --epochs three", "'three' is not a whole number"),
        ("train x --optim.name adm", "'adm' is not one of auto, sgd, adamw"),
        ("train x --data.flip maybe", "'maybe'"),
        ("train x --budget soon", "write it like 90s, 10min or 2h"),
        ("train x epochs=3", "did you mean --epochs?"),
        ("train x --epochs 0", "train.epochs must be 1 or more, not 0."),
        ("train x --lr nan", "optim.lr must be 0 or more, not nan."),
        ("train x --data.val_fraction 1.5", "data.val_fraction must be between 0 and 0.9, not 1.5."),
        ("train x --data.workers none --train.tensorboard none", "train.tensorboard must be bool, not None."),
        ("predict run", "Missing: IMAGE."),
        ("predict run x --top 0", "'0' is not 1 or more"),
        ("evaluate run x --split tset", "'tset' is not one of train, val, test"),
        ("models --jsn", "did you mean '--json'?"),
    ],
)
def test_a_mistyped_command_names_the_nearest_and_exits_with_2(capsys, line: str, expected: str):
    status, err = mistake(capsys, *line.split())
    assert status == 2
    assert expected in err
    assert "--help` shows every" in err


@pytest.mark.parametrize(
    "line",
    ["check {data}/trian", "train {data}/trian", "evaluate {run} {data}/trian", "predict {run} {data}/trian"],
)
def test_a_path_that_does_not_exist_is_answered_with_the_nearest(capsys, colours: Path, trained: Path, line: str):
    status, err = mistake(capsys, *line.format(data=colours, run=trained).split())
    assert status == 1
    assert err.count("\n") == 1
    assert f"did you mean '{colours}/train'?" in err


def test_a_folder_that_is_no_run_names_the_runs_in_it(capsys, trained: Path):
    status, err = mistake(capsys, "report", str(trained.parent))
    assert (status, "the runs inside it are colours-1" in err) == (1, True)


def test_a_run_folder_is_never_overwritten(capsys, colours: Path, trained: Path):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    status, err = mistake(capsys, "train", str(colours), "--run", str(trained), "--epochs", "1")
    assert status == 1
    assert f"{trained} already exists" in err
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


@pytest.mark.parametrize("line", ["", "--help", "train --help", "train x --epoch 3", "check no/such", "check nosuch"])
def test_help_and_mistakes_do_not_wait_for_torch(line: str, tmp_path: Path):
    program = (
        "import sys; from olhar.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'torch', 'rich', 'numpy', 'PIL'} & set(sys.modules); assert not heavy, heavy; sys.exit(status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, *line.split()], capture_output=True, text=True, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (2 if "--epoch 3" in line else 1 if "check" in line else 0)
    # the promised 0.4 s, of the processor instead of the clock, so that it holds on a busy machine
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.4


def test_help_shows_each_setting_with_its_sentence_and_default(capsys):
    assert cli.main(["train", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--epochs N Passes over the training data; with a budget as well" in shown
    assert "Share of the training spent raising the learning rate from zero. [0.1]" in shown
    assert "--objective.variance {fixed,learned}" in shown


def test_check_explains_a_folder_to_people_and_programs(capsys, colours: Path):
    assert cli.main(["check", str(colours)]) == 0
    shown = capsys.readouterr().out
    assert "classification, 3 classes" in shown
    assert [line.split() for line in shown.splitlines() if line.startswith("red")] == [["red", "8", "8", "8"]]
    assert "\x1b" not in shown
    assert cli.main(["check", str(colours), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["ready"]) == ("classify", True)
    assert found["classes"] == {name: {"train": 8, "val": 8, "test": 8} for name in ("blue", "green", "red")}


def test_evaluate_gives_the_metrics(capsys, colours: Path, trained: Path):
    assert cli.main(["evaluate", str(trained), str(colours), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["accuracy"] == pytest.approx(1.0)
    assert cli.main(["evaluate", str(trained), str(colours), "--split", "val"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_models_are_listed(capsys):
    assert cli.main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["resnet18"]["parameters"] == 11_689_512  # torchvision's count
    assert cli.main(["models"]) == 0
    table = capsys.readouterr().out
    assert "11,689,512" in table
    assert "476,288" in table  # of the decoder of Figure 2.10


def test_train_prints_its_result_as_json_and_ctrl_c_says_how_to_resume(colours: Path, tmp_path: Path):
    command = [sys.executable, "-m", "olhar", "train", str(colours), "--run", "run", "--model", "linear"]
    quick = ["--train.precision", "fp32", "--train.memory_format", "contiguous", "--json"]
    started = subprocess.Popen(
        [*command, *quick, "--epochs", "100000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130
    assert "Traceback" not in err
    assert "go on with `olhar resume run`" in err
    assert out == ""


def test_the_package_is_also_a_program():
    done = subprocess.run([sys.executable, "-m", "olhar", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cli.__version__


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m olhar --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stderr == ""


def test_the_names_that_are_known_without_torch_are_those_that_are_read():
    from olhar.data.torchvision_sets import SETS

    assert set(given.SETS) == {"digits", "shapes", *SETS}
