"""Whole published pipelines: which class reads prompts in which way, and what else its code says that no file does.

A pipeline is a network, a VAE, a scheduler and a reader of prompts. The first three are read by their own classes; the reader
is made of the text encoders and tokenizers that `model_index.json` names, by the class of the pipeline. To add a pipeline is
to add a `Conditioner` whose `read` answers what the network is told, and a row to `PIPELINES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..conditioning import Asked, Conditioner, TextConditioner
from ..core import Cond, register
from ..nets.clip import TextTower
from ..nets.layers import sinusoids
from ..store.files import read_json
from ..text import Tokenizer
from .folders import Kind, find_folder
from .joint import JointReader, SpokenReader
from .unigram import Unigram
from .reading import Published

INDEX = 'model_index.json'


class Parts(NamedTuple):
    "What a reader of prompts is made of."

    index: Mapping[str, object]  # model_index.json; empty, if there is none
    encoders: Mapping[str, nn.Module]  # by folder, such as 'text_encoder_2'
    tokenizers: Mapping[str, object]  # by folder
    network: Mapping[str, object]  # settings of the network that is told


@dataclass(frozen=True)
class Pipeline:
    "What the code of a published pipeline says."

    reader: Callable[[Parts], Conditioner]
    scale: float = 7.5  # of guidance, if nobody asks otherwise
    cells: int = 64  # along a side of the latents, where the network does not say
    scheduler: Mapping[str, object] = field(default_factory=dict)  # settings by which the pipeline overrules the file


@register
class SizedReader(Conditioner):
    """Read prompts as Stable Diffusion XL: states of all towers side by side, and one vector of the text and of numbers (Podell et al. 2024).

    The states are those before the last block, without the final norm; the vector is the last tower's, and behind it, each as
    waves, height and width that the picture had, top and left of its crop, height and width to draw, or in the place of the
    last two a score of beauty.
    """

    def __init__(
        self,
        tokenizers: Sequence[Tokenizer],
        towers: Sequence[TextTower],  # as many
        waves: int = 256,  # of each number
        *,
        shift: float = 0.0,  # see sinusoids
        cos_first: bool = True,
        scores: tuple[float, float] | None = None,  # of beauty: to draw, and to stay away from
        zeros: bool = True,  # an empty text to stay away from is zeros
        had: tuple[int, int] | None = None,  # height and width that the picture is said to have had; those to draw, if not said
        corner: tuple[int, int] = (0, 0),  # top and left of its crop
    ):
        super().__init__()
        self.tokenizers, self.towers, self.waves, self.scores, self.zeros = (
            list(tokenizers),
            nn.ModuleList(towers),
            {'dim': waves, 'shift': shift, 'cos_first': cos_first},
            scores,
            zeros,
        )
        self.had, self.corner = had, tuple(corner)  # may be set anew
        self.requires_grad_(False)

    def forward(self, raw: Sequence[str]) -> Cond:
        return self.read(raw, Asked((1024, 1024)))

    def null(self, n: int) -> Cond:
        return self.read([''] * n, Asked((1024, 1024), away=True))

    def read(self, raw: Sequence[str], asked: Asked) -> Cond:
        device = next(self.parameters()).device
        answers = [
            tower(tokenizer([tokenizer.spread(text) for text in raw]).to(device), skip=1 + asked.skip, norm=False)
            for tokenizer, tower in zip(self.tokenizers, self.towers)
        ]
        seq, vec = torch.cat([states for states, _ in answers], -1), answers[-1][1]
        if self.zeros and asked.away:
            some = torch.tensor([text != '' for text in raw], device=device)[:, None]
            seq, vec = seq * some[:, None], vec * some
        return Cond(seq=seq, vec=torch.cat([vec, self.numbers(asked).to(vec).expand(len(vec), -1)], 1))

    def numbers(self, asked: Asked) -> Tensor:  # (1, 6 or 5 times the waves)
        "What is told beside the text: if nobody says otherwise, that the picture always had this size and was not cropped."
        height, width = asked.size
        said = (*(self.had or (height, width)), *self.corner, *((height, width) if self.scores is None else (self.scores[asked.away],)))
        return sinusoids(torch.tensor(said, dtype=torch.float32), **self.waves).reshape(1, -1)


def _one(parts: Parts) -> TextConditioner:
    "Stable Diffusion 1 and 2: one tower, its last states after the final norm, the padding read."
    ((_, tower),), ((_, tokenizer),) = parts.encoders.items(), parts.tokenizers.items()
    return TextConditioner(tokenizer, tower, masked=False)


def _sized(parts: Parts) -> SizedReader:
    "Stable Diffusion XL: two towers, or, for its refiner, the second alone and a score."
    n, index = parts.network, parts.index
    waves = {'waves': n.get('addition_time_embed_dim') or 256, 'shift': n.get('freq_shift', 0), 'cos_first': n.get('flip_sin_to_cos', True)}
    scores = (6.0, 2.5) if index.get('requires_aesthetics_score', False) else None
    return SizedReader(
        list(parts.tokenizers.values()), list(parts.encoders.values()), **waves, scores=scores, zeros=bool(index.get('force_zeros_for_empty_prompt', True))
    )


def _joint(parts: Parts) -> JointReader:
    "Stable Diffusion 3: two towers, and T5 if it is there."
    towers = [name for name, encoder in parts.encoders.items() if isinstance(encoder, TextTower)]
    t5 = next((name for name in parts.encoders if name not in towers), None)
    tokenizers = [parts.tokenizers[name.replace('text_encoder', 'tokenizer')] for name in towers]
    sentences = None if t5 is None else _as_long(parts.tokenizers[t5.replace('text_encoder', 'tokenizer')], 256)
    return JointReader(tokenizers, [parts.encoders[name] for name in towers], sentences, t5 and parts.encoders[t5], width=parts.network['joint_attention_dim'])


def _spoken(parts: Parts) -> SpokenReader:
    "FLUX.1: a tower for the vector, T5 for the tokens."
    (tower, t5), (tokenizer, sentences) = parts.encoders.values(), parts.tokenizers.values()
    return SpokenReader(tokenizer, tower, _as_long(sentences, 512), t5, guided=parts.network.get('guidance_embeds', False))


def _as_long(tokenizer: Unigram, length: int) -> Unigram:
    "The same with rows of this length, which the pipeline says and no file does."
    return Unigram(**tokenizer.arguments | {'context': length})


OLD = Pipeline(_one, scheduler={'steps_offset': 1, 'clip_sample': False})
XL = Pipeline(_sized, scale=5.0, cells=128)
PIPELINES: dict[str, Pipeline] = {
    **{f'StableDiffusion{kind}Pipeline': OLD for kind in ('', 'Img2Img', 'Inpaint')},
    'StableDiffusion3Pipeline': Pipeline(_joint, scale=7.0, cells=128),
    'FluxPipeline': Pipeline(_spoken, scale=3.5, cells=128, scheduler={'_even': True}),
    **{f'StableDiffusionXL{kind}Pipeline': XL for kind in ('', 'Img2Img', 'Inpaint')},
}


def read_index(source: str | Path) -> dict:
    "What model_index.json says; nothing of a single file, or of a folder that has none."
    if Path(source).is_file() or Path(source).is_dir() and not (Path(source) / INDEX).is_file():
        return {}
    return read_json(find_folder(source, Kind('', INDEX, None)) / INDEX)


def open_index(source: str | Path) -> tuple[dict, Pipeline]:
    "What model_index.json says, and the pipeline that it names."
    index = read_index(source)
    return index, pipeline_of(index, source)


def pipeline_of(index: Mapping[str, object], source: object) -> Pipeline:
    "The pipeline that an index names; without one, Stable Diffusion 1 or 2."
    name = str(index.get('_class_name', 'StableDiffusionPipeline'))
    if name not in PIPELINES:
        raise ValueError(f'{source}, {INDEX} describes a {name}; supported here: {", ".join(PIPELINES)}')
    return PIPELINES[name]


def named(index: Mapping[str, object], part: str) -> list[str]:
    "The folders of a part that an index names, `text_encoder` before `text_encoder_2`; one that is null is left out."
    there = [key for key, value in index.items() if key.startswith(part) and isinstance(value, (list, tuple)) and value and value[0]]
    return sorted(there) or [part]


def read_conditioner(
    source: str | Path,  # folder of the model, a name of the Hub, or a single .safetensors file
    index: Mapping[str, object],  # model_index.json
    found: Mapping[str, Published],  # what was read of it already: the network, and of a single file the text encoder
    load_encoder: Callable[..., nn.Module],  # load_text_encoder and load_tokenizer
    load_tokenizer: Callable[..., object],
    dtype: torch.dtype | None = None,
    tokenizer: str | Path | None = None,  # where the tokenizer lies; a single file holds none
) -> Conditioner:
    "Read what turns prompts into a condition: text encoders and tokenizers, as the class in model_index.json puts them together."
    encoders = {name: load_encoder(found.get(name, source), dtype, folder=name) for name in named(index, 'text_encoder')}
    tokenizers = {name: load_tokenizer(tokenizer or source, folder=name) for name in named(index, 'tokenizer')}
    return pipeline_of(index, source).reader(Parts(index, encoders, tokenizers, found['network'].config))
