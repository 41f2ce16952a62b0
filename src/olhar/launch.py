"""Start a training, or go on with one: from what a person typed to a finished run.

run = olhar.train("photos/", epochs=20)
"""

import math
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file
from torch import Tensor

from olhar import build, captioning, finetune, latents, plan
from olhar.config import Config, all_settings, parse_duration
from olhar.data import doctor
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.data.text import Tokenizer
from olhar.describe import corruption_of, facts_of
from olhar.errors import UserError
from olhar.fit import Fit, TooShortError
from olhar.folder import RunFolder, versions
from olhar.plan_boxes import resolve_boxes
from olhar.plan_diffusion import FIRST_SHARE, OWN, autoencoder_config, resolve_diffusion, settled
from olhar.plan_pixels import resolve_pixels
from olhar.plan_text import resolve_text
from olhar.run import Run
from olhar.train.checkpoint import newest
from olhar.train.device import describe_machine, images_per_second, pick_device
from olhar.train.log import Voice, clock
from olhar.train.optim import Length

Shared = TypeVar("Shared")
REPORT_SECONDS = 10.0  # writing the report and leaving: kept free at the end of a budget
GREY = frozenset({"1", "L", "LA", "I", "I;16", "F"})  # Pillow's modes without colour
STYLES = {"repaired": "green", "warning": "yellow", "refused": "red"}


def train(
    data: str | Path,
    *,
    run: str | Path | None = None,
    config: Config | None = None,
    quiet: bool = False,
    started: float | None = None,
    voice: Voice | None = None,
    report: bool = True,
    **settings: Any,
) -> Run:
    """Train a model on a folder or table of images, evaluate it, and write its run folder and report.

    Args:
        data: a folder, a table, or the name of a set.
        run: the run folder to make; runs/NAME-N by default. Never overwritten.
        settings: by the command line's names, `epochs=20`, or dotted, `**{"optim.lr": 0.1}`.
        started: `time.monotonic()` from which a budget counts; now by default.
        voice: who tells of it; `quiet`: nobody.
        report: False leaves the page out, and a budget keeps no time for it.

    Raises:
        UserError: the data, the settings or the run folder are at fault; the message says what to do.
        KeyboardInterrupt: with the run folder; `resume` goes on from there.
    """
    started = time.monotonic() if started is None else started
    config = (config or Config()).with_changes(dotted(settings))
    budget = parse_duration(config.train.budget) if config.train.budget else None
    device = pick_device(config.train.device)
    rank, world = processes(device)
    voice = voice or Voice(quiet or rank > 0)
    RunFolder.refuse_taken(run)
    collection = latents.to_compress(recognise(data, config=config.data), config)
    voice.say(collection.explanation)
    collection, examined = examine(collection, config, voice)
    channels = 1 if set(examined.modes) <= GREY else 3
    chosen = choose(collection, examined, config, channels, device, world, started, budget)
    for line in chosen.lines():
        voice.say(line, style="dim")
    tokenizer = captioning.make_tokenizer(collection, chosen.config)
    folder = RunFolder(shared(str(RunFolder.create(run, str(data)).path) if rank == 0 else "", world))
    machine = describe_machine(device) | {"processes": world}
    deadline = started + budget - report * REPORT_SECONDS if budget else None
    try:
        facts = describe(str(data), collection, examined, chosen, channels, machine, tokenizer)
        feeder = build.Feeder.from_facts(facts, chosen.config, rank, world, tokenizer)
        if "space" in facts["model"]:  # resuming needs all of it, should this be stopped while its autoencoder learns
            if rank == 0:
                begin(folder, chosen.config, facts, collection, tokenizer)
            settle_autoencoder(folder, chosen.config, voice, rank, world)
        fit = Fit(folder, facts, collection, chosen.config, feeder, device, voice, deadline=deadline)
        if rank == 0:
            begin(folder, fit.config, facts, collection, tokenizer)
        voice.say(fit.describe(), style="dim")
        return complete(fit, voice, started, report)
    except UserError:
        folder.discard_unbegun()
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(folder.path) from None


def describe(
    data: str,
    collection: Collection,
    examined: doctor.Report,
    chosen: plan.Plan,
    channels: int,
    machine: dict[str, Any],
    tokenizer: Tokenizer | None = None,
) -> dict[str, Any]:
    """What run.json says when a run begins."""
    return {
        "olhar": versions()["olhar"],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(data),
        **facts_of(collection, chosen.config, channels, machine, examined.sizes.median, tokenizer),
        "plan": [asdict(decision) for decision in chosen.decisions],
        "versions": versions(),
        "findings": [asdict(finding) for finding in examined.findings],
        "left_out": sorted(examined.drop),
    }


def begin(
    folder: RunFolder, config: Config, facts: dict[str, Any], collection: Collection, tokenizer: Tokenizer | None
) -> None:
    """Write what a run is, before its first step."""
    folder.config = config
    folder.write_splits(collection)
    if tokenizer:
        folder.write_captions(tokenizer, captioning.kept_captions(collection.split("train")))
    folder.facts = facts | {"config": config.to_dict()}


def settle_autoencoder(folder: RunFolder, config: Config, voice: Voice, rank: int, world: int) -> None:
    """See that RUN/autoencoder is a finished run: the one that was named, copied; or one of the same images, trained or
    gone on with."""
    own, quiet = RunFolder(folder.autoencoder), voice.quiet
    known = own.facts if own.facts_file.exists() else {}
    if config.model.latent != OWN:
        if rank == 0 and not known:
            RunFolder(config.model.latent).copy(own.path)
        shared("copied", world)
    elif not known:
        if rank == 0:
            shutil.rmtree(own.path, ignore_errors=True)  # what a stop left before there was anything to go on with
        shared("removed", world)
        settings = autoencoder_config(config)
        share = f"{settings.train.budget or f'{settings.train.epochs} epochs'} ({FIRST_SHARE:.0%})"
        voice.say(f"First the autoencoder that it draws with, in {own.path}, for {share}:", style="bold")
        try:
            train(folder.facts["data"]["path"], run=own.path, config=settings, quiet=quiet, report=False)
        except TooShortError:
            raise TooShortError(
                f"A budget of {config.train.budget} is too short here to train an autoencoder first: give twice as "
                "much, or --latent none."
            ) from None
        voice.say("Now to draw in its latents:", style="bold")
    elif not known.get("result"):
        resume(own.path, quiet)


def resume(run: str | Path, quiet: bool = False, voice: Voice | None = None, report: bool = True) -> Run:
    """Continue an interrupted run to the end it would have had: on a CPU, bit for bit.

    Raises:
        UserError: the run is finished, or its data or settings changed; the message names the difference.
        KeyboardInterrupt: with the run folder.
    """
    started = time.monotonic()
    folder = RunFolder.open(run)
    if folder.facts.get("result"):
        raise UserError(f"{run} is finished, so there is nothing to resume: open {folder.report}.")
    make, voice = reopen(folder, quiet, voice)
    rank, world = processes(pick_device(folder.config.train.device))
    try:
        if "space" in folder.facts["model"]:
            settle_autoencoder(folder, folder.config, voice, rank, world)
        fit = make(folder)
        if fit.main and "length" not in folder.facts:  # it was stopped before its first step
            folder.config, folder.facts = fit.config, fit.facts | {"config": fit.config.to_dict()}
        fit.load_checkpoint()
        voice.say(f"Resuming {folder.path} at step {fit.position.step:,}, epoch {fit.position.epoch}.")
        return complete(fit, voice, started, report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(folder.path) from None


def reopen(folder: RunFolder, quiet: bool, voice: Voice | None = None) -> tuple[Callable[[RunFolder], Fit], Voice]:
    """A function that makes the run's fit again, to write into a folder, and the voice to tell of it.

    Raises UserError where the data or the settings are not those the run began with.
    """
    config, facts = folder.config, folder.facts
    device = pick_device(config.train.device)
    rank, world = processes(device)
    voice = voice or Voice(quiet or rank > 0)
    refuse_changes(folder, config, world)
    collection = latents.to_compress(recognise(facts["data"]["path"], config=config.data), config)
    collection = without(collection, set(facts["left_out"]))
    folder.refuse_other_data(collection)

    def make(target: RunFolder) -> Fit:
        feeder = build.Feeder.from_facts(facts, config, rank, world, folder.tokenizer)
        deadline = None
        if config.train.budget and "length" not in facts:  # the autoencoder has had its share
            deadline = time.monotonic() + (1 - FIRST_SHARE) * parse_duration(config.train.budget)
        return Fit(target, dict(facts), collection, config, feeder, device, voice, deadline=deadline)

    return make, voice


def complete(fit: Fit, voice: Voice, started: float, report: bool = True) -> Run:
    """Train to the end, evaluate, write the results and the report."""
    fit.run()
    result = fit.finish()
    for name, reason in fit.batches.unreadable.items():
        voice.say(f"! {name} was left out: {reason}", style="yellow")
    if fit.main:
        result["wall_seconds"] = time.monotonic() - started
        fit.folder.facts = fit.folder.facts | {"task": fit.facts["task"], "result": result}
    fit.accelerator.wait_for_everyone()
    run = Run(fit.folder, fit.device)
    if fit.main and report:
        page = run.report(fit.deadline or math.inf)
        voice.say(f"Done in {clock(time.monotonic() - started)}. The report: {page}")
    return run


def examine(collection: Collection, config: Config, voice: Voice) -> tuple[Collection, doctor.Report]:
    """Let the doctor look; say what was found, leave out what cannot be read, refuse what must not be trained on."""
    level = "quick" if config.data.check == "off" else config.data.check
    report = doctor.examine(collection, level)
    if config.data.check != "off":
        for finding in report.findings:
            voice.say(f"{finding.level}: {finding.message} {finding.cure}", style=STYLES[finding.level])
        doctor.refuse(report.findings, config.data.allow)
    return without(collection, set(report.drop)), report


def without(collection: Collection, ids: set[str]) -> Collection:
    """The collection less some records."""
    return replace(collection, records=[r for r in collection.records if r.id not in ids])


def choose(
    collection: Collection,
    examined: doctor.Report,
    config: Config,
    channels: int,
    device: torch.device,
    world: int,
    started: float,
    budget: float | None,
) -> plan.Plan:
    """The plan; with a budget, the model that this machine trains well in the time, by a short measurement."""
    plan.refuse_unused(config, collection.task, config.data.task or collection.task)
    plan.check_mix(config.data.mix, collection.task)
    config = finetune.go_on(collection, config)
    height, width = examined.sizes.median
    shorter = min(height, width, config.data.image_size or height)
    latent = settled(config.model.latent, shorter) if collection.task == "diffuse" else "none"
    facts = plan.Facts(
        n_train=len(collection.split("train")),
        task=collection.task,
        num_classes=len(collection.class_names),
        height=height,
        width=width,
        accelerator=device.type != "cpu",
        upright=all(len(name) == 1 for name in collection.class_names) and collection.task == "classify",
        pretrained=config.model.weights is not None,
        world=world,
        captioned=all(record.captions for record in collection.records),
        corruption=corruption_of(collection, config),
        shrunk=latents.factor_of(latent, channels, shorter),
    )
    if collection.task == "detect":
        return resolve_boxes(config, facts)
    if collection.task == "align":
        return resolve_text(config, facts)
    if collection.task == "diffuse":
        return resolve_diffusion(config.with_changes({"model.latent": latent}), facts)
    if collection.task in build.EVERYWHERE:
        return resolve_pixels(config, facts)
    if budget is None or config.model.name is not None:
        return plan.resolve(config, facts)
    options = plan.candidates(facts, config.data.image_size)
    outputs = max(1, len(collection.class_names))

    def speed(option: plan.Candidate) -> float:
        network = build.new_model(option.model, option.image_size, channels, outputs).to(device)
        return images_per_second(network, (channels, option.image_size, option.image_size), device)

    left = 0.9 * (started + budget - time.monotonic())
    # each process measures another speed
    return plan.resolve(config, facts, shared(plan.pick(options, facts.n_train, left, speed), world))


def processes(device: torch.device) -> tuple[int, int]:
    """(rank, number) of this process, as torchrun or `accelerate launch` started it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    state = PartialState(cpu=device.type == "cpu")
    return state.process_index, state.num_processes


def shared(value: Shared, world: int) -> Shared:
    """The first process's value, on all of them."""
    return broadcast_object_list([value])[0] if world > 1 else value


def dotted(settings: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as settings: epochs -> train.epochs, model -> model.name, "optim.lr" as it is."""
    known = all_settings()
    names = {setting.partition(".")[2]: setting for setting in known}
    names |= {"model": "model.name", "optim": "optim.name"}
    return {key if "." in key else names.get(key, key): value for key, value in settings.items()}


def command(data: str) -> str:
    """What to type to do it again."""
    if Path(sys.argv[0]).name in ("olhar", "__main__.py"):
        return shlex.join(["olhar", *sys.argv[1:]])
    return f"olhar.train({data!r}, ...)"


def refuse_changes(folder: RunFolder, config: Config, world: int) -> None:
    """Raise UserError where a setting, or the number of processes, is not what the run began with."""
    began, now = folder.facts["config"], config.to_dict()
    for section, settings in now.items():
        for name, value in settings.items():
            if began[section].get(name) != value:
                raise UserError(
                    f"{folder.config_file} says {section}.{name} = {value}, but the run began with "
                    f"{began[section].get(name)}: put it back to resume, or train anew."
                )
    if (first := folder.facts["machine"]["processes"]) != world:
        raise UserError(f"{folder.path} began with {first} processes and cannot go on with {world}.")


def verify(run: str | Path, quiet: bool = False) -> float:
    """Show that stopping and resuming a run changes nothing; the run itself is left as it is.

    From the last checkpoint it goes 10 steps on in one go, and again with a stop, a save and a fresh start in the
    middle, and compares everything: weights, average, optimizer, random states.

    Returns:
        the largest difference, 0.
    Raises:
        UserError: there is a difference, or the data or settings changed.
    """
    folder = RunFolder.open(run)
    make, voice = reopen(folder, quiet)
    before = newest(folder.checkpoints)
    ends: list[dict[str, Tensor]] = []
    first = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, stops in (("straight", (10,)), ("resumed", (5, 10))):
            target = RunFolder(Path(scratch) / name)
            target.path.mkdir()
            if before:
                shutil.copytree(before, target.checkpoints / before.name)
            if folder.autoencoder.exists():
                shutil.copytree(folder.autoencoder, target.autoencoder)
            for stop in stops:
                fit = make(target)
                fit.load_checkpoint()
                if stop == stops[0]:
                    first = fit.position.step
                # a length of its own: the run may be at its end, or follow a clock, which never tells the same twice
                fit.training.length = Length(steps=2 * (first + 10))
                fit.run(stop_at=first + stop)
                fit.save_checkpoint()
            end = newest(target.checkpoints)
            assert end is not None
            ends.append(load_file(end / "tensors.safetensors"))
    straight, resumed = ends
    worst = max(float((t.double() - resumed[name].double()).abs().max()) for name, t in straight.items() if t.numel())
    voice.say(
        f"10 steps from step {first:,} in one go, and again stopped and resumed after 5: {len(straight)} tensors "
        f"(weights, average, optimizer, random states) compared, largest difference {worst:g}."
    )
    if worst:
        raise UserError(f"{folder.path} does not resume to the same weights here: largest difference {worst:g}.")
    return worst
