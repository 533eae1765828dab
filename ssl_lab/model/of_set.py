"""From an embedding set, or a collection of one, back to the model that made it: a query has to go the same way."""

from pathlib import Path

from ssl_lab.config import Config
from ssl_lab.embedding.embedding_set import Card
from ssl_lab.errors import UserError
from ssl_lab.model.base import Model
from ssl_lab.model.loading import build_model, stood_on
from ssl_lab.model.standardized import standardized
from ssl_lab.runfolder.reading import checked


def model_of(card: Config) -> Model:
    """The model that made an embedding set. Raises UserError where its run has other weights by now."""
    made = checked(Card, card, "the card of these vectors")  # its checkpoint is None: of an earlier version
    model = stood_on(Path(made.run), made.checkpoint) if made.run else build_model(made.config)
    if made.standardized:
        model = standardized(model, made.run)
    if model.weights != made.weights:
        made_by = made.run or "this backbone"
        raise UserError(f"{made_by} has other weights than when it made these vectors: embed and index again")
    return model
