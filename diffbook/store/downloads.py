"""Downloads: over https alone, cut off at the published length, given up below a kilobyte a second, and there only if the digest is right."""

import hashlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from diffbook.store.files import replacing, write_whole

__all__ = ['download', 'fetch_small', 'pieces']

PATIENCE, SLOWEST = 30.0, 1024  # seconds to wait for a byte, and bytes a second on the whole


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    "Go where a server sends us only if that is https."

    def redirect_request(self, request, file, code, message, headers, url):
        if urllib.parse.urlsplit(url).scheme != 'https':
            raise ValueError(f'{request.full_url} leads to {url}, expected https')
        return super().redirect_request(request, file, code, message, headers, url)


def pieces(url: str, largest: int) -> Iterator[bytes]:
    "The bytes behind an address, as they come: at most `largest`, from https, this machine or its disk."
    place, received, begin = urllib.parse.urlsplit(url), 0, time.monotonic()
    if place.scheme not in ('https', 'file') and (place.scheme, place.hostname) != ('http', '127.0.0.1'):
        raise ValueError(f'the address is {url}, expected https')
    try:
        with urllib.request.build_opener(_OnlyHttps).open(url, timeout=PATIENCE) as answer:
            while piece := answer.read1(1 << 18):
                received += len(piece)
                if received > largest:
                    raise ValueError(f'{url} is longer than the {largest} bytes expected')
                if received < SLOWEST * (time.monotonic() - begin - PATIENCE):
                    raise TimeoutError(f'{url} sends less than {SLOWEST} bytes a second')
                yield piece
    except http.client.HTTPException as error:  # which is no OSError
        raise OSError(f'{url} answers, but not in HTTP: {type(error).__name__} {error}') from error


def download(url: str, path: Path, size: int, sha256: str) -> None:
    "Write what is behind an address to a file of the length and digest that are published, or leave no file."
    digest, received = hashlib.sha256(), 0
    with replacing(path) as part, part.open('wb') as out, tqdm(total=size, unit='B', unit_scale=True, desc=path.name) as bar:
        for piece in pieces(url, size):
            received += len(piece)
            digest.update(piece)
            out.write(piece)
            bar.update(len(piece))
        if (received, digest.hexdigest()) != (size, sha256):
            raise ValueError(f'{url} gave {received} bytes with sha256 {digest.hexdigest()}, expected {size} with {sha256}')


def fetch_small(url: str, path: Path, digest: str) -> bytes:
    "The bytes of a small file whose sha256 begins with `digest`, from the disk or else from `url`, in a few tries."
    if path.is_file() and hashlib.sha256(content := path.read_bytes()).hexdigest().startswith(digest):
        return content
    for pause in (1, 4, None):
        try:
            content = b''.join(pieces(url, 1 << 20))
            break
        except OSError as error:
            passing = not isinstance(error, urllib.error.HTTPError) or error.code in (429, 500, 502, 503, 504)
            if pause is None or not passing or url.startswith('file:'):
                raise OSError(f'{url} could not be fetched: {error}; the same command goes on from here') from error
        time.sleep(pause)
    if not (found := hashlib.sha256(content).hexdigest()).startswith(digest):
        raise ValueError(f'{url} gave {len(content)} bytes with sha256 {found[:16]}..., expected {digest}...')
    write_whole(path, content)
    return content
