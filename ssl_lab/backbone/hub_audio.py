"""Any encoder of waves of the Hugging Face Hub: wav2vec 2.0, HuBERT, WavLM and others (`pip install ssl-lab[hub]`).

Loaded as those of images and text are: safetensors only, and never code. A clip has the vector that it has alone: where
an encoder takes a mask, padding is masked; where it does not (normalised over all of time: `feat_extract_norm: group`),
clips of equal length are passed together, which is slower.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_lab.backbone.base import Backbone
from ssl_lab.backbone.hub import layers_of, load
from ssl_lab.data.logmel import PADDING, LogMel, inside
from ssl_lab.errors import UsageError

RATE = 16_000  # samples a second, that all of these were trained on
KINDS = (
    "data2vec-audio",
    "hubert",
    "sew",
    "sew-d",
    "unispeech",
    "unispeech-sat",
    "wav2vec2",
    "wav2vec2-conformer",
    "wavlm",
)


class HubAudio(Backbone):
    """Waves `(b, t)` → `(b, width)`, the mean over time of the last layer."""

    reads = "wave"
    gives = frozenset({"vector", "tokens"})

    def __init__(self, name: str, mel: LogMel, pretrained: bool = True):
        super().__init__()
        self.model: Any = load(name, pretrained)
        kind = self.model.config.model_type
        if kind not in KINDS:
            raise UsageError(
                f"backbone.name={name} is a {kind}, which reads no waves: choose one of {', '.join(KINDS)}"
            )
        if mel.rate != RATE:
            raise UsageError(f"data.rate={mel.rate}: {name} reads {RATE:,} samples a second: data.rate={RATE}")
        self.width = self.model.config.hidden_size
        self.masked = self.model.config.feat_extract_norm != "group"

    @property
    def stack(self) -> Sequence[nn.Module]:
        return layers_of(self.model)

    def forward(self, items: Float[Tensor, "b t"]) -> Float[Tensor, "b {self.width}"]:
        if self.masked:
            tokens = self.tokens(items)
            count = self._steps((items > PADDING / 2).sum(1))
            return (tokens * inside(count, tokens.shape[1])[..., None]).sum(1) / count[:, None]
        length = (items > PADDING / 2).sum(1)
        vectors = items.new_zeros(len(items), self.width)
        for n in length.unique().tolist():
            vectors[length == n] = self.tokens(items[length == n, :n]).mean(1).to(vectors)
        return vectors

    def tokens(
        self, items: Float[Tensor, "b t"], document: Int[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b s {self.width}"]:
        """A vector for about 20 ms each."""
        sound = items > PADDING / 2
        mask = sound.long() if self.masked else None
        return self.model(input_values=items.masked_fill(~sound, 0.0), attention_mask=mask).last_hidden_state

    def _steps(self, length: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """How many vectors the convolutions make of so many samples."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            length = (length - kernel) // stride + 1
        return length.clamp(min=1)
