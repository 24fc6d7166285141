"""What no shape of a single file shows, and is known from what lies beside a part or from what the file says of itself:
by what latents are scaled, and the activation of a text tower."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from ..store.files import read_header

FAMILIES = {  # VAEs: whose -> what their configuration says that no shape shows
    'Stable Diffusion 1 and 2': {'scaling_factor': 0.18215},
    'Stable Diffusion XL': {'scaling_factor': 0.13025},
    'Playground 2.5': {'scaling_factor': 0.5, 'latents_mean': [-1.6574, 1.886, -1.383, 2.5155], 'latents_std': [8.4927, 5.9022, 6.5498, 5.2299]},
    "Stable Diffusion's x4 upscaler": {'scaling_factor': 0.08333},
    'Stable Diffusion 3': {'scaling_factor': 1.5305, 'shift_factor': 0.0609},
    'FLUX.1': {'scaling_factor': 0.3611, 'shift_factor': 0.1159},
}
SHAPES = {  # channels of a latent, widths of the levels, a mixing of latents -> whose VAEs look so
    (4, (128, 256, 512, 512), True): ('Stable Diffusion 1 and 2', 'Stable Diffusion XL', 'Playground 2.5'),
    (4, (128, 256, 512), True): ("Stable Diffusion's x4 upscaler",),
    (16, (128, 256, 512, 512), False): ('Stable Diffusion 3', 'FLUX.1'),
}
SAID = {  # beginning of `modelspec.architecture` in the file's own words -> whose
    'stable-diffusion-xl': 'Stable Diffusion XL', 'stable-diffusion-v1': 'Stable Diffusion 1 and 2', 'stable-diffusion-v2': 'Stable Diffusion 1 and 2',
    'stable-diffusion-v3': 'Stable Diffusion 3', 'stable-diffusion-3': 'Stable Diffusion 3', 'flux-1': 'FLUX.1', 'flux.1': 'FLUX.1',
}  # fmt: skip


def vae_words(shape: tuple[int, tuple[int, ...], bool], beside: Mapping[str, Tensor], said: Mapping, file: Path) -> dict[str, object]:
    "Scale and shift of a VAE in one file: of the family that it belongs to, which the file tells or the caller."
    alike = SHAPES.get(shape, ())
    if 'scaling_factor' in said:
        return next((FAMILIES[name] for name in alike if FAMILIES[name]['scaling_factor'] == said['scaling_factor']), {})
    found = [name for name in dict.fromkeys(_families(beside, file)) if not alike or name in alike]
    if len(found or alike) != 1:
        families = ' or '.join(f'{FAMILIES[name]["scaling_factor"]} ({name})' for name in found or alike or FAMILIES)
        raise ValueError(f'{file}: nothing in it says by what its latents are scaled; say it with config={{"scaling_factor": ...}}, which is {families}')
    return FAMILIES[(found or alike)[0]]


def _families(tensors: Mapping[str, Tensor], file: Path) -> Iterator[str]:
    "Whose VAE it can be, by what lies beside it and by what the file says."
    unet = 'model.diffusion_model.'
    if any(k.startswith('conditioner.embedders.') for k in tensors):
        yield 'Playground 2.5' if 'edm_mean' in tensors else 'Stable Diffusion XL'
    elif any(k.startswith(f'{unet}joint_blocks.') for k in tensors):
        yield 'Stable Diffusion 3'
    elif any(k.startswith((f'{unet}double_blocks.', 'double_blocks.')) for k in tensors):
        yield 'FLUX.1'
    elif any(k.startswith('cond_stage_model.') for k in tensors):
        first = tensors.get(f'{unet}input_blocks.0.0.weight')
        yield "Stable Diffusion's x4 upscaler" if first is not None and first.shape[1] == 7 else 'Stable Diffusion 1 and 2'
    else:
        architecture = read_header(file)[0].get('modelspec.architecture', '').lower()
        yield from (name for begin, name in SAID.items() if architecture.startswith(begin))


def text_names(own: Mapping[str, Tensor], whole: bool, said: Mapping, file: Path) -> tuple[dict[str, Tensor], str] | None:
    "A text tower in transformers' names, with and without their prefixes, and its activation; None where the names are OpenCLIP's."
    short = {k.removeprefix('transformer.').removeprefix('text_model.'): v for k, v in own.items()}
    if 'embeddings.token_embedding.weight' not in short:
        return None
    if not whole and 'hidden_act' not in said:
        raise ValueError(f'{file}: no shape shows the activation of a text tower that lies alone; say it with config={{"hidden_act": ...}}, which is "quick_gelu" for '
                         'those of OpenAI (Stable Diffusion 1, the first of XL, 3 and FLUX) and "gelu" for OpenCLIP\'s')  # fmt: skip
    return {k: v for k, v in short.items() if not k.startswith(('logit_scale', 'text_projection'))}, 'quick_gelu'
