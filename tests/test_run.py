"""Whole runs: training, killing, resuming, several processes, and what a run folder can do alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import olhar
from olhar.errors import UserError
from olhar.launch import dotted
from olhar.run import load

# small and quick; the formats are fixed because a measurement may choose either of two that are equally fast
FIXED = {"train.precision": "fp32", "train.memory_format": "contiguous", "train.device": "cpu"}
OPTIONS = [word for name, value in FIXED.items() for word in (f"--{name}", value)]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "olhar", *map(str, words)]


def last_checkpoint(run: Path) -> tuple[dict[str, torch.Tensor], dict]:
    (folder,) = (run / "checkpoint").glob("step-*")
    state = json.loads((folder / "state.json").read_text())
    for clock in ("seconds", "log_bytes"):
        del state["position"][clock]
    return load_file(folder / "tensors.safetensors"), state


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits, undisturbed."""
    run = tmp_path_factory.mktemp("runs") / "digits"
    olhar.train("digits", run=run, epochs=4, quiet=True, **FIXED)
    return run


def test_four_passes_over_the_digits_teach_them(digits: Path):
    facts = json.loads((digits / "run.json").read_text())
    assert facts["result"]["test"]["accuracy"] > 0.9
    rows = [json.loads(line) for line in (digits / "evaluation" / "test.jsonl").read_text().splitlines()]
    right = sum(row["label"] == row["truth"] for row in rows) / len(rows)
    assert len(rows) == 359
    assert right == pytest.approx(facts["result"]["test"]["accuracy"], abs=1e-6)
    kinds = [json.loads(line)["kind"] for line in (digits / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("val") == 4
    assert "<html" in (digits / "report.html").read_text()


def test_a_run_folder_predicts_alone(digits: Path, tmp_path: Path):
    """Moved elsewhere, with nothing but what prediction needs."""
    for name in ("config.yaml", "run.json", "model.safetensors"):
        shutil.copy(digits / name, tmp_path / name)
    moved, first = load(tmp_path, device="cpu"), load(digits, device="cpu")
    assert moved.evaluate("digits") == pytest.approx(first.evaluate("digits"))
    assert moved.evaluate("digits")["accuracy"] == pytest.approx(first.result["test"]["accuracy"])


def test_killed_and_resumed_it_ends_the_same_bit_for_bit(tmp_path: Path):
    """Programs of their own throughout: equal bits need equally many threads, which other tests here change."""
    straight, run = tmp_path / "straight", tmp_path / "killed"
    # images last in memory, where a moment restored in another order once spoilt the weights
    options = ["--train.precision", "fp32", "--train.memory_format", "channels_last"]
    words = command("train", "digits", "--model", "cnn-small", "--epochs", 3, *options)
    subprocess.run([*words, "--run", straight], check=True, capture_output=True)
    often = ["--train.checkpoint_seconds", "0.01"]
    process = subprocess.Popen([*words, *often, "--run", run], stderr=subprocess.DEVNULL)
    while not list((run / "checkpoint").glob("step-*")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "result" not in json.loads((run / "run.json").read_text()), "it ended before it was killed"
    subprocess.run(command("resume", run), check=True, capture_output=True)
    (tensors, state), (expected, expected_state) = last_checkpoint(run), last_checkpoint(straight)
    assert state == expected_state
    assert [name for name in expected if not torch.equal(tensors[name], expected[name])] == []
    best, expected_best = load_file(run / "model.safetensors"), load_file(straight / "model.safetensors")
    assert all(torch.equal(best[name], expected_best[name]) for name in expected_best)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_resume_refuses_what_is_finished_and_what_changed(digits: Path, tmp_path: Path):
    with pytest.raises(UserError, match="finished"):
        olhar.resume(digits)
    run = tmp_path / "changed"
    shutil.copytree(digits, run)
    facts = json.loads((run / "run.json").read_text())
    del facts["result"]
    (run / "run.json").write_text(json.dumps(facts))
    tree = yaml.safe_load((run / "config.yaml").read_text())
    tree["optim"]["lr"] = 0.5
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=r"optim\.lr = 0\.5, but the run began with"):
        olhar.resume(run)
    tree["optim"]["lr"] = facts["config"]["optim"]["lr"]
    (run / "config.yaml").write_text(yaml.safe_dump(tree))
    facts["data"]["fingerprint"] = "0" * 16
    (run / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="changed since"):
        olhar.resume(run)


def test_a_run_that_left_an_image_out_resumes(colours: Path, tmp_path: Path):
    data = shutil.copytree(colours, tmp_path / "data")
    broken = data / "train" / "red" / "0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    run = olhar.train(data, run=tmp_path / "run", epochs=1, quiet=True, model="linear", **FIXED)
    assert run.facts["left_out"] == ["train/red/0.png"]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    del facts["result"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    assert "test" in olhar.resume(tmp_path / "run", quiet=True).result
    (data / "train" / "blue" / "0.png").unlink()
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"1 images are gone \(train/blue/0\.png\)"):
        olhar.resume(tmp_path / "run", quiet=True)


def test_verify_shows_that_resuming_changes_nothing(digits: Path):
    """In a program of its own: the type checks of the tests themselves draw from Python's generator."""
    before = sorted((p.name, p.stat().st_mtime_ns) for p in digits.rglob("*"))
    said = subprocess.run(command("resume", digits, "--verify"), check=True, capture_output=True, text=True)
    assert "largest difference 0." in said.stderr
    assert sorted((p.name, p.stat().st_mtime_ns) for p in digits.rglob("*")) == before


def test_two_processes_are_one_with_the_same_batch(tmp_path: Path):
    """torchrun with gloo; mlp, since each process's batch normalisation would see only its own half."""
    same = ["digits", "--model", "mlp", "--epochs", 1, "--batch-size", 64, "--optim.ema", 0, *OPTIONS]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command("train", *same, "--run", tmp_path / "one"), check=True, env=environment)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "olhar", "--", "train"]
    subprocess.run([*launcher, *map(str, same), "--run", str(tmp_path / "two")], check=True, env=environment)
    a, b = load_file(tmp_path / "one" / "model.safetensors"), load_file(tmp_path / "two" / "model.safetensors")
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], rtol=1e-3, atol=1e-5)
    results = [json.loads((tmp_path / run / "run.json").read_text())["result"]["test"] for run in ("one", "two")]
    assert results[0] == pytest.approx(results[1], abs=1e-4)
    for run in ("one", "two"):
        rows = [
            json.loads(line)["id"] for line in (tmp_path / run / "evaluation" / "test.jsonl").read_text().splitlines()
        ]
        assert len(rows) == len(set(rows)) == 359


def test_a_budget_ends_on_time_with_an_evaluated_model(tmp_path: Path):
    start = time.monotonic()
    run = olhar.train("digits", run=tmp_path / "run", budget="25s", quiet=True, **FIXED)
    assert time.monotonic() - start < 27
    assert run.result["test"]["accuracy"] > 0.5
    with pytest.raises(UserError, match="too short"):
        olhar.train("digits", run=tmp_path / "short", budget="3s", quiet=True, **FIXED)
    olhar.train("digits", run=tmp_path / "both", budget="10min", epochs=2, quiet=True, **FIXED)
    lines = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    assert max(line.get("epoch", 0) for line in lines) == 2  # whichever ends first


def test_a_number_is_regressed_in_its_own_units(tmp_path: Path):
    run = olhar.train(
        "shapes:n=320,size=32", run=tmp_path / "run", task="regress", model="cnn-small", epochs=3, quiet=True, **FIXED
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "evaluation" / "test.jsonl").read_text().splitlines()]
    assert all(5 < row["truth"] < 100 for row in rows)
    error = sum(abs(row["value"] - row["truth"]) for row in rows) / len(rows)
    assert run.result["test"]["mae"] == pytest.approx(error, rel=1e-4)


def test_keyword_arguments_are_the_command_lines_names():
    assert dotted({"epochs": 3, "model": "cnn", "optim.lr": 0.1}) == {
        "train.epochs": 3,
        "model.name": "cnn",
        "optim.lr": 0.1,
    }
    with pytest.raises(UserError, match=r"did you mean 'train\.epochs'"):
        olhar.train("digits", epoch=3)
