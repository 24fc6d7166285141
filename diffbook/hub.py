"""Put a model on the Hub: its two files, and a card that says what it is.

push('runs/own', 'somebody/own')                 # asks nothing of you but that you are logged in: `hf auth login`
load('somebody/own@3f1c...')                     # anywhere, by anybody: the line that `push` prints
"""

from pathlib import Path
from typing import Any, NamedTuple

from diffbook.cards import card_of, loading
from diffbook.store.hub import FILES, is_hub_name
from diffbook.store.models import find_model, load

__all__ = ['Pushed', 'push']


class Pushed(NamedTuple):
    "What lies on the Hub now."

    name: str  # user/name
    revision: str  # of this state, for ever
    url: str


def push(
    model: str | Path,  # a folder, or a model of the zoo
    name: str,  # user/name
    *,
    private: bool = False,
    message: str = 'A model of diffbook',
    client: Any = None,  # as huggingface_hub.HfApi(); None: that, as whoever is logged in
) -> Pushed:
    "Put a model on the Hub in one commit, after it was opened as others will open it; the README.md of its folder, or a card that is written from what it says of itself."
    if not is_hub_name(name) or '@' in name:
        raise ValueError(f'the name is {name!r}, expected user/name')
    folder = find_model(model)
    made = load(folder)  # what is damaged is not published
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as error:
        raise ImportError('publishing needs huggingface_hub: pip install huggingface_hub') from error
    client = HfApi() if client is None else client
    own, about = folder / 'README.md', getattr(made, 'about', None) or {}
    card = (
        own.read_bytes()
        if own.is_file()
        else (card_of(name.partition('/')[2], made, about) + loading('diffbook', made, about, folder).replace('USER/NAME', name)).encode()
    )
    files = {'README.md': card} | {file: (folder / file).read_bytes() for file in FILES}
    try:
        client.create_repo(name, private=private, exist_ok=True)
        done = client.create_commit(name, [CommitOperationAdd(path, data) for path, data in files.items()], commit_message=message)
    except Exception as error:  # of several packages: no net, no login, not yours
        raise OSError(f'the Hub did not take {name} ({type(error).__name__}: {" ".join(str(error).split())[:200]}); `hf auth login` logs in') from error
    return Pushed(name, done.oid, f'https://huggingface.co/{name}')
