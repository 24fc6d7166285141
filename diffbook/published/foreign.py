"""Files that are no weights of ours: each is refused by the name of what it is, with what to do instead."""

import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PICKLES = ('.pt', '.pth', '.bin', '.ckpt', '.pkl', '.pickle')
EXPORT = 'take the model that it was made from, in safetensors'
ENDINGS = {  # ending -> what such a file is, and what to do
    **dict.fromkeys(('.onnx', '.onnx_data', '.ort'), ('a program for ONNX Runtime', EXPORT)),
    **dict.fromkeys(('.ts', '.torchscript', '.ptl', '.jit'), ('a program of TorchScript', EXPORT)), '.pt2': ('a program of torch.export', EXPORT),
    **dict.fromkeys(('.engine', '.plan', '.trt'), ('a program for one graphics card (TensorRT)', EXPORT)), '.mlmodel': ('a program for Core ML', EXPORT),
    '.mlpackage': ('a program for Core ML', EXPORT), '.mlmodelc': ('a program for Core ML', EXPORT), '.tflite': ('a program for TensorFlow Lite', EXPORT),
    **dict.fromkeys(('.msgpack', '.orbax'), ('weights for Flax', 'read them with the Flax classes of diffusers or transformers there and save_pretrained for PyTorch, as safetensors')),
    **dict.fromkeys(('.h5', '.hdf5', '.keras', '.pb'), ('weights for TensorFlow', 'read them with from_tf=True in the transformers library and save_pretrained, as safetensors')),
    **dict.fromkeys(('.gguf', '.ggml'), ('weights in blocks of few bits (GGUF)', 'take the model before it was quantised, in safetensors')),
    '.npz': ('a NumPy archive', 'write its arrays with safetensors.numpy.save_file, by their published names'),
    '.ot': ('weights for Rust', EXPORT), **dict.fromkeys(('.zip', '.tar', '.7z', '.rar', '.gz'), ('an archive', 'unpack it and give the folder')),
}  # fmt: skip
BY_NAME = {  # beginning of a name -> the same, for files whose ending says too little
    'openvino_model': ('a program for OpenVINO', EXPORT), 'flax_model': ENDINGS['.msgpack'], 'tf_model': ENDINGS['.h5'],
}  # fmt: skip
MERGE = 'load it into its model with diffusers (load_lora_weights, fuse_lora), save_pretrained the whole, and read that'
PARTS = {  # what stands in the names of tensors -> what the file is, and what to do
    **dict.fromkeys(('lora_', '.lora.', '.lora_', 'lora_unet', 'lora_te', '.hada_w', '.lokr_', '.dora_scale', '.oft_'), ('a LoRA, which changes a model and is none', MERGE)),
    **dict.fromkeys(('control_model.', 'controlnet_', 'input_hint_block.'), ('a ControlNet, which steers a model and is none', 'read the model that it was trained for')),
    **dict.fromkeys(('ip_adapter.', 'image_proj.', 'ip_adapter'), ('an IP-Adapter, which steers a model and is none', 'read the model that it was trained for')),
    'motion_modules.': ('a motion module, a part of a model of videos', 'read the model that it was trained for'),
    **dict.fromkeys(('double_blocks.', 'single_blocks.'), ('a FLUX transformer', 'it is no U-Net and is not read here')),
    'joint_blocks.': ('the transformer of Stable Diffusion 3', 'it is no U-Net and is not read here'),
    'conditioner.embedders.': ('Stable Diffusion XL in one file', 'its U-Net and two text encoders are not read here; its VAE is, by load_vae'),
}  # fmt: skip
LEARNED = ('a learned word (textual inversion), which belongs to a text encoder and is none',
           'load it with diffusers (load_textual_inversion), save_pretrained the whole, and read that: its word then stands in tokenizer and text encoder')  # fmt: skip


def refuse_file(file: Path) -> None:
    "Refuse a file, here or not, whose name or first bytes say that it is none of ours."
    if file.is_dir() and file.suffix not in ('.mlpackage', '.mlmodelc'):
        return
    what = next((said for word, said in BY_NAME.items() if file.name.startswith(word) and file.suffix), ENDINGS.get(file.suffix.lower()))
    if file.suffix.lower() in PICKLES and not what:
        if _is_torchscript(file):
            what = ENDINGS['.ts']
        else:
            raise ValueError(refuse_pickle(file))
    if what:
        raise ValueError(f'{file} is {what[0]}, expected safetensors: {what[1]}')


def _is_torchscript(file: Path) -> bool:
    with suppress(OSError, zipfile.BadZipFile):
        with zipfile.ZipFile(file) as archive:
            return any('/code/' in name or name.endswith('constants.pkl') for name in archive.namelist())
    return False


def refuse_pickle(file: Path) -> str:
    "Say why a pickle is not read, and how to convert it."
    return (f'{file} is a pickle, which can run code when it is read; expected safetensors. Convert it once, in a process that can do nothing else: '
            f'diffbook convert {file} {file.with_suffix(".safetensors")}')  # fmt: skip


def refuse_folder(folder: Path) -> None:
    "Name what a folder without the weights that were expected holds instead, if it is a thing we know."
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in (f for f in files if f.suffix.lower() in PICKLES):  # of all that may lie there, the one that can be converted
        refuse_file(file)
    for file in files:
        if file.suffix == '.safetensors' and file.name.startswith(('pytorch_lora_weights', 'adapter_model', 'learned_embeds')):
            what = LEARNED if file.name.startswith('learned') else PARTS['lora_']
            raise ValueError(f'{file} is {what[0]}: {what[1]}')
        refuse_file(file)


def refuse_tensors(names: Mapping[str, Sequence[int]], file: Path) -> None:
    "Refuse a safetensors file whose names, and shapes, say that it is no model of ours."
    for word, what in PARTS.items():
        anywhere = word[0] == '.' or word.startswith('lora_')
        if found := next((name for name in names if name.startswith(word) or anywhere and word in name), None):
            raise ValueError(f'{file} is {what[0]} (it holds {found!r}): {what[1]}')
    few = len(names) <= 4 and all(len(shape) <= 2 for shape in names.values())
    if few and (names.keys() <= {'emb_params', 'clip_l', 'clip_g', 't5xxl'} or all('.' not in name for name in names)):
        raise ValueError(f'{file} is {LEARNED[0]} (it holds {next(iter(names), "nothing")!r}): {LEARNED[1]}')
