"""Diffusion models, from noise to pictures: the library of the book.

Every public name is here, `from diffbook import UNet, sample, load`, and is fetched from its module when it is first
asked for. `FACE` says where each lives; the chapter of a module derives it.
"""

import ast
import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

__version__ = "0.1.0"

FACE = {  # module -> the names that others rely on
    'core': 'Cond Data DenoiseFn Noise Time match_dims merge register',
    'data': 'load_data read_folder save_images',
    'gaussian': 'kl_gaussian',
    'exact': 'GaussianMixture',
    'schedules': 'CosineSchedule DiscreteSchedule ExponentialSchedule KarrasSchedule LinearBetaSchedule RectifiedFlowSchedule Schedule ShiftedSchedule'
    ' cosine_betas linear_betas scaled_linear_betas',
    'elbo': 'ELBO elbo_terms',
    'predictions': 'Prediction predict_edm predict_eps predict_score predict_v predict_velocity predict_x0 solve_x0 target',
    'losses': 'Denoiser diffusion_loss',
    'nets.unet': 'UNet',
    'nets.dit': 'DiT',
    'nets.mmdit': 'Flux MMDiT',
    'training': 'EMA Trainer load save',
    'samplers': 'Solver Step ancestral churn ddim equip euler heun karras_times sample snr_times trailing_times uniform_times',
    'likelihood': 'log_likelihood',
    'sde': 'SubVPSchedule corrected ddim_sde euler_maruyama midpoint_sde reverse reverse_diffusion',
    'multistep': 'adams_bashforth deis dpm_solver dpmpp_2m dpmpp_3m unipc',
    'conform': 'check_denoiser check_prediction check_schedule check_solver',
    'stages': 'Stage cascade',
    'flows': 'couple',
    'consistency': 'consistency_loss renoise',
    'flow_maps': 'FlowMap jump lagrangian_loss meanflow_loss shortcut_loss',
    'recipes': 'recipe',
    'nets.clip': 'CLIP',
    'conditioning': 'Conditioner Conditioners VectorConditioner conditional_loss drop',
    'guidance': 'guide within',
    'nets.vae': 'AutoencoderKL Codec',
    'unclip': 'PriorTransformer slerp text_diff',
    'audio': 'LogMel StationaryProcess griffin_lim istft stft',
    'control': 'ControlNet Controlled with_control',
    'pretrained': 'load_controlnet load_network load_schedule load_text_encoder load_tokenizer load_unet load_vae',
    'stable_diffusion': 'StableDiffusion load_pipeline',
    'adapters': 'add_lora load_lora merge_lora save_lora',
    'ledger': 'check claim',
    'exercise': 'grade',
}
_HOME = {name: module for module, names in FACE.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = importlib.import_module(f'diffbook.{_HOME[name]}')
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _explain(module: ModuleType) -> None:
    "Let `help` say what each parameter means: the stub of a module has it in the docstrings, the source beside the parameters."
    stub = Path(module.__file__ or '').with_suffix('.pyi')
    if not stub.is_file():
        return
    for node in ast.parse(stub.read_text(encoding='utf-8')).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            value = vars(module).get(node.name)
            members = node.body if isinstance(node, ast.ClassDef) and isinstance(value, type) else []
            parts = [(node, value), *((n, vars(value).get(n.name)) for n in members if isinstance(n, ast.FunctionDef))]
            for written, thing in parts:
                if isinstance(thing, (FunctionType, type)) and thing.__module__ == module.__name__ and (text := ast.get_docstring(written)):
                    thing.__doc__ = text


class _Explained:
    "Finds the modules of the book as others would, and explains each when it is loaded, whoever imports it."

    explains = True  # a second copy of the book in one process has a finder of its own: neither asks the other

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not name.startswith('diffbook.'):
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if not getattr(finder, 'explains', False))
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _explain(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Explained)
