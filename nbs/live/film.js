// needs mixture, data/films
// The film of a sample: what the sampler holds and what the model takes it for, side by side. Stored are the noise and the guesses;
// the steps of DDIM between them are taken here. data-film="32" on the figure says which film; that of the first page is all picture.
'use strict';
(() => {
  const live = globalThis.live, schedule = live.schedules.cosine;

  // ---- arithmetic
  const scaled = (bytes, reach) => Float64Array.from(bytes, (b) => (b / 127.5 - 1) * reach);
  const step = (x, guess, t, s) => s < t ? live.solvers.DDIM(schedule, () => guess, x, t, s, {}) : x;
  function walk(noise, guesses) {  // every state, at even times from 1 to 0
    const states = [noise], n = guesses.length;
    guesses.forEach((guess, k) => states.push(step(states[k], guess, 1 - k / n, k + 1 < n ? 1 - (k + 1) / n : 0)));
    return states;
  }
  const apart = (x, y) => Math.sqrt(x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0) / x.length);

  // ---- pictures
  const sheet = (width, height) => Object.assign(document.createElement('canvas'), { width, height });
  async function opened(strip) {
    const image = new Image();
    image.src = `data:image/webp;base64,${strip}`;
    await image.decode();
    const { width, height } = image, pen = sheet(width, height).getContext('2d', { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    return { width, height, data: pen.getImageData(0, 0, width, height).data };
  }
  // The k-th picture of a strip, all channels of a pixel together. Channels stand below each other, or are the colours of one picture.
  function cut({ width, data }, k, channels, coloured = false) {
    const count = width * width, bytes = new Uint8ClampedArray(count * channels);
    for (let i = 0; i < count; i++) for (let c = 0; c < channels; c++) bytes[i * channels + c] = data[coloured ? 4 * (k * count + i) + c : 4 * ((k * channels + c) * count + i)];
    return bytes;
  }
  function stamp(canvas, values, channels, reach, dark, light) {  // values from -reach to reach, from one colour to another
    const pen = canvas.getContext('2d'), p = pen.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < canvas.width * canvas.height; i++) {
      for (let c = 0; c < 3; c++) p.data[4 * i + c] = dark[c] + (light[c] - dark[c]) * (values[i * channels + c % channels] / reach + 1) / 2;
      p.data[4 * i + 3] = 255;
    }
    pen.putImageData(p, 0, 0);
  }
  const BLACK = [0, 0, 0], WHITE = [255, 255, 255], rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  live.film = { walk, step, apart };

  live.figure('film', (frame) => {
    const { state } = frame, about = live.data.films[frame.variant], { steps, channels, side, reach } = about, alone = frame.variant === 'home';
    const narrow = frame.host.clientWidth < 600, timeAt = (at) => 1 - at, asked = (at) => Math.min(Math.floor(at * steps + 1e-9), steps - 1);
    let strips, states, guesses, decoded, toGo;

    const [width, height] = alone ? (narrow ? [336, 336] : [672, 168]) : narrow ? [340, 390] : [640, 486];
    frame.canvas({ width, height, draw, label: alone ? 'Sixty-four pictures on their way from noise to garments.'
      : 'Left the state of the sampler, right the guess of the finished picture; below, the guesses along the walk, and how much of the way is still to go for both.' });
    frame.slider({ name: 'at', label: alone ? 'from noise' : 'the walk', max: 1, step: 0.005, value: alone ? 1 : 0.25, show: (v) => alone ? 'to garments' : `t = ${timeAt(v).toFixed(2)}`, big: true });
    if (!alone) frame.choice({ name: 'film', label: about.choice, options: about.names, value: about.names[0], big: true });
    const player = frame.player('Play', (dt) => { const v = Math.min(state.at + dt / 5, 1); frame.set('at', v); return v < 1; }, { onstart: () => frame.controls.at.set(0) });
    if (!alone) frame.permalink();
    const say = alone ? () => {} : frame.readout();

    function choose() {
      const f = alone ? 0 : about.names.indexOf(state.film);
      guesses = Array.from({ length: steps }, (_, k) => scaled(cut(strips.guesses, f * steps + k, channels), reach));
      states = walk(scaled(cut(strips.noise, about.noises > 1 ? f : 0, channels), 4), guesses);
      decoded = strips.decoded && Array.from({ length: steps }, (_, k) => scaled(cut(strips.decoded, f * steps + k, 3, true), 1));
      const end = guesses[steps - 1], share = (all) => all.map((x) => apart(x, end) / apart(all[0], end));
      toGo = { state: share(states), guess: share(guesses) };
    }
    function tell() {
      const k = asked(state.at), come = (left) => `${Math.max(0, Math.round(100 * (1 - left)))}%`;
      say(`The state has come ${come(stateToGo())} of its way to the finished picture, the guess ${come(toGo.guess[k])} of its own`
        + `${decoded ? ', both counted in latents' : ''}.`);
    }
    function now() { const k = asked(state.at); return step(states[k], guesses[k], 1 - k / steps, timeAt(state.at)); }
    const stateToGo = () => apart(now(), guesses[steps - 1]) / apart(states[0], guesses[steps - 1]);
    frame.changed = (name) => { if (!strips) return; if (name === 'film') choose(); tell(); };

    const { text, line, dot } = frame.pen();
    const chance = live.random(0), noise = alone && Float64Array.from({ length: side * side }, chance.normal);  // shown until the film is there
    const held = sheet(side, side), taken = sheet(about.decoded ?? side, about.decoded ?? side);
    const widest = (t) => Math.hypot(schedule.alpha(t) * Math.min(reach, 2.5), 2 * schedule.sigma(t));  // white and black of a state

    function draw(c) {
      if (!strips && !alone) { text(c, 'The film is on its way.', width / 2, height / 2, { align: 'center' }); return; }
      const k = asked(state.at), t = timeAt(state.at);
      if (alone) {
        stamp(held, strips ? now() : noise, 1, strips ? Math.hypot(schedule.alpha(t), 2 * schedule.sigma(t)) : 2, rgb(frame.colour('paper')), rgb(frame.colour('ink')));
        c.imageSmoothingQuality = 'high';
        const across = narrow ? 1 : 2, tile = width / 8 / across;
        for (let r = 0; r < 8; r++) c.drawImage(held, 0, 28 * r, 224, 28, r % across * 8 * tile, Math.floor(r / across) * tile, 8 * tile, tile);
        return;
      }
      const [P, left, right, top] = narrow ? [158, 4, 178, 24] : [236, 64, 340, 26];
      stamp(held, now(), channels, widest(t), BLACK, WHITE);
      stamp(taken, decoded ? decoded[k] : guesses[k], decoded ? 3 : channels, 1, BLACK, WHITE);
      c.imageSmoothingEnabled = false;
      for (const [words, sheet, x, colour] of [[decoded ? 'the state: four grids of latents' : 'the state, xₜ', held, left, 'noise'], [decoded ? 'the guess, decoded' : 'the guess, x̂₀', taken, right, 'data']]) {
        text(c, narrow && decoded ? words.replace('the state: ', '') : words, x, top - 9, { bold: true });
        c.drawImage(sheet, x, top, P, P);
        c.strokeStyle = frame.colour(colour); c.lineWidth = 3; c.strokeRect(x, top, P, P);
      }
      drawWay(c, left, narrow ? 336 : 576, top + P + 20, k);
    }
    function drawWay(c, left, right, top, k) {  // the guesses along the walk, and how much of the way is to go
      const count = narrow ? 6 : 9, size = (right - left) / count - 4, px = (at) => left + at * (right - left), base = height - 22, high = base - top - size - 16, py = (v) => base - v * high;
      for (let j = 0; j < count; j++) {
        const i = asked((j + 0.5) / count), x = left + j * (size + 4) + 2;
        stamp(taken, decoded ? decoded[i] : guesses[i], decoded ? 3 : channels, 1, BLACK, WHITE);
        c.drawImage(taken, x, top, size, size);
      }
      line(c, [[left, py(1)], [right, py(1)], [right, base], [left, base], [left, py(1)]], 'faint', 1);
      line(c, toGo.state.map((v, i) => [px(i / steps), py(v)]), 'noise', 3);
      line(c, toGo.guess.flatMap((v, i) => [[px(i / steps), py(v)], [px((i + 1) / steps), py(v)]]), 'data', 3);  // a guess is held for a step
      line(c, [[px(state.at), top - 6], [px(state.at), base]], 'mark', 2);
      for (const v of [stateToGo(), toGo.guess[k]]) dot(c, px(state.at), py(v), 5, 'mark');
      text(c, 'noise, t = 1', left, base + 17); text(c, 't = 0, picture', right, base + 17, { align: 'right' });
      text(c, 'way still to go', right - 8, py(1) + 17, { align: 'right', bold: true });
      for (const [words, colour, x] of [['state', 'noise', -60], ['guess', 'data', 14]]) {
        const from = (left + right) / 2 + x;
        line(c, [[from, base + 13], [from + 14, base + 13]], colour, 3);
        text(c, words, from + 20, base + 17);
      }
    }

    // The strips come when the page has been painted.
    const ready = (async () => {
      if (document.readyState !== 'complete') await new Promise((done) => addEventListener('load', done, { once: true }));
      await live.load(`data/film-${frame.variant}`);
      const parts = Object.entries(live.data[`film-${frame.variant}`]), found = await Promise.all(parts.map(([, strip]) => opened(strip)));
      strips = Object.fromEntries(parts.map(([name], i) => [name, found[i]]));
      choose();
      tell();
      frame.paint();
      if (alone && !live.calm() && !frame.linked('at')) player.start();
    })();
    frame.ready = () => ready;
    frame.values = () => ({ t: timeAt(state.at), x: [...now()], noise: [...states[0]], guesses: guesses.map((g) => [...g]), end: [...states[steps]], toGo });
  });
})();
