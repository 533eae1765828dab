"""`ssl-lab pretrain`: unlabelled data and an objective → a run folder with a checkpoint, metrics and scores."""

import copy
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from ssl_lab.backbone.base import Backbone
from ssl_lab.building import build
from ssl_lab.callbacks.health import log_health, warn_of_collapse
from ssl_lab.callbacks.progress import Speed
from ssl_lab.callbacks.stop import StopBetweenSteps
from ssl_lab.checkpoint import WholeCheckpoints
from ssl_lab.distributed import SharedBatchNorms
from ssl_lab.embedding.embed import embed
from ssl_lab.errors import UsageError
from ssl_lab.evaluation.lines import beside, headlines, table
from ssl_lab.evaluation.masked import held_out
from ssl_lab.evaluation.sheet import Protocol
from ssl_lab.evaluation.subject import subject
from ssl_lab.files import write_json
from ssl_lab.hardware import precision, quiet
from ssl_lab.logger import loggers
from ssl_lab.logger.wandb import finish
from ssl_lab.model import PARTS, Model
from ssl_lab.pretraining import Pretraining
from ssl_lab.progress import say
from ssl_lab.provenance import provenance
from ssl_lab.run import checkpoint_of, open_folder, plain
from ssl_lab.tasks.evaluate import controls_of, publish, score_sheet


def pretrain(config: DictConfig, folder: Path) -> None:
    """Trains, and scores the last checkpoint beside its controls."""
    quiet()
    resumed = checkpoint_of(config.resume) if config.resume else None
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build(config.data)
    data.setup()
    module = compose(config, data)
    untrained = copy.deepcopy(module.objective.backbone)
    speed = Speed()
    trainer = make_trainer(config, folder, [speed, StopBetweenSteps()])
    if trainer.is_global_zero:
        begin(config, folder, trainer, data, module)
    try:
        start = time.monotonic()
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
        seconds = time.monotonic() - start
        module.to(trainer.strategy.root_device)  # Lightning has moved it to the CPU
        summary = {"epochs": trainer.current_epoch, "steps": trainer.global_step, "seconds": round(seconds, 1)}
        summary |= {
            name.split("/")[1]: float(value) for name, value in trainer.callback_metrics.items() if "pretrain/" in name
        }
        summary |= {f"{data.unit}_per_second": speed.rate}
        if trainer.is_global_zero:
            summary |= judge(config, folder, trainer, module, untrained, data)
            write_json(folder / "summary.json", summary)
    finally:
        finish()


def compose(config: DictConfig, data: Any) -> Pretraining:
    """The module that a config describes for its data, with untrained weights."""
    scale = 1.0
    if config.lr_for_batch:
        scale = config.data.batch_size * config.trainer.accumulate_grad_batches / config.lr_for_batch
    return Pretraining(
        objective=build(config.objective, backbone=build(config.backbone, **data.context)),
        views=build(config.views, **data.context),
        optimizer=build(config.optimizer, lr=scale * config.optimizer.lr),
        schedule=build(config.schedule),
        seed=config.seed,
        channels_last=config.channels_last,
        compile=config.compile,
    )


def make_trainer(config: DictConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    options = plain(config.trainer)
    options["precision"] = precision(options["precision"], options["accelerator"])
    plugins: list[Any] = [WholeCheckpoints()]
    if options["accelerator"] == "cpu" and options["sync_batchnorm"]:  # which torch's own cannot do
        plugins, options["sync_batchnorm"] = [*plugins, SharedBatchNorms()], False
    try:
        return pl.Trainer(
            **options,
            plugins=plugins,
            logger=loggers(config.logger, folder),
            callbacks=[*(build(one) for one in config.callbacks.values() if one), *callbacks],
            default_root_dir=str(folder),
            use_distributed_sampler=False,  # the data's own order is sliced by rank
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        raise UsageError(f"trainer: {error}") from error


def begin(config: DictConfig, folder: Path, trainer: pl.Trainer, data: Any, module: Pretraining) -> None:
    """Says and writes down what is about to happen."""
    facts = provenance(data)
    open_folder(folder, config, facts)
    data.save(folder)
    for logger in trainer.loggers:
        logger.log_hyperparams({**plain(config), "provenance": facts})
    parameters = sum(p.numel() for p in module.objective.backbone.parameters())
    say(
        f"{config.name}: {data.description}, {type(module.objective).__name__}, "
        f"{type(module.objective.backbone).__name__} of {parameters / 1e6:.2f} M parameters, "
        f"{type(trainer.accelerator).__name__.removesuffix('Accelerator')}, {trainer.precision}\n{folder}"
    )


def judge(
    config: DictConfig, folder: Path, trainer: pl.Trainer, module: Pretraining, untrained: Backbone, data: Any
) -> dict[str, Any]:
    """The score sheet of the last checkpoint, beside both controls."""
    health = log_health(trainer, module, config.scores.health_rows)
    warn_of_collapse(health)
    say(f"scoring the last checkpoint, the same backbone untrained, and {data.raw_name} …")
    told = beside(held_out(module, data), {}, config.seed)
    before = Model(untrained, module.views, data, {part: plain(config[part]) for part in PARTS})
    rows = config.scores.rows
    run = subject(partial(embed, module.objective.backbone, module.views, device=module.device), data, rows)
    controls = controls_of(before, data, rows, module.device)
    protocol = Protocol(**plain(config.protocol))
    found = score_sheet(run, controls, data, module.views, protocol, config.seed, folder, told)
    publish(found.lines, trainer.loggers, trainer.global_step, trainer.current_epoch)
    say(table(headlines(found.lines), found.cached))
    return health | data.facts | found.summary
