"""Any image or text encoder of the Hugging Face Hub, through `transformers.AutoModel` (`pip install ssl-lab[hub]`).

Only safetensors are read and code from the Hub is never run. `name` is a Hub name or a folder; without `pretrained` it
is the architecture with random weights.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.backbone.text import mean_of
from ssl_lab.data.tokenizer import Tokenizer
from ssl_lab.errors import UserError
from ssl_lab.progress import say

WINDOWS = ("sliding_window", "local_attention")
"""what configs call the number of tokens that a token sees"""


class Hub(Backbone):
    """Images `(b, c, h, w)` → `(b, width)`: the pooled output, or the mean of the tokens where there is none."""

    reads = "image"

    def __init__(self, name: str, pretrained: bool = True):
        super().__init__()
        self.model: Any = load(name, pretrained)
        self.width = getattr(self.model.config, "hidden_sizes", [0])[-1] or self.model.config.hidden_size

    @property
    def stack(self) -> Sequence[nn.Module]:
        return layers_of(self.model)

    def forward(self, items: Float[Tensor, "b c h w"]) -> Float[Tensor, "b {self.width}"]:
        output = self.model(pixel_values=items)
        pooled = getattr(output, "pooler_output", None)
        return output.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)


class HubText(Backbone):
    """Tokens `(b, t)` → `(b, width)`, in windows of the longest text that the model takes.

    The vector is the mean over a text's tokens, those that frame it included, as sentence encoders are trained.

    Packed rows go through the model as they are, where it gives documents the vectors that they have alone: that is
    tried with the model itself. Where it does not (relative positions, a window of its own), each is passed alone.
    """

    reads = "tokens"
    gives = frozenset({"vector", "tokens", "words"})

    def __init__(self, name: str, tokenizer: Tokenizer, pretrained: bool = True):
        super().__init__()
        self.model: Any = load(name, pretrained)
        self.first = _first_position(self.model)
        longest = int(getattr(self.model.config, "max_position_embeddings", 512)) - self.first
        self.width, self.length, self.pad = self.model.config.hidden_size, longest, tokenizer.pad
        if tokenizer.size > len(self.words.weight):
            raise UserError(
                f"the tokenizer has {tokenizer.size:,} tokens and {name} embeds {len(self.words.weight):,}: "
                f"set data.tokenizer.pretrained={name}"
            )

    def forward(self, items: Int[Tensor, "b t"]) -> Float[Tensor, "b {self.width}"]:
        return mean_of(self.tokens(items), items != self.pad)

    def tokens(
        self, items: Int[Tensor, "b t"], document: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t {self.width}"]:
        if document is not None:
            return self._packed(items, document) if self._takes_packed_rows else self._alone(items, document)
        parts = [self._windowed(part) for part in items.split(self.length, dim=1)]
        return torch.cat(parts, 1)

    @property
    def stack(self) -> Sequence[nn.Module]:
        return layers_of(self.model)

    @property
    def words(self) -> nn.Embedding:
        return self.model.get_input_embeddings()

    def _windowed(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t {self.width}"]:
        return self.model(input_ids=tokens, attention_mask=tokens.ne(self.pad).long()).last_hidden_state

    def _packed(self, tokens: Int[Tensor, "b t"], document: Int[Tensor, "b t"]) -> Float[Tensor, "b t {self.width}"]:
        visible = (document[:, None, :, None] == document[:, None, None, :]) | torch.eye(
            tokens.shape[1], dtype=torch.bool, device=tokens.device
        )
        begins = _begins(document)
        place = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        place = place - torch.where(begins, place, 0).cummax(1).values  # positions start anew with each document
        places = place + self.first
        return self.model(input_ids=tokens, attention_mask=visible, position_ids=places).last_hidden_state

    def _alone(self, tokens: Int[Tensor, "b t"], document: Int[Tensor, "b t"]) -> Float[Tensor, "b t {self.width}"]:
        """Each document in a row of its own; padding gets zeros."""
        begins = _begins(document)
        number = begins.flatten().cumsum(0) - 1  # of the piece that each token belongs to
        start = begins.flatten().nonzero()[:, 0]
        place = torch.arange(tokens.numel(), device=tokens.device) - start[number]
        rows = tokens.new_full((len(start), int(place.max()) + 1), self.pad)
        rows[number, place] = tokens.flatten()
        real = document.flatten()[start] >= 0
        vectors = torch.zeros(*rows.shape, self.width, device=tokens.device, dtype=self.words.weight.dtype)
        vectors[real] = self.tokens(rows[real]).to(vectors.dtype)
        return vectors[number, place].view(*tokens.shape, self.width)

    @functools.cached_property
    def _takes_packed_rows(self) -> bool:
        """Whether two documents in a row have the vectors that they have alone, one of them longer than any window."""
        window = max(int(getattr(self.model.config, name, 0) or 0) for name in WINDOWS)
        length = min(self.length, 2 * window + 24)
        device, known = self.words.weight.device, min(len(self.words.weight), 64)
        ordinary = torch.tensor([number for number in range(known) if number != self.pad], device=device)
        tokens = ordinary[7 * torch.arange(length, device=device) % len(ordinary)][None]
        document = (torch.arange(length, device=tokens.device) >= 9).long()[None]
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                packed, alone = self._packed(tokens, document), self._alone(tokens, document)
            packs = torch.allclose(packed, alone, atol=1e-3, rtol=1e-3)
        except (TypeError, ValueError, RuntimeError, IndexError):  # a mask or positions that it does not take
            packs = False
        finally:
            self.train(training)
        if not packs:
            name = type(self.model).__name__
            say(f"{name} reads packed rows otherwise: each document is passed alone, which is slower")
        return packs


def _begins(document: Int[Tensor, "b t"]) -> Bool[Tensor, "b t"]:
    """Where a document of a row begins, or its padding."""
    begins = torch.ones_like(document, dtype=torch.bool)
    begins[:, 1:] = document[:, 1:] != document[:, :-1]
    return begins


def load(name: str, pretrained: bool) -> Any:
    """A model of `transformers`. Raises UserError where there is none of that name, or no library."""
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise UserError("backbone=hub needs transformers: pip install 'ssl-lab[hub]'") from error
    try:
        if pretrained:
            return AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        return AutoModel.from_config(AutoConfig.from_pretrained(name, trust_remote_code=False), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"backbone.name={name} could not be loaded: {str(error).splitlines()[0]}") from error


def layers_of(model: nn.Module) -> Sequence[nn.Module]:
    """The list of modules that holds most of the parameters: every architecture calls it by another name."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=lambda layers: sum(p.numel() for p in layers.parameters()), default=()))


def _first_position(model: nn.Module) -> int:
    """RoBERTa and its kin count positions from the padding's id on, for which their table has a row of its own."""
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    ids = [table.padding_idx for table in tables if isinstance(table, nn.Embedding) and table.padding_idx is not None]
    return ids[0] + 1 if ids else 0
