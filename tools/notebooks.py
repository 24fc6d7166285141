"""Run notebooks from top to bottom in a fresh kernel and store their outputs, clean and the same on every run.

python tools/notebooks.py                    # all of them
python tools/notebooks.py nbs/12_*.ipynb     # some
python tools/notebooks.py --close            # run nothing: close the cells that the site folds, in Jupyter and Colab too
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
FOLDED = re.compile(r'(?:#\|.*\n)*#\|[ \t]*(?:fold|hide|code-fold:[ \t]*true)[ \t]*(?:\n|\Z)')
CLOSED = {'cellView': 'form', 'jupyter': {'source_hidden': True}}  # Colab reads the first, JupyterLab the second


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


def metadata(cell):
    "What Jupyter and Colab are told of a cell: code that the site folds or leaves out is closed, and a click opens it."
    return CLOSED if cell['cell_type'] == 'code' and FOLDED.match(''.join(cell['source'])) else {}


def write(nb, path):
    "Write a notebook in one piece or not at all."
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
    os.replace(temporary, path)


def close(path):
    "Close the folded cells of the notebook at `path`; nothing is run, and nothing else is changed."
    nb = json.loads(path.read_text(encoding='utf-8'))
    wanted = [metadata(cell) for cell in nb['cells']]
    if wanted != [cell['metadata'] for cell in nb['cells']]:
        for cell, told in zip(nb['cells'], wanted):
            cell['metadata'] = told
        write(nb, path)


def run(path):
    "Execute the notebook at `path` and write it back, atomically."
    nb = nbformat.read(path, as_version=4)
    NotebookClient(nb, timeout=600, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}}).execute()
    for cell in nb.cells:
        cell['metadata'] = metadata(cell)
        if cell['cell_type'] == 'code':
            cell['execution_count'] = None
            cell['outputs'] = merge([clean(o) for o in cell['outputs']])
    nb['metadata'] = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}
    write(nb, path)


if __name__ == '__main__':
    os.environ.update(SETTINGS)
    names = [name for name in sys.argv[1:] if name != '--close']
    closing = len(names) < len(sys.argv) - 1
    for name in names or sorted(str(p) for p in Path('nbs').rglob('[0-9]*.ipynb')):
        if closing:
            close(Path(name))
            continue
        print(name, flush=True)
        run(Path(name))
