"""Build diffbook from settings.ini, the one place that holds its metadata."""

import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here / 'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
extras = {key.removesuffix('_requirements'): shlex.split(value) for key, value in cfg.items() if key.endswith('_requirements')}

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license_expression=cfg['license_expression'],
    keywords=cfg['keywords'].split(),
    packages=find_packages(include=['diffbook', 'diffbook.*']),
    package_data={'diffbook': ['py.typed', '*.pyi', 'nets/*.pyi', 'measured/*.json', 'zoo/**/*', 'zoo/*']},
    python_requires='>=' + cfg['min_python'],
    install_requires=shlex.split(cfg['requirements']),
    extras_require=extras,
    entry_points={
        'console_scripts': ['diffbook=diffbook.cli:main'],
        'nbdev': ['diffbook=diffbook._modidx:d'],
    },
    zip_safe=False,
)
