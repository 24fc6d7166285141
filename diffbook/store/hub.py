"""Models on the Hub: fetched by name, as two files that run no code, and what is said where there is none."""

import re
from pathlib import Path

__all__ = ['FILES', 'fetch_model', 'is_hub_name']

FILES = ('model.safetensors', 'config.json')
NAME = re.compile(r'([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,100}))?')


def is_hub_name(name: str | Path) -> bool:
    "Whether a name can be one of the Hub, user/name or user/name@revision, and is no path: no folder of the first half lies here."
    match = NAME.fullmatch(name) if isinstance(name, str) else None
    return match is not None and '..' not in name and '--' not in name and not Path(name).parent.is_dir()


def fetch_model(
    name: str,  # user/name, or user/name@revision with a branch, a tag or, so that nothing can change, a commit
) -> Path:  # the folder
    "Bring a model from the Hub to this machine; a FileNotFoundError says what to do where that fails."
    user, revision = NAME.fullmatch(name).groups()
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise FileNotFoundError(f'there is no folder {name}, and models of the Hub need huggingface_hub: pip install huggingface_hub') from error
    try:
        folder = Path(snapshot_download(user, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # also the Hub's own: no network, no such name
        raise FileNotFoundError(f'there is no folder {name}, and the Hub did not give a model of that name ({type(error).__name__}); expected a folder with {FILES[0]}, a name in the zoo, or one on the Hub') from error
    if not (folder / FILES[0]).is_file():
        raise FileNotFoundError(f'{user} on the Hub holds no {FILES[0]}')
    return folder
