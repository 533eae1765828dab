"""Scores while the training goes on, of rows that the training set keeps for it: the test rows are not looked at.

So an epoch, a rate or the best run of a sweep can be chosen by them. They are logged as Lightning logs a metric: a
callback's `monitor` can name them, and several processes share the rows.
"""

from collections.abc import Mapping
from functools import partial
from itertools import islice

import lightning.pytorch as pl
import torch
from torchmetrics import Metric

from ssl_lab.callbacks.base import Occasional
from ssl_lab.data.base import Data
from ssl_lab.domains import Count, Share
from ssl_lab.embedding.embed import embed
from ssl_lab.evaluation.metrics import KNNAccuracy, LinearAccuracy
from ssl_lab.evaluation.sheet import LINEAR
from ssl_lab.evaluation.subject import batches_of, held_out_rows
from ssl_lab.runfolder.logged import HELD_OUT
from ssl_lab.training.pretraining import Pretraining


class Online(Occasional):
    """Logs kNN and linear probe of clean features, where there are labels; training never sees them.

    They know the labels of two thirds of `rows` random rows of the bank, and predict those of the others.
    """

    def __init__(self, rows: Count, every_n_epochs: Count | None, share: Share):
        super().__init__(every_n_epochs, share)
        self.rows = rows

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        if data.rows["bank"].labels is None:
            return
        known = (data.labels("bank") >= 0).nonzero()[:, 0]
        groups = data.groups("bank")
        of_known = None if groups is None else groups[known]
        places, is_query = held_out_rows(len(known), self.rows, module.seed, of_known)
        held_out = known[places], is_query
        # consecutive rows for each process, so that all of them stand in their order again when they are gathered
        places, is_query = (part.tensor_split(trainer.world_size)[trainer.global_rank] for part in held_out)
        chosen = torch.zeros(len(data.rows["bank"]), dtype=torch.bool)
        chosen[places] = True
        batches = batches_of(data, "bank", chosen)
        vectors = embed(module.objective.encoder, module.views, batches, module.device).to(module.device)
        labels = data.labels("bank")[places].to(module.device)
        metrics = {"knn/cosine_k20_t0.07": KNNAccuracy(k=20, temperature=0.07), LINEAR: LinearAccuracy()}
        for metric in metrics.values():
            for rows in (~is_query, is_query):
                metric.update(vectors[rows], labels[rows], reference=rows is not is_query)
        log(module, metrics)


class HeldOut(Occasional):
    """Logs the objective's own scores, such as masked perplexity, of items that were kept from training for it."""

    def look(self, trainer: pl.Trainer, module: Pretraining, data: Data) -> None:
        unseen = data.unseen("validation")
        if unseen is None:
            return
        share = islice(enumerate(unseen.batches), trainer.global_rank, None, trainer.world_size)
        terms = module.objective.held_out(module.views, share, partial(data.counts, "train"))
        metrics = {name: one.metric().to(module.device) for name, one in terms.items()}
        for name, one in terms.items():
            metrics[name].update(*(part.float().to(module.device) for part in (one.means, one.counts)))
        log(module, metrics)


def log(module: pl.LightningModule, metrics: Mapping[str, Metric]) -> None:
    """For this epoch, `knn/protocol` as `knn_holdout/protocol`."""
    for name, metric in metrics.items():
        shown = name.replace("/", HELD_OUT, 1)
        metric.compute()  # which it keeps: so the time that it takes is that of this look
        module.log(shown, metric, on_step=False, on_epoch=True, metric_attribute=shown)
