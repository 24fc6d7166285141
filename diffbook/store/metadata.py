"""Captions of a folder of pictures: a table in the form of Hugging Face's ImageFolder, text files beside, or the names of the files."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffbook.store.captions import captions_beside, check_caption

__all__ = ['SOURCES', 'captions_of', 'find_tables', 'read_table', 'said_by_name']

TABLES = ('metadata.jsonl', 'metadata.csv')
COLUMNS = ('text', 'caption', 'captions', 'prompt', 'description')  # what the column of the captions is called
OTHERS = ('file_name', 'label', 'labels', 'class', 'category', 'split', 'id')  # columns that are no captions
LONGEST = 1 << 28  # bytes of a table
SOURCES = ('metadata', 'txt', 'names')  # where captions may come from, in the order in which they are looked for


def captions_of(
    root: str | Path,  # the folder
    files: Sequence[Path],  # the pictures in it
    source: str | None = None,  # metadata, txt or names; None: a table if there is one, else text files
) -> tuple[tuple[str, ...], str]:  # a caption each, and where they are from
    "Read the captions of pictures; raise a ValueError if any has none, and say which."
    if source not in (None, *SOURCES):
        raise ValueError(f'captions are {source!r}, expected {", ".join(SOURCES)}')
    if source == 'names':
        return tuple(said_by_name(file) for file in files), 'the names of the files'
    tables = find_tables(root, files)
    if source == 'metadata' or (source is None and tables):
        if not tables:
            raise ValueError(f'{root} holds no {" and no ".join(TABLES)}, expected one with the columns file_name and text')
        return from_tables(tables, files), ' and '.join(path.name for path in tables[:2])
    try:
        return captions_beside(files, True), 'the .txt files beside them'
    except ValueError as error:
        raise ValueError(f'{error}; or a metadata.jsonl or metadata.csv with the columns file_name and text, or --captions names to take the names of the files') from error


def find_tables(root: str | Path, files: Sequence[Path]) -> list[Path]:
    "The tables that lie in a folder, or in a folder between it and its pictures."
    root, folders = Path(root), set[Path]()
    for folder in {file.parent for file in files}:
        while folder not in folders:
            folders.add(folder)
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent
    return sorted(folder / name for folder in folders for name in TABLES if (folder / name).is_file())


def from_tables(tables: Sequence[Path], files: Sequence[Path]) -> tuple[str, ...]:
    "What tables say of pictures."
    said = {path: text for table in tables for path, text in read_table(table).items()}
    if lacking := [file for file in files if file not in said]:
        raise ValueError(f'{tables[0]} says nothing of {lacking[0]}: {len(files) - len(lacking):,} of {len(files):,} pictures have a caption there, expected all')
    return tuple(said[file] for file in files)


def read_table(path: Path) -> dict[Path, str]:  # picture -> caption
    "Read a table: JSON objects, one a line, or comma-separated values under a line of names."
    if (size := path.stat().st_size) > LONGEST:
        raise ValueError(f'{path} has {size:,} bytes, expected at most {LONGEST:,}')
    try:
        text = path.read_bytes().decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8: {error}') from error
    rows = rows_of(path, text)
    if not rows:
        raise ValueError(f'{path} is empty, expected a row for each picture')
    column, found = caption_column(path, rows[0]), {}
    for line, row in enumerate(rows, 1 + (path.suffix == '.csv')):
        name, caption = row.get('file_name'), row.get(column)
        if not isinstance(name, str) or not isinstance(caption, str) or not (caption := ' '.join(caption.split())):
            raise ValueError(f'{path}, line {line}: file_name is {name!r:.100} and {column} is {caption!r:.100}, expected two texts')
        found[path.parent / name] = check_caption(caption, f'{path}, line {line}')
    return found


def rows_of(path: Path, text: str) -> list[Mapping[str, Any]]:
    if path.suffix == '.csv':
        try:
            return list(csv.DictReader(io.StringIO(text, newline=''), strict=True))
        except csv.Error as error:
            raise ValueError(f'{path} is no table of comma-separated values: {error}') from error
    rows = []
    for line, words in enumerate(text.split('\n'), 1):
        if not words.strip():
            continue
        try:
            row = json.loads(words)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{path}, line {line}: {words[:60]!r} is not JSON: {error}') from error
        if not isinstance(row, dict):
            raise ValueError(f'{path}, line {line}: {words[:60]!r}, expected an object such as {{"file_name": "a.png", "text": "a cat"}}')
        rows.append(row)
    return rows


def caption_column(path: Path, row: Mapping[str, Any]) -> str:
    "Which column holds the captions: one of the usual names, or else the only one that could."
    if 'file_name' not in row:
        raise ValueError(f'{path} has the columns {", ".join(map(str, row))}, expected file_name and text')
    named = [name for name in COLUMNS if name in row]
    left = named or [name for name in row if name not in OTHERS and isinstance(row[name], str)]
    if not named and len(left) != 1:
        raise ValueError(f'{path} has the columns {", ".join(map(str, row))}; expected one called {", ".join(COLUMNS[:-1])} or {COLUMNS[-1]}')
    return left[0]


def said_by_name(path: str | Path) -> str:
    "What the name of a file says: its words, without numbers at the ends."
    words = re.sub(r'[\W_]+', ' ', Path(path).stem).strip()
    bare = re.sub(r'^(\d+ )+|( \(?\d+\)?)+$', '', words).strip()
    return check_caption(bare or words or 'picture', path)
