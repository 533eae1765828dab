"""`ssl-lab pretrain`: unlabelled data and an objective → a run folder with a checkpoint, metrics and scores."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from ssl_lab.callbacks.health import log_health, warn_of_collapse
from ssl_lab.config import build, plain
from ssl_lab.data.base import Data, Source
from ssl_lab.data.caching import check_writable
from ssl_lab.distributed import from_first, take_first_buffers, world
from ssl_lab.domains import Count, Limit, Several, valid
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.lines import beside, headlines, table
from ssl_lab.evaluation.score_sheet import embed_both, publish, score_sheet
from ssl_lab.evaluation.sheet import Protocol
from ssl_lab.hardware import quiet
from ssl_lab.logger import ended, loggers
from ssl_lab.model.base import Model
from ssl_lab.model.loading import fresh, load_model, parts_of
from ssl_lab.objective.base import Objective
from ssl_lab.progress import say
from ssl_lab.runfolder.checkpoint import read_checkpoint
from ssl_lab.runfolder.files import write_json
from ssl_lab.runfolder.folder import SUMMARY, checkpoint_of, open_folder, reopen_folder, run_of, without_passwords
from ssl_lab.runfolder.metrics import cut_back
from ssl_lab.runfolder.provenance import provenance
from ssl_lab.runfolder.reading import Schema
from ssl_lab.sharding import whole_weights
from ssl_lab.trainer import make_trainer
from ssl_lab.training.compose import RunConfig, classes, compose
from ssl_lab.training.fitting import check_parts
from ssl_lab.training.pretraining import Pretraining
from ssl_lab.training.progress import SayCost, SayJump, Speed, progress_bar
from ssl_lab.training.steps import total_steps
from ssl_lab.training.stop import StopAtDivergence, StopBetweenSteps

OF_MACHINES = ("accelerator", "devices", "num_nodes")  # of the group trainer: how many processes there are, and where


class ScoresConfig(Schema):
    rows: Several | None
    health_rows: Several


class TrainerConfig(Schema):
    max_epochs: Limit | None
    max_steps: Limit = -1
    accumulate_grad_batches: Count = 1
    log_every_n_steps: Count = 50


class PretrainConfig(RunConfig):
    scores: ScoresConfig
    trainer: TrainerConfig


def pretrain(config: DictConfig, folder: Path) -> None:
    """Trains, and scores the last checkpoint beside its controls.

    With `resume`, folder and config are those of that run. Raises UsageError where it has nothing left to do.
    """
    quiet()
    check_writable()
    valid(PretrainConfig, plain(config), "")
    protocol = valid(Protocol, plain(config.protocol), "protocol")
    resumed = checkpoint_of(config.resume) if config.resume else None
    done = read_checkpoint(resumed)["global_step"] if resumed else 0
    if 0 < config.trainer.max_steps < done:
        raise UsageError(f"trainer.max_steps={config.trainer.max_steps}: the run has done {done:,} steps already")
    chosen = classes(plain(config), "data", "views", "backbone", "objective")
    check_parts(chosen)
    kind = chosen["data"]
    data = build(kind.restored(plain(config.data), folder), Data, Source)
    data.setup()
    earlier = load_model(run_of(config.init), checkpoint_of(config.init)) if config.init and not resumed else None
    pl.seed_everything(config.seed, workers=True, verbose=False)  # nothing may draw before the backbone is made
    module = compose(plain(config), data, earlier.backbone.state_dict() if earlier else None)
    speed = Speed()
    callbacks = [build(one, pl.Callback) for one in plain(config.callbacks).values() if one]
    trainer = make_trainer(
        plain(config.trainer),
        logger=loggers(plain(config.logger), folder),
        callbacks=[StopAtDivergence(), *callbacks, progress_bar(), SayJump(), SayCost(), speed, StopBetweenSteps()],
        default_root_dir=str(folder),
    )
    if trainer.is_global_zero:
        begin(config, folder, trainer, data, module, done, earlier)
    with ended():
        start = time.monotonic()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
        except MisconfigurationException as error:
            early = done and "max_epochs" in str(error)
            raise UsageError(shorter(trainer, done) if early else f"trainer: {error}") from error
        seconds = time.monotonic() - start
        check_end(trainer, done, from_first((folder / SUMMARY).is_file()))
        summary = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "seconds": round(seconds, 1)}
        summary |= {
            name.split("/")[1]: float(value) for name, value in trainer.callback_metrics.items() if "pretrain/" in name
        }
        summary |= {f"{data.unit}_per_second": speed.rate}
        if module.device_mesh:  # in shards
            weights = whole_weights(module)
            module = compose(plain(config), data)
            module.load_state_dict(weights)
        module.to(trainer.strategy.root_device)  # Lightning has moved it to the CPU
        take_first_buffers(module)
        scores = judge(config, folder, trainer, module, data, protocol)
        if trainer.is_global_zero:
            write_json(folder / SUMMARY, summary | scores)


def begin(
    config: DictConfig,
    folder: Path,
    trainer: pl.Trainer,
    data: Data,
    module: Pretraining,
    done: int,
    earlier: Model | None,
) -> None:
    """Says and writes down what is about to happen, `done` steps after the beginning; `earlier`: its first weights."""
    facts = {
        **provenance(data),
        "data_description": data.description,
        "overrides": list(HydraConfig.get().overrides.task),
    }
    if earlier:
        facts |= {"init": {"run": earlier.run, "weights": earlier.weights}}
        say(f"the encoder starts from {earlier.run}, weights {earlier.weights}")
    if config.resume:
        reopen_folder(folder, plain(config), facts)
        cut_back(folder, done)
    else:
        open_folder(folder, plain(config), facts)
        data.save(folder)
    for logger in trainer.loggers:
        logger.log_hyperparams(without_passwords({**plain(config), "provenance": facts}))
    parameters = sum(p.numel() for p in module.objective.encoder.parameters())
    say(
        f"{config.name}: {data.description}, {type(module.objective).__name__}, "
        f"{type(module.objective.encoder).__name__} of {parameters / 1e6:.2f} M parameters, "
        f"{type(trainer.accelerator).__name__.removesuffix('Accelerator')}, {trainer.precision}\n{folder}"
    )
    warn_of_accumulation(module.objective, trainer.accumulate_grad_batches, data.batch_size)


def warn_of_accumulation(objective: Objective, batches: int, batch_size: int) -> None:
    """Where the step of so many batches is not that of one which is so many times as large."""
    if batches > 1 and (parts := objective.of_batch):
        say(
            f"warning: trainer.accumulate_grad_batches={batches}: {type(objective).__name__} takes "
            f"{' and '.join(parts)} from each batch of {batch_size:,}, not from all {batches * batch_size:,} items of "
            "a step; a larger data.batch_size does, on more devices if need be"
        )


def shorter(trainer: pl.Trainer, done: int) -> str:
    return f"trainer.max_epochs={trainer.max_epochs} is less than the {done:,} steps that the run has done already"


def check_end(trainer: pl.Trainer, done: int, finished: bool) -> None:
    """Says where a training ended before its plan. Raises UsageError where a finished run had nothing left to do."""
    step, plan = trainer.global_step, total_steps(trainer)
    if plan < step == done:
        raise UsageError(shorter(trainer, done))
    if finished and step == done > 0:
        raise UsageError(
            f"the run has done all of its {step:,} steps: a larger trainer.max_epochs or max_steps adds some"
        )
    if step < plan:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        say(f"the training ended at step {step:,} of the {plan:,} that were planned, at a learning rate of {rate:.3g}")


def judge(
    config: DictConfig, folder: Path, trainer: pl.Trainer, module: Pretraining, data: Data, protocol: Protocol
) -> dict[str, Any]:
    """The score sheet of the last checkpoint, beside both controls; nothing in all processes but the first.

    All of them come here: each embeds some of the items, and the first takes the scores when the others have left.
    """
    health = log_health(trainer, module, data, config.scores.health_rows)
    warn_of_collapse(health, module.objective.advice)
    say(f"scoring the last checkpoint, the same backbone untrained, and {data.raw_name} …")
    parts, run = parts_of(plain(config)), str(folder.resolve())
    model = Model(module.objective.encoder, module.views, data, parts, run, module.objective)
    first = beside(model.held_out(), {}, config.seed)
    before, rows = fresh(model, config.seed), config.scores.rows
    sets = embed_both(model, before, data, protocol, config.seed, rows, together(config))
    if sets is None:
        return {}
    scored = score_sheet(model, before, data, protocol, config.seed, folder, rows, first, sets)
    publish(scored.lines, trainer.loggers, trainer.global_step, trainer.current_epoch)
    say(table(headlines(scored.lines), scored.cached))
    return health | data.facts | scored.summary


def together(config: DictConfig) -> dict[str, Any] | None:
    """The group `trainer` for what the processes of a training do together when it has ended; None: it is one."""
    options = {key: value for key, value in plain(config.trainer).items() if key in OF_MACHINES}
    return {**options, "strategy": "ddp"} if world() > 1 else None
