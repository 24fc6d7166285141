"""The readers of prompts of Stable Diffusion 3 and FLUX.1: up to two towers of CLIP and the encoder of T5, put together as their pipelines do.

No mask is given: both networks were trained to read the padding too. An encoder that an index leaves out, as T5 often is for the
room that it takes, is zeros in Stable Diffusion 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ..conditioning import Asked, Conditioner
from ..core import Cond, register
from ..nets.clip import TextTower
from ..nets.t5 import T5
from ..text import Tokenizer
from .unigram import Unigram


def _to(tokenizer: Tokenizer | Unigram, texts: Sequence[str], module: nn.Module) -> Tensor:
    "Tokens, added words in full, where the weights are."
    return tokenizer([tokenizer.spread(text) for text in texts]).to(next(module.parameters()).device)


@register
class JointReader(Conditioner):
    """Read prompts as Stable Diffusion 3 (Esser et al. 2024, section 4 and appendix B).

    The tokens are those of both towers, side by side, filled up with zeros to the width of T5, then those of T5; the vector is
    that of both towers. The states of the towers are those before the last block, without the final norm.
    """

    def __init__(
        self,
        tokenizers: Sequence[Tokenizer],
        towers: Sequence[TextTower],  # as many
        sentences: Unigram | None = None,  # T5's tokenizer
        encoder: T5 | None = None,  # None: zeros in its place
        *,
        width: int = 4096,  # of a token
        length: int = 256,  # tokens of T5
    ):
        super().__init__()
        self.tokenizers, self.towers, self.sentences, self.encoder = list(tokenizers), nn.ModuleList(towers), sentences, encoder
        self.width, self.length = width, length
        self.requires_grad_(False)

    def forward(self, raw: Sequence[str]) -> Cond:
        return self.read(raw, Asked())

    def null(self, n: int) -> Cond:
        return self.read([''] * n, Asked(away=True))

    def read(self, raw: Sequence[str], asked: Asked) -> Cond:
        skip = 1 + (0 if asked.away else asked.skip)
        answers = [tower(_to(tokenizer, raw, tower), skip=skip, norm=False) for tokenizer, tower in zip(self.tokenizers, self.towers)]
        seq, vec = (torch.cat(parts, -1) for parts in zip(*answers))
        seq = pad(seq, (0, self.width - seq.shape[2]))
        long = seq.new_zeros(len(seq), self.length, self.width) if self.encoder is None else self.encoder(_to(self.sentences, raw, self.encoder))
        return Cond(vec=vec, seq=torch.cat([seq, long.to(seq)], 1))


@register
class SpokenReader(Conditioner):
    """Read prompts as FLUX.1: the tokens are T5's, the vector is that of the tower, and behind it the scale of guidance.

    The network was taught what guidance gives, and is asked once. One that is not told the scale is made for a few steps
    without guidance.
    """

    tells_scale = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        tower: TextTower,
        sentences: Unigram,  # T5's tokenizer
        encoder: T5,
        *,
        guided: bool = True,  # the network is told the scale
    ):
        super().__init__()
        self.tokenizer, self.tower, self.sentences, self.encoder, self.guided = tokenizer, tower, sentences, encoder, guided
        self.requires_grad_(False)

    def forward(self, raw: Sequence[str]) -> Cond:
        return self.read(raw, Asked(scale=3.5))

    def null(self, n: int) -> Cond:
        return self.read([''] * n, Asked(scale=3.5))

    def read(self, raw: Sequence[str], asked: Asked) -> Cond:
        if asked.skip:
            raise ValueError(f'clip_skip is {asked.skip}, and FLUX reads only the last state of its tower')
        vec = self.tower(_to(self.tokenizer, raw, self.tower))[1]
        if self.guided:
            scale = torch.as_tensor(asked.scale).to(vec).expand(len(vec))
            vec = torch.cat([vec, scale[:, None]], 1)
        return Cond(vec=vec, seq=self.encoder(_to(self.sentences, raw, self.encoder)).to(vec))
