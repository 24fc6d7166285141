"The film of a sample: its noise and guesses are those of the models in the package, its steps those of DDIM."

import pytest
import torch

from diffbook.core import noise
from diffbook.samplers import ddim, sample, uniform_times
from diffbook.schedules import CosineSchedule
from tools import films, live

SCHEDULE = CosineSchedule()


def values(frame, **state):
    frame.evaluate('(f, state) => Object.entries(state).forEach(([name, value]) => f.set(name, value))', state)
    return frame.evaluate('f => f.values()')


def numbers(x):
    return torch.tensor(x, dtype=torch.float64)


def flat(x):
    "As the page holds a picture: the channels of a pixel together."
    return x.double().movedim(-3, -1).flatten(-3)


@pytest.mark.parametrize('which', films.FILMS)
def test_noise_and_guesses_are_those_of_the_model(living, which):
    film, (_, frame) = films.FILMS[which](), living(f'film-{which}')
    for k, name in enumerate(film.names[:3]):
        got = values(frame, **({} if which == 'home' else {'film': name}))
        start = film.start[k if len(film.start) > 1 else 0]
        torch.testing.assert_close(numbers(got['noise']), flat(start).clamp(-4, 4), rtol=0, atol=4.001 / (film.levels - 1))
        off = (numbers(got['guesses']) - flat(film.guesses[k])).abs() / film.reach
        assert off.mean() < 0.04 and off.square().mean().sqrt() < 0.06, f'{name}: {off.mean():.3f}'  # WebP keeps what is seen


def test_the_noise_is_that_of_the_chapter(living):
    _, frame = living('film-32')
    want = noise(0, 'start', 0, range(64), (1, 28, 28))[9]
    torch.testing.assert_close(numbers(values(frame)['noise']), flat(want).clamp(-4, 4), rtol=0, atol=0.016)


@pytest.mark.parametrize('which', films.FILMS)
def test_states_are_the_steps_of_ddim_between_noise_and_guesses(living, which):
    _, frame = living(f'film-{which}')
    got = values(frame)
    guesses = iter(numbers(got['guesses']))
    steps = len(got['guesses'])
    start = numbers(got['noise'])[None]
    states = [start, *sample(lambda x, t, cond=None: next(guesses)[None], SCHEDULE, start, uniform_times(SCHEDULE, steps), ddim)]
    for k in (steps // 4, steps // 2, steps):
        x = values(frame, at=k / steps)['x']
        torch.testing.assert_close(numbers(x)[None], states[k], rtol=0, atol=1e-6)
    between = values(frame, at=0.505)  # a part of a step, under the guess in hand
    k = int(0.505 * steps)
    t, s = torch.tensor(1 - k / steps, dtype=torch.float64), torch.tensor(1 - 0.505, dtype=torch.float64)
    want = ddim(SCHEDULE, lambda *_: numbers(got['guesses'][k])[None], states[k], t, s)
    torch.testing.assert_close(numbers(between['x'])[None], want, rtol=0, atol=1e-6)
    assert got['end'] == pytest.approx(got['guesses'][-1], abs=1e-9)


def test_what_a_reader_sees_of_garments(living):
    "A quarter of the walk is over: the state has come a sixth of its way, the guess two thirds; at the start all guesses are the same ghost."
    _, frame = living('film-32')
    firsts = []
    for name in films.garments().names:
        got = values(frame, film=name, at=0.25)
        firsts.append(numbers(got['guesses'][0]))
        assert 0.8 < got['toGo']['state'][6] < 0.88 and got['toGo']['guess'][6] < 0.6
    assert values(frame, film='noise 1')['toGo']['guess'][6] == pytest.approx(1 / 3, abs=0.05)
    ghost = torch.stack(firsts)
    assert (ghost - ghost.mean(0)).square().mean().sqrt() < 0.05 < ghost.mean(0).std()


@pytest.mark.parametrize('which', ['44', '52'])
def test_captions_part_at_the_first_guess_of_one_noise(living, which):
    page, frame = living(f'film-{which}')
    names = frame.evaluate('f => live.data.films[f.variant].names')
    first, second = (values(frame, film=name) for name in names[:2])
    assert first['noise'] == second['noise']
    apart = lambda k: (numbers(first['guesses'][k]) - numbers(second['guesses'][k])).square().mean().sqrt()
    assert apart(0) > 0.5 * apart(-1)


def test_it_plays(living):
    page, frame = living('film-44', calm=False)
    page.get_by_role('button', name='Play').click()
    page.wait_for_function('document.querySelector("[data-live]").frame.state.at > 0.05')
    page.get_by_role('button', name='Stop').click()
    assert 0.05 < frame.evaluate('f => f.state.at') < 1


def test_the_first_page_plays_by_itself_unless_calm_is_wanted(living):
    _, calm = living('film-home')
    assert calm.evaluate('f => f.state.at') == 1
    page, _ = living('film-home', calm=False)
    page.wait_for_function('document.querySelector("[data-live]").frame.state.at < 1')
    page.wait_for_function('document.querySelector("[data-live]").frame.state.at > 0.05')


def test_films_are_small():
    sizes = {name: (live.LIVE / 'data' / f'film-{name}.js').stat().st_size for name in films.FILMS}
    assert max(sizes.values()) < 200_000
    scripts = sum((live.LIVE / f'{name}.js').stat().st_size for name in ('live', *live.needs('film')))
    assert sizes['home'] + scripts + (live.NBS / 'images' / 'live' / 'film-home.png').stat().st_size < 300_000
