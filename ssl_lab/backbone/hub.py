"""Any image encoder of the Hugging Face Hub, through `transformers.AutoModel` (needs `pip install ssl-lab[hub]`).

Only safetensors are read and code from the Hub is never run.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from ssl_lab.backbone.base import Backbone
from ssl_lab.errors import UserError


class Hub(Backbone):
    """`(b, c, h, w)` → `(b, width)`: the model's pooled output, or the mean of its tokens where it has none.

    `name` is a Hub name or a folder. `pretrained: false` takes the architecture with random weights.
    """

    def __init__(self, name: str, pretrained: bool = True):
        super().__init__()
        try:
            from transformers import AutoConfig, AutoModel
        except ImportError as error:
            raise UserError("backbone=hub needs transformers: pip install 'ssl-lab[hub]'") from error
        try:
            if pretrained:
                self.model: Any = AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
            else:
                config = AutoConfig.from_pretrained(name, trust_remote_code=False)
                self.model = AutoModel.from_config(config, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(f"backbone.name={name} could not be loaded: {str(error).splitlines()[0]}") from error
        config = self.model.config
        self.width = config.hidden_sizes[-1] if hasattr(config, "hidden_sizes") else config.hidden_size

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b {self.width}"]:
        output = self.model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        return output.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)
