"""One file with a whole model, or with one part, in the names of the first code: which names are a part's."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from . import original
from .foreign import refuse_tensors

BEGINS = {  # part -> how its names begin in a whole model, and the names of which one tells it where it lies alone
    'unet': ('model.diffusion_model.', ('input_blocks.0.0.weight',)),
    'vae': ('first_stage_model.', ('decoder.up.0.block.0.conv1.weight',)),
    'text_encoder': ('cond_stage_model.', ('text_model.embeddings.token_embedding.weight', 'embeddings.token_embedding.weight')),
}
BESIDE = ('loss.', 'model_ema.')  # what a training leaves beside a part that lies alone
READERS = {'unet': original.unet, 'vae': original.vae, 'text_encoder': original.text}  # who reads the settings of a part off its shapes


def read_single(
    tensors: Mapping[str, Tensor],  # of the file
    file: Path,
    part: str,  # one of READERS, or scheduler
    said: Mapping[str, object],  # settings that replace what the shapes show
    variant: str | None = None,  # None: the weights of training; ema: their average
) -> tuple[dict, dict[str, Tensor]]:  # settings, and tensors by diffusers' or transformers' names
    "Read one part of a file that holds a whole Stable Diffusion, or that part alone; a ValueError says why it is none."
    if part == 'scheduler':
        return original.schedule(tensors, file) | dict(said), {}
    own, whole = own_tensors(tensors, part, file, variant)
    try:
        return READERS[part](own, said, tensors if whole else {}, file)
    except (IndexError, KeyError, StopIteration, ValueError, RuntimeError) as error:
        if str(error).startswith(str(file)):
            raise
        raise ValueError(f'{file}: its {part} is not built as that of Stable Diffusion; not found: {error}') from error


def own_tensors(tensors: Mapping[str, Tensor], part: str, file: Path, variant: str | None = None) -> tuple[dict[str, Tensor], bool]:
    "The tensors of a part under their names within it, and whether it lies in a whole model; the weights of training, or `ema`, their average."
    begin, telltales = BEGINS.get(part, ('', ()))
    own = {k.removeprefix(begin): v for k, v in tensors.items() if begin and k.startswith(begin)}
    of_xl = {} if part == 'vae' else {k: v for k, v in tensors.items() if k.startswith('conditioner.embedders.')}  # whose VAE alone we build
    refuse_tensors({k.removeprefix('model.diffusion_model.'): v.shape for k, v in {**of_xl, **(own or tensors)}.items()}, file)
    if not own and not any(name in tensors for name in telltales):
        raise ValueError(f'{file} holds no {part} in the names of Stable Diffusion ({begin}...); for another layout give the folder with its config.json')
    if variant is not None:
        own = _averaged(tensors, own, part, file, variant)
    return own or {k: v for k, v in tensors.items() if not k.startswith(BESIDE)}, bool(own)


def _averaged(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], part: str, file: Path, variant: str) -> dict[str, Tensor]:
    "The average that a training kept of a U-Net's weights; its names are written without dots."
    names = {k: 'model_ema.diffusion_model' + k.replace('.', '') for k in own}
    if variant != 'ema' or part != 'unet' or not own or not all(name in tensors for name in names.values()):
        raise ValueError(f'{file} holds no variant {variant!r} of its {part}; expected none, or for a U-Net ema, where the file holds model_ema.diffusion_model...')
    return {k: tensors[name] for k, name in names.items()}
