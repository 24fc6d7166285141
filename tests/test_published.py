"""The table of published settings is whole, and each verdict is true: what is followed changes a plan, what has no effect does not, what is refused raises."""

import inspect
import json
import math

import pytest
import torch

from diffbook.conform import check_schedule
from diffbook.pretrained import load_schedule
from diffbook.published.scheduler import FAMILIES, LogRatioTable, RatioTable, plan_config
from diffbook.published.settings import ELSEWHERE, SCHEDULERS, SETTINGS, UNREAD
from diffbook.schedules import DiscreteSchedule, scaled_linear_betas


def test_every_verdict_is_one_of_three():
    for name, verdicts in SETTINGS.items():
        for key, verdict in verdicts.items():
            word, colon, reason = verdict.partition(': ')
            assert verdict == 'followed' or (word in ('no effect', 'refused') and colon and reason), (name, key, verdict)


def test_the_table_of_the_appendix_is_that_of_the_code():
    "Written by python tools/settings.py; the installed libraries have no key without a verdict."
    pytest.importorskip('diffusers')
    pytest.importorskip('transformers')
    from tools import settings

    said = json.loads(settings.FILE.read_text(encoding='utf-8'))
    assert {key: said[key] for key in ('classes', 'refused')} == json.loads(json.dumps(settings.table()))
    assert {name: settings.installed(name) - set(verdicts) for name, verdicts in SETTINGS.items() if settings.installed(name) - set(verdicts)} == {}


# Schedulers


def signature(name):
    schedulers = pytest.importorskip('diffusers').schedulers
    found = inspect.signature(getattr(schedulers, name).__init__).parameters.values()
    return {p.name: p.default for p in found if p.name != 'self' and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


@pytest.mark.parametrize('name', SCHEDULERS)
def test_every_key_of_a_scheduler_has_a_verdict_and_its_own_default(name):
    "As the installed diffusers has them. Ours may know keys that an older release has not."
    own, keys = FAMILIES[name].silent, signature(name)
    assert keys.keys() <= SCHEDULERS[name].keys(), f'{name}: no verdict for {", ".join(sorted(keys.keys() - SCHEDULERS[name].keys()))}'
    assert own.keys() == SCHEDULERS[name].keys()
    assert {key: own[key] for key in keys} == keys


def test_every_scheduler_is_read_or_refused_by_name():
    "Every class of the installed diffusers; a key of any of them may be left over in the file of another."
    schedulers = pytest.importorskip('diffusers').schedulers
    names = {name for name in dir(schedulers) if name.endswith('Scheduler')}
    assert names <= SCHEDULERS.keys() | UNREAD.keys(), f'no verdict for {", ".join(sorted(names - SCHEDULERS.keys() - UNREAD.keys()))}'
    assert not SCHEDULERS.keys() & UNREAD.keys() and all(why.startswith('refused: ') for why in UNREAD.values())
    for name in names:
        assert signature(name).keys() <= ELSEWHERE, f'{name}: {", ".join(sorted(signature(name).keys() - ELSEWHERE))} would be refused where it is left over'


ODD = {  # a value that no class means when it is silent, and what must be said beside it
    'num_train_timesteps': (500, {}), 'beta_start': (0.002, {}), 'beta_end': (0.015, {}), 'beta_schedule': ('squaredcos_cap_v2', {}),
    'trained_betas': ([0.1] * 50, {'num_train_timesteps': 50}), 'prediction_type': ('v_prediction', {}), 'timestep_spacing': ('trailing', {}), 'steps_offset': (1, {}),
    'clip_sample_range': (0.7, {'clip_sample': True}), 'set_alpha_to_one': (None, {}), 'rescale_betas_zero_snr': (True, {'beta_schedule': 'scaled_linear'}),
    'variance_type': ('fixed_large', {}), 'final_sigmas_type': ('sigma_min', {}), 'interpolation_type': ('log_linear', {}), 'timestep_type': ('continuous', {}),
    'sigma_min': (0.1, {}), 'sigma_max': (10.0, {}), 'lambda_min_clipped': (-3.0, {}), 'shift_terminal': (0.1, {}), 'dynamic_thresholding_ratio': (0.9, {}),
    'sample_max_value': (2.0, {}), 'flow_shift': (3.0, {'use_flow_sigmas': True}), 'time_shift_type': ('linear', {}), 'solver_order': (3, {}), 'solver_type': ('heun', {}),
    'algorithm_type': ('sde-dpmsolver++', {}), 'shift': (3.0, {}), 'use_dynamic_shifting': (True, {}), 'base_shift': (0.7, {'use_dynamic_shifting': True}), 'max_shift': (1.3, {'use_dynamic_shifting': True}),
    'base_image_seq_len': (300, {'use_dynamic_shifting': True}), 'max_image_seq_len': (5000, {'use_dynamic_shifting': True}), 'disable_corrector': ([0], {}), 'solver_p': ({}, {}),
}  # fmt: skip


def read(folder, name, said):
    (folder / 'scheduler_config.json').write_text(json.dumps({'_class_name': name, '_diffusers_version': '0.30.0'} | said))
    return load_schedule(folder)


def facts(plan):
    "All that a plan says, to compare; a number of steps that is fit for every table here shows the times."
    return {k: v for k, v in vars(plan).items() if k not in ('schedule', 'scheduler', 'unmatched')} | {
        'kind': type(plan.schedule),
        'betas': getattr(plan.schedule, 'betas', torch.empty(0)).tolist(),
        'times': plan.times(20, 777).tolist(),  # of so many tokens, where a shift grows with them
    }


@pytest.mark.filterwarnings('ignore:n is .*sampling begins with pure noise')  # on a table of 50 betas
@pytest.mark.parametrize('name, key', [(name, key) for name in SCHEDULERS for key in SCHEDULERS[name]])
def test_verdicts_are_true(name, key, tmp_path):
    verdict, silent = SCHEDULERS[name][key], FAMILIES[name].silent[key]
    value, beside = ODD.get(key, (not silent, {}))
    value = not silent if value is None else value
    beside = {k: v for k, v in beside.items() if not SCHEDULERS[name].get(k, 'refused').startswith('refused')}
    assert value != silent
    if key == 'lambda_min_clipped' or verdict.startswith('refused'):
        with pytest.raises(ValueError, match=f'{key} is '):
            read(tmp_path, name, {key: value})
        assert facts(read(tmp_path, name, {key: silent if silent != -math.inf else -20.0})) == facts(read(tmp_path, name, {}))
    else:
        changed = facts(read(tmp_path, name, beside | {key: value})) != facts(read(tmp_path, name, beside))
        assert changed == (verdict == 'followed'), f'{verdict}, and it {"changes" if changed else "does not change"} the plan'


@pytest.mark.parametrize('name', SCHEDULERS)
def test_what_is_left_over_from_another_class_changes_nothing(name, tmp_path):
    "Every key that other classes have and this one has not, with odd values; and what old releases wrote."
    foreign = {key: ODD.get(key, (True, {}))[0] for key in ELSEWHERE - SCHEDULERS[name].keys()}
    foreign = {key: True if value is None else value for key, value in foreign.items()}
    more = {'tensor_format': 'pt', 'timestep_values': None, 'predict_epsilon': True, '_name_or_path': 'here'}
    assert len(foreign) > 60
    assert facts(read(tmp_path, name, foreign | more)) == facts(read(tmp_path, name, {}))


@pytest.mark.parametrize('name', SCHEDULERS)
@pytest.mark.parametrize('said', ({}, {'steps_offset': 1, 'timestep_spacing': 'leading'}, {'timestep_spacing': 'trailing', 'prediction_type': 'v_prediction'}))
def test_plans_are_written_and_read_back(name, said, tmp_path):
    plan = read(tmp_path, name, said)
    if plan.flow is not None:  # a straight path has no table to write out
        with pytest.raises(ValueError, match='and a DiscreteSchedule'):
            plan_config(plan)
        return
    config = plan_config(plan)
    if name in pytest.importorskip('diffusers').schedulers.__dict__:  # theirs reads it too
        assert getattr(pytest.importorskip('diffusers'), config['_class_name']).from_config(config).config.get('timestep_spacing', plan.spacing) == plan.spacing
    back = facts(read(tmp_path, config['_class_name'], {k: v for k, v in config.items() if k != '_class_name'}))
    assert {k: v for k, v in back.items() if k != 'kind'} == {k: v for k, v in facts(plan).items() if k != 'kind'}


@pytest.mark.parametrize('kind', (RatioTable, LogRatioTable))
def test_tables_between_their_rows(kind):
    "On the rows it is the table; between them the ratio, or its logarithm, is linear; and it keeps the rules of every schedule."
    table, own = DiscreteSchedule(scaled_linear_betas()), kind(scaled_linear_betas())
    check_schedule(own)
    rows = torch.arange(1001.0, dtype=torch.float64)
    for f in ('alpha', 'sigma'):
        torch.testing.assert_close(getattr(own, f)(rows), getattr(table, f)(rows), rtol=1e-12, atol=0)
    ratio = own.sigma(rows) / own.alpha(rows)
    got = own.sigma(rows[1:-1] + 0.25) / own.alpha(rows[1:-1] + 0.25)
    want = 0.75 * ratio[1:-1] + 0.25 * ratio[2:] if kind is RatioTable else ratio[1:-1] ** 0.75 * ratio[2:] ** 0.25
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)
    torch.testing.assert_close(own.sigma(0.25) / own.alpha(0.25), 0.25 * ratio[1], rtol=1e-12, atol=0)
