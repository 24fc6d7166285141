"""Run notebooks from top to bottom in a fresh kernel and store their outputs, clean and the same on every run.

python tools/notebooks.py                    # all of them
python tools/notebooks.py nbs/12_*.ipynb     # some
"""

import base64
import io
import json
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

SETTINGS = {
    'OMP_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'PYTHONHASHSEED': '0',
    'TQDM_DISABLE': '1',
    'PYTHONWARNINGS': 'error::DeprecationWarning:__main__',
}
ADDRESS = re.compile(r' at 0x[0-9a-f]+')


def small(png):
    "The same picture with a palette of 256 colours, if that is smaller: about a third of the bytes."
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB')
    file = io.BytesIO()
    image.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(file, 'PNG', optimize=True)
    return min(png, base64.b64encode(file.getvalue()).decode(), key=len)


def clean(output):
    "The output without what changes between two runs: counts, addresses, empty metadata."
    output.pop('execution_count', None)
    if output['output_type'] in ('execute_result', 'display_data'):
        output['metadata'] = {}
        if output['output_type'] == 'execute_result':
            output['execution_count'] = None
        if 'text/plain' in output['data']:
            output['data']['text/plain'] = ADDRESS.sub('', output['data']['text/plain'])
        if 'image/png' in output['data']:
            output['data'].pop('text/plain', None)
            output['data']['image/png'] = small(output['data']['image/png'])
    return output


def merge(outputs):
    "Join neighbouring pieces of one stream: the kernel cuts them where it likes."
    merged = []
    for output in outputs:
        if merged and output['output_type'] == 'stream' and merged[-1].get('name') == output['name']:
            merged[-1]['text'] += output['text']
        else:
            merged.append(output)
    return merged


def run(path):
    "Execute the notebook at `path` and write it back, atomically."
    nb = nbformat.read(path, as_version=4)
    NotebookClient(nb, timeout=600, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}}).execute()
    for cell in nb.cells:
        cell['metadata'] = {}
        if cell['cell_type'] == 'code':
            cell['execution_count'] = None
            cell['outputs'] = merge([clean(o) for o in cell['outputs']])
    nb['metadata'] = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(temporary, path)


if __name__ == '__main__':
    os.environ.update(SETTINGS)
    for name in sys.argv[1:] or sorted(str(p) for p in Path('nbs').rglob('[0-9]*.ipynb')):
        print(name, flush=True)
        run(Path(name))
