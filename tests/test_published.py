"""The table of published settings is whole: every key of every class that is read has a verdict."""

import inspect

import pytest

from diffbook.published.settings import SCHEDULERS, SETTINGS


def test_every_verdict_is_one_of_three():
    for name, verdicts in SETTINGS.items():
        for key, verdict in verdicts.items():
            word, colon, reason = verdict.partition(': ')
            assert verdict == 'followed' or (word in ('no effect', 'refused') and colon and reason), (name, key, verdict)


@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_key_of_a_scheduler_has_a_verdict(name):
    diffusers = pytest.importorskip('diffusers')
    keys = set(inspect.signature(getattr(diffusers, name).__init__).parameters) - {'self'}
    assert keys <= set(SCHEDULERS[name]), f'{name}: no verdict for {", ".join(sorted(keys - set(SCHEDULERS[name])))}'
