"""Every mistake of the museum: what was once done wrong in public, or easily is, made again in one place of the library.

A row is a name, where it was seen, the module, the text to replace, what replaces it, and the test that turns red.
Where it was seen: author of the public issue, the repository, or the paper whose misprint it is. tests/test_mutants.py makes
each of them in a copy of the library; chapter 93 shows those that are public, and lets the reader look for some.
A test that no mistake can turn red proves nothing.
"""

import re

MISTAKES: dict[str, tuple[str, str, str, str, str]] = {
    # core
    'noise of uniform law': (
        'acids-ircam/diffusion_models#8; Axon: rand for randn', 'core.py',
        'radius, angle = torch.sqrt(-2 * torch.log(u)), 2 * math.pi * w',
        'radius, angle = u, 2 * math.pi * w',
        'test_core.py::test_noise_is_standard_normal',
    ),
    'noise by place in the batch': (
        'A1111#376, diffusers#6233: a sample changes with its batch', 'core.py',
        'range(self.start, self.start + len(x))', 'range(len(x))',
        'test_core.py::test_seeded_noise_depends_on_time_and_start_alone',
    ),
    'a time on the wrong axis': (
        'diffrax forbids it: (b,) against (b, c, h, w)', 'core.py',
        'reshape(t.shape + (1,) * (x.ndim - t.ndim if t.ndim else 0))',
        'reshape((1,) * (x.ndim - t.ndim if t.ndim else 0) + t.shape)',
        'test_core.py::test_match_dims_scales_each_example_by_its_own_time',
    ),
    # ledger
    'errors that cancel': (
        'smalldiffusion: a sum of signed differences', 'ledger.py',
        'error = (got - want).abs()', 'error = (got - want)',
        'test_ledger.py::test_check_refuses',
    ),
    # gaussian
    'exponent without its minus': (
        'lecture notes', 'gaussian.py',
        'return -((x - mean) ** 2) / (2 * var)', 'return ((x - mean) ** 2) / (2 * var)',
        'test_gaussian.py::test_log_prob_is_scipys',
    ),
    'sign of the logarithm in the KL': (
        'lecture notes', 'gaussian.py',
        'ratio - 1 - torch.log(ratio)', 'ratio - 1 + torch.log(ratio)',
        'test_gaussian.py::test_kl_is_the_integral',
    ),
    # markov
    'noise of the first step not shrunk by the second': (
        'a sum of betas for 1 - alpha_bar', 'markov.py',
        'after.gain**2 * self.var + after.var', 'self.var + after.var',
        'test_markov.py::test_marginal_of_a_composition_is_the_end_of_the_chain',
    ),
    'one minus alpha_bar by subtraction': (
        'diffusers PR#3005, PR#9004: no noise at all in the first steps', 'markov.py',
        '-torch.expm1(log_alpha_bar)', '1 - torch.exp(log_alpha_bar)',
        'test_markov.py::test_jump_keeps_its_digits_where_there_is_little_noise',
    ),
    # schedules
    'one minus alpha_bar for its root': (
        'How-Diffusion-Models-Work#1, labml#152', 'schedules.py',
        'match_dims(self.alpha(t), x0) * x0 + match_dims(self.sigma(t), x0) * eps',
        'match_dims(self.alpha(t), x0) * x0 + match_dims(self.sigma(t) ** 2, x0) * eps',
        'test_truth.py::test_predictions_convert_both_ways[cosine-v]',
    ),
    'alpha_bar for its root in the table': (
        'ermongroup/ddim#44, CSDI#9', 'schedules.py',
        'torch.exp(log_alpha_bar / 2)', 'torch.exp(log_alpha_bar)',
        'test_truth.py::test_table_levels_against_forty_digits[500]',
    ),
    'alpha_bar in single precision': (
        'diffusers PR#3005, A1111#14071', 'schedules.py',
        'torch.sqrt(-torch.expm1(log_alpha_bar))', 'torch.sqrt(1 - torch.exp(log_alpha_bar.float()).double())',
        'test_truth.py::test_table_levels_against_forty_digits[5]',
    ),
    'a table that begins with the wrong beta': (
        'diffusers#5921, an index off by one', 'schedules.py',
        'torch.log1p(-betas).cumsum(0)', 'torch.log1p(-betas.roll(1)).cumsum(0)',
        'test_truth.py::test_table_levels_against_forty_digits[1]',
    ),
    'exploding variance without its square': (
        'diffusers#590', 'schedules.py',
        '(self.sigma_max / self.sigma_min) ** self.time(t)', '(self.sigma_max / self.sigma_min) ** (self.time(t) / 2)',
        'test_samplers.py::test_karras_is_the_published_formula_on_every_schedule[7.0]',
    ),
    'noise estimate divided by the variance': (
        'score and noise mixed up', 'schedules.py',
        '(x - match_dims(self.alpha(t), x) * x0) / match_dims(self.sigma(t), x)',
        '(x - match_dims(self.alpha(t), x) * x0) / match_dims(self.sigma(t), x) ** 2',
        'test_truth.py::test_dirac_ddim[cosine-3]',
    ),
    'velocity with the sign of v': (
        'v-prediction and velocity mixed up', 'schedules.py',
        '* x0 + match_dims(self.sigma_dot(t), x) * self.eps', '* x0 - match_dims(self.sigma_dot(t), x) * self.eps',
        'test_truth.py::test_dirac_euler_and_heun[rectified-flow-euler-3]',
    ),
    'a way back that subtracts squares': (
        'catastrophic cancellation between neighbouring times', 'schedules.py',
        '(there - here) / there * ((there + here) / there)', '1 - (here / there) ** 2',
        'test_schedules.py::test_the_way_back_keeps_its_digits_between_neighbours',
    ),
    # exact
    'score that points away from the data': (
        'a sign of Tweedie', 'exact.py',
        "return -torch.einsum('bk,bkd,ked->be'", "return torch.einsum('bk,bkd,ked->be'",
        'test_exact.py::test_score_is_the_gradient_of_the_log_density',
    ),
    'an average of data with half a square': (
        'a binomial formula', 'exact.py',
        'alpha**2 * (flat**2).sum(-1) / 2', 'alpha**2 * (flat**2).sum(-1)',
        'test_exact.py::test_finite_data_is_a_mixture_of_points',
    ),
    # elbo
    'reconstruction with the wrong sign': (
        'a sign that circulates in lecture notes', 'elbo.py',
        'self.prior + self.transitions.sum(1) + self.reconstruction', 'self.prior + self.transitions.sum(1) - self.reconstruction',
        'test_elbo.py::test_parts_add_up_to_bits',
    ),
    'bits that forget the dimensions': (
        'a total read as a mean, as asked in pytorch_diffusion#5', 'elbo.py',
        '/ (self.dims * math.log(2))', '/ math.log(2)',
        'test_elbo.py::test_parts_add_up_to_bits',
    ),
    'nats read as bits': (
        'asked in vdvae#5: is what is logged in bits?', 'elbo.py',
        '/ (self.dims * math.log(2))', '/ self.dims',
        'test_elbo.py::test_parts_add_up_to_bits',
    ),
    'posterior weights exchanged': (
        'Ho et al. 2020, equation 7, misread', 'elbo.py',
        'match_dims(on_x, x) * x + match_dims(on_x0, x) * x0', 'match_dims(on_x0, x) * x + match_dims(on_x, x) * x0',
        'test_elbo.py::test_step_posterior_is_gaussian_conditioning',
    ),
    # predictions
    'x0 divided by alpha_bar': (
        'Axon, Stable Diffusion example', 'predictions.py',
        'scale, clean = alpha * b - sigma * a', 'scale, clean = alpha**2 * b - sigma * a',
        'test_truth.py::test_predictions_convert_both_ways[ddpm-eps]',
    ),
    'v with the wrong sign': (
        'Salimans and Ho 2022, misread', 'predictions.py',
        'return -schedule.sigma(t), schedule.alpha(t)', 'return schedule.sigma(t), schedule.alpha(t)',
        'test_predictions.py::test_edm_of_unit_data_is_minus_v_where_variance_is_kept',
    ),
    'score without its minus': (
        'noise for score', 'predictions.py',
        '-1 / sigma', '1 / sigma',
        'test_predictions.py::test_ideal_score_and_velocity_are_those_of_the_law',
    ),
    'data and noise exchanged in the target': (
        'flow matching with time reversed', 'predictions.py',
        'match_dims(a, x0) * x0 + match_dims(b, x0) * eps', 'match_dims(b, x0) * x0 + match_dims(a, x0) * eps',
        'test_truth.py::test_predictions_convert_both_ways[cosine-eps]',
    ),
    # losses
    'min-SNR for v with the weight for x0': (
        'diffusers#5654, #9451, Min-SNR#5: which weight belongs to v?', 'losses.py',
        'value = skip_out(prediction, schedule, t)[1] ** 2 * weight(schedule, t)', 'value = weight(schedule, t)',
        'test_losses.py::test_min_snr_equals_the_formulas_of_diffusers',
    ),
    'min-SNR with a maximum': (
        'Min-SNR#2', 'losses.py',
        '.clamp(max=gamma)', '.clamp(min=gamma)',
        'test_losses.py::test_min_snr_equals_the_formulas_of_diffusers',
    ),
    'operator precedence in the weight of the bound': (
        'latent-diffusion ddpm.py, DynamiCrafter#168', 'losses.py',
        'reach**2 / (2 * variance(schedule, t))', 'reach**2 / 2 * variance(schedule, t)',
        'test_losses.py::test_elbo_weight_is_what_the_bound_charges',
    ),
    'squares averaged in half precision': (
        'pytorch#40497', 'losses.py',
        'wide = torch.promote_types(x0.dtype, torch.float32)', 'wide = x0.dtype',
        'test_losses.py::test_half_precision_is_averaged_in_single',
    ),
    # nets
    'sines where cosines belong': (
        'flashinfer PR#3819; flip_sin_to_cos of diffusers', 'nets/layers.py',
        '[angles.cos(), angles.sin()] if cos_first', '[angles.cos(), angles.sin()] if not cos_first',
        'test_layers.py::test_waves_turn_at_their_own_rate',
    ),
    'heads cut across queries, keys and values': (
        'published attention weights read in another order', 'nets/layers.py',
        'self.qkv(tokens).chunk(3, dim=-1)', 'self.qkv(tokens).unflatten(-1, (self.heads, 3, -1)).transpose(2, 3).flatten(3).unbind(2)',
        'test_layers.py::test_attention_equals_torchs_own',
    ),
    'a scale that starts at nothing': (
        'scale and shift without the one', 'nets/layers.py',
        'self.norm2(h), 1 + scale', 'self.norm2(h), scale',
        'test_layers.py::test_resblock_is_what_it_says',
    ),
    # training
    'decay of the average exchanged': (
        'levanter PR#883', 'training.py',
        'named_parameters()), 1 - ema_decay(', 'named_parameters()), ema_decay(',
        'test_training.py::test_average_equals_torch_swa_with_buffers',
    ),
    'buffers of the average forgotten': (
        'pytorch#84053, ignite#2590', 'training.py',
        'kept.copy_(value)', 'pass',
        'test_training.py::test_average_equals_torch_swa_with_buffers',
    ),
    'a lock that two may hold': (
        'two trainers in one folder', 'store/files.py',
        'fcntl.LOCK_EX', 'fcntl.LOCK_SH',
        'test_training.py::test_two_trainers_in_one_folder[4]',
    ),
    # samplers
    'noise at the last step': (
        'labml, ddpm/__init__.py: p_sample', 'schedules.py',
        'sigma_s * torch.sqrt(rest)', 'sigma_t * torch.sqrt(rest)',
        'test_samplers.py::test_no_fresh_noise_at_the_last_step[ancestral]',
    ),
    'variance for standard deviation': (
        'a copy of the MIT lab', 'samplers.py',
        'b * x0 + std * noise(x, s)', 'b * x0 + std**2 * noise(x, s)',
        'test_truth.py::test_dirac_with_noise[ddpm-ancestral]',
    ),
    'weight of x0 without alpha': (
        'Ho et al. 2020, equation 7, misread', 'schedules.py',
        'alpha_s * rest', 'rest',
        'test_truth.py::test_posterior_is_conditioning[ddpm]',
    ),
    'weight of x_t with a root': (
        'Ho et al. 2020, equation 7, misread', 'schedules.py',
        'here / there * sigma_s / sigma_t', 'here / there',
        'test_truth.py::test_posteriors_compose[cosine]',
    ),
    'eta without the ratio of the steps': (
        'CoursIA PR#16158', 'samplers.py',
        'std = eta * schedule.posterior(t, s)[2]',
        'std = (eta * torch.sqrt(1 - (schedule.alpha(t) / schedule.alpha(s)) ** 2)).minimum(schedule.sigma(s))',
        'test_truth.py::test_affine_recursion[1.0-ddpm-3]',
    ),
    'fresh noise added, old noise kept': (
        'DDIM with eta from memory', 'samplers.py',
        'kept = torch.sqrt(schedule.sigma(s) ** 2 - std**2)', 'kept = schedule.sigma(s)',
        'test_truth.py::test_dirac_with_noise[cosine-ddim-eta]',
    ),
    'fresh noise of the wrong time': (
        'diffusers#612, the same noise twice', 'samplers.py',
        'b * x0 + std * noise(x, s)', 'b * x0 + std * noise(x, t)',
        'test_samplers.py::test_fresh_noise_is_asked_for_the_time_it_belongs_to',
    ),
    'DDIM that ends at alpha_bar_1': (
        'latent-diffusion util.py, ControlNet PR#587', 'samplers.py',
        'dtype=torch.float64) * span / n)', 'dtype=torch.float64) * span / n).clamp_min(1)',
        'test_samplers.py::test_trailing_is_the_published_formula[7]',
    ),
    'levels cut off, not rounded': (
        'diffusers#13768', 'samplers.py',
        'return torch.round(schedule.t_max - torch.arange(', 'return torch.floor(schedule.t_max - torch.arange(',
        'test_samplers.py::test_trailing_is_the_published_formula[7]',
    ),
    'the last level twice': (
        'denoising-diffusion-pytorch#81, diffusers PR#6477', 'samplers.py',
        "inner = whole('n', n) - 1 if end < low else n", "inner = whole('n', n) - 1",
        'test_samplers.py::test_grids_fall_from_t_max_to_t_min[exponential-7]',
    ),
    'previous level by subtraction': (
        'diffusers#9261, #11347, #12633: DDIM and DDPM with trailing levels', 'samplers.py',
        'pairs = zip(times[:-1], times[1:])', 'pairs = zip(times[:-1], (times[:-1] - (times[0] - times[1])).clamp_min(times[-1]))',
        'test_truth.py::test_dirac_ddim[ddpm-13]',
    ),
    'Euler uphill': (
        'rectified-flow-pytorch#14: the direction inverted', 'samplers.py',
        'return x + match_dims(s - t, x) * schedule.velocity', 'return x + match_dims(t - s, x) * schedule.velocity',
        'test_truth.py::test_dirac_euler_and_heun[rectified-flow-euler-3]',
    ),
    'Heun that does not average': (
        'a half forgotten', 'samplers.py',
        '(here + there) / 2', 'there',
        'test_truth.py::test_order_on_three_laws[gaussian in the plane-heun]',
    ),
    'Heun that asks about the old level': (
        'fastai course, churned level not used', 'samplers.py',
        'denoise(guess, u, cond), u)', 'denoise(guess, t, cond), u)',
        'test_truth.py::test_dirac_euler_and_heun[rectified-flow-heun-3]',
    ),
    'a condition that is lost on the way': (
        'a silent default', 'samplers.py',
        'x = step(denoise, x, t, s, cond)', 'x = step(denoise, x, t, s, None)',
        'test_samplers.py::test_cond_reaches_the_model_at_every_call',
    ),
    'a sampler that keeps the graph': (
        'memory that grows with every step', 'samplers.py',
        'with torch.no_grad():\n            x = step', 'with torch.enable_grad():\n            x = step',
        'test_samplers.py::test_sample_keeps_no_graph_and_leaves_grad_mode_alone',
    ),
    'clipping on one side': (
        'a bound forgotten', 'samplers.py',
        '.clamp(low, high)', '.clamp(max=high)',
        'test_samplers.py::test_clipping_keeps_data_and_noise_consistent',
    ),
    'a Dirac test that cannot fail': (
        'smalldiffusion, torchcfm, flow_matching: tests that cannot fail', 'conform.py',
        "expect(off <= 1e-10, f'with one data point the solver", "expect(off <= 10, f'with one data point the solver",
        'test_conform.py::test_check_solver_rejects[broken_end-1]',
    ),
    'an order that is never wrong': (
        'diffrax accepts 0.9 either way', 'conform.py',
        'abs(p - order) <= 0.1', 'abs(p - order) <= 1.1',
        'test_conform.py::test_check_solver_rejects[euler-2]',
    ),
    'memory that leaks into the next walk': (
        'a solver object with state, used twice', 'samplers.py',
        'partial(equip(solver, past=[]), schedule)', 'partial(solver, schedule)',
        'test_samplers.py::test_each_walk_has_a_memory_of_its_own',
    ),
    'a way on that subtracts squares': (
        'catastrophic cancellation between neighbouring times', 'schedules.py',
        'torch.sqrt((sigma_t - kept).clamp(min=0)) * torch.sqrt(sigma_t + kept)', 'torch.sqrt((sigma_t**2 - kept**2).clamp(min=0))',
        'test_schedules.py::test_the_way_on_in_betas_and_between_neighbours',
    ),
    'churn that shrinks no signal': (
        'noise added and the state not rescaled, where the signal falls', 'samplers.py',
        'x = scale * x + s_noise * std * forked(', 'x = x + s_noise * std * forked(',
        'test_samplers.py::test_churn_raises_the_level_and_keeps_the_law[cosine]',
    ),
    # multistep
    'a slope that is not halved': (
        'the line a whole step ahead', 'multistep.py',
        'schedule.sigma(s) > 0, h / 2, 0.0)', 'schedule.sigma(s) > 0, h, 0.0)',
        'test_multistep.py::test_it_is_the_published_algorithm[3-cosine]',
    ),
    'a last step that extrapolates': (
        'Sana#91: lower_order_final=False', 'multistep.py',
        'torch.where(schedule.sigma(s) > 0, h / 2, 0.0)', 'h / 2',
        'test_multistep.py::test_the_first_step_and_the_last_are_ddim',
    ),
    'half of the second derivative': (
        'dpm-solver, and all who copied its third order: diffusers, k-diffusion', 'multistep.py',
        'curve: float = 1.0,', 'curve: float = 0.5,',
        'test_multistep.py::test_3m_is_the_published_formula_with_and_without_its_two[9-1.0]',
    ),
    'a corrector without its last row': (
        'UniPC, vary_coeff: the new value gets no weight', 'multistep.py',
        'more[:-1] - known), more[-1])', 'more[:-1] - known), 0 * more[-1])',
        'test_multistep.py::test_unipc_is_the_published_algorithm[2]',
    ),
    'a corrector with the weights of the predictor': (
        'UniPC, vary_coeff', 'multistep.py',
        '(*(more[:-1] - known), more[-1])', '(*(0 * known), more[-1])',
        'test_multistep.py::test_unipc_is_the_published_algorithm[2]',
    ),
    'the weight outside of the integral': (
        'a bracket that closes late: ipndm_v', 'multistep.py',
        'torch.stack([(shares * ((at[:, None] - rest) / (c - rest)).prod(1)).sum(0) for',
        'torch.stack([shares.sum(0) * ((at[:, None] - rest) / (c - rest)).prod(1).mean(0) for',
        'test_multistep.py::test_weights_integrate_powers_on_uneven_places[3]',
    ),
    'constants of even steps on an uneven grid': (
        'PLMS and iPNDM, taken for Adams-Bashforth', 'multistep.py',
        '    if form.even:', '    if True:',
        'test_multistep.py::test_3m_is_the_published_formula_with_and_without_its_two[9-1.0]',
    ),
    'a point infinitely far away': (
        'lower_order_nums counted from the wrong step: nan from pure noise', 'multistep.py',
        'torch.stack(points).clamp(-1e30, 1e30)', 'torch.stack(points)',
        'test_multistep.py::test_walks_of_the_family_are_finite_and_begin_with_order_one[3M]',
    ),
    'the weight of the noise turned round': (
        'dpm-solver: e^lambda for e^-lambda', 'multistep.py',
        'torch.exp(_half_log_snr(schedule, s) - c), _mix)', 'torch.exp(c - _half_log_snr(schedule, s)), _mix)',
        'test_multistep.py::test_dpm_solver_two_is_the_published_formula',
    ),
    'an estimate that gets no more weight for fresh noise': (
        'SDE-DPM-Solver++: (1 + eta) in the exponent only', 'multistep.py',
        'return (1 + eta) * schedule.alpha(s)', 'return schedule.alpha(s)',
        'test_multistep.py::test_sde_is_ancestral_at_order_one_and_of_weak_order_two',
    ),
    'one error for a whole batch': (
        'k-diffusion, adaptive steps: a sample depends on its neighbours', 'multistep.py',
        'return error.square().flatten(1).mean(1).sqrt()', 'return error.square().mean().sqrt().expand(len(error))',
        'test_multistep.py::test_adaptive_steps_are_each_example_own',
    ),
    'all steps of one length': (
        'LMS weights 3/2 and -1/2 on an uneven grid', 'multistep.py',
        'match_dims(ahead / (clock(t) - clock(u)), x)', 'match_dims(ahead / h, x)',
        'test_multistep.py::test_it_is_the_published_algorithm[3-cosine]',
    ),
    # text
    'leftmost pair first, not by rank': (
        'home-made encoders: merges applied as they are met', 'text.py',
        'new, i = heapq.heappop(queue)',
        'new, i = queue.pop(min(range(len(queue)), key=lambda k: queue[k][1]))',
        'test_text.py::test_merging_is_a_replay_in_the_order_of_learning',
    ),
    'the end of a word forgotten': (
        'vocabularies read without </w>', 'text.py',
        'ids[-1] += 256', 'ids[-1] += 0',
        'test_text.py::test_merging_is_a_replay_in_the_order_of_learning',
    ),
    'pairs counted without the frequency of words': (
        'byte-pair training on a set of words', 'text.py',
        'times = Counter(word for text in texts for word in words(text))',
        'times = dict.fromkeys((word for text in texts for word in words(text)), 1)',
        'test_text.py::test_each_merge_is_the_most_frequent_pair',
    ),
    'silent truncation': (
        'diffusers#9763: a prompt is cut without a word', 'text.py',
        'warnings.warn(self._cut(ids, cut), stacklevel=2)', 'pass',
        'test_text.py::test_truncation_says_what_is_lost',
    ),
    'mask without the end token': (
        'pooling reads the end token, the mask hides it', 'text.py',
        'return ends.cumsum(1) - ends == 0', 'return ids != self.end',
        'test_text.py::test_the_mask_ends_with_the_first_end',
    ),
    # conditions: layers, U-Net, conditioner
    'mask upside down': (
        'LLMs-from-scratch#1061: True hides in MultiheadAttention and shows in scaled_dot_product_attention', 'nets/layers.py',
        '(mask | ~some)[:, None, None]', '(~mask | ~some)[:, None, None]',
        'test_layers.py::test_lookup_is_what_it_says',
    ),
    'padding with a score of zero': (
        'e**0 is one: the filling outvotes the words', 'nets/layers.py',
        'masked_fill(hidden, -math.inf)', 'masked_fill(hidden, 0.0)',
        'test_layers.py::test_weights_are_those_of_the_answer',
    ),
    'softmax over the queries': (
        'attention from memory', 'nets/layers.py',
        'torch.softmax(scores, -1).masked_fill(hidden, 0.0)', 'torch.softmax(scores, -2).masked_fill(hidden, 0.0)',
        'test_layers.py::test_weights_are_those_of_the_answer',
    ),
    'the mask not handed on': (
        'pipelines that attend to padding by accident', 'nets/unet.py',
        'self.attn(h, cond.seq, cond.mask) if self.reads', 'self.attn(h, cond.seq) if self.reads',
        'test_unet.py::test_padding_of_the_tokens_changes_nothing',
    ),
    'the condition dropped field by field': (
        'half a condition is none that sampling asks for', 'conditioning.py',
        'match_dims(lost, a).bool()', 'match_dims(torch.rand(len(a), generator=generator) < p, a).bool()',
        'test_conditioning.py::test_drop_takes_whole_examples',
    ),
    'the condition dropped for a whole batch': (
        'asked in runwayml/stable-diffusion#8: one coin for the batch, or one each?', 'conditioning.py',
        'torch.rand(n, generator=g, device=first.device if g is None else g.device), len',
        'torch.rand(1, generator=g, device=first.device if g is None else g.device).expand(n), len',
        'test_conditioning.py::test_drop_takes_whole_examples',
    ),
    'parts of a condition lost at one rate': (
        'one probability for all that a cascade is told', 'conditioning.py',
        'part.null(n), p.get(name, 0.0), generator)', 'part.null(n), max(p.values(), default=0.0), generator)',
        'test_conditioning.py::test_parts_are_lost_each_by_its_own_chance_and_independently',
    ),
    'the null of one part for all': (
        'a null that knows no picture', 'conditioning.py',
        'part.null(n) for part in self.parts.values()', 'part.null(n) for part in [*self.parts.values()][:1]',
        'test_conditioning.py::test_the_null_of_several_knows_pictures_and_one_part_may_be_kept',
    ),
    'a frozen tower in training mode': (
        'requires_grad_(False) does not stop dropout', 'conditioning.py',
        'self.tower.train(mode and not self.frozen)', 'self.tower.train(mode)',
        'test_conditioning.py::test_a_frozen_tower_is_left_alone',
    ),
    # captioned data and the command line
    'any assignment of things to names': (
        'counting alignment by the order of detection', 'recognise.py',
        'for things in permutations(padded, many)), key=sum)', 'for things in [tuple(padded[:many])]), key=sum)',
        'test_recognise.py::test_captions_agree_with_their_scenes',
    ),
    'held-out scenes that training has seen': (
        'test captions that differ in words alone', 'shapes.py',
        'torch.where(third < 0, pair, 12 + free)', 'torch.where(third < 0, 9 * first + second, 12 + free)',
        'test_shapes.py::test_no_caption_of_a_new_scene_is_one_of_training',
    ),
    'the negative prompt ignored': (
        'interfaces where it has no effect', 'cli/prompts.py',
        'null = model.condition([negative]) if negative else model.null(1)', 'null = model.null(1)',
        'test_cli.py::test_a_prompt_draws_what_the_library_draws',
    ),
    'what the mask protects is redrawn': (
        'white means keep in one tool and paint in another', 'cli/edits.py',
        '~read_mask(mask, image, given, side)', 'read_mask(mask, image, given, side)',
        'test_cli.py::test_what_the_mask_protects_stays',
    ),
    # guidance
    'guidance with the printed sign': (
        'labml#177: s eps_c + (s - 1) eps_0', 'guidance.py',
        'return away + match_dims(scale, x0) * (x0 - away)',
        'return match_dims(scale, x0) * x0 + match_dims(scale - 1, x0) * away',
        'test_guidance.py::test_guidance_asks_twice_where_it_guides',
    ),
    'three of four channels guided': (
        'DiT, models.py', 'guidance.py',
        'moved = rule(x0, left, scale.to(x0), torch.as_tensor(t, device=x.device))',
        'moved = torch.cat([rule(x0, left, scale.to(x0), torch.as_tensor(t, device=x.device))[:, :3], x0[:, 3:]], 1)',
        'test_guidance.py::test_guidance_is_the_same_in_every_prediction',
    ),
    'gradient of the classifier at the estimate': (
        'guided-diffusion#112: where is the gradient taken?', 'guidance.py',
        'at = x.detach().requires_grad_()', 'at = denoise(x, t, cond).detach().requires_grad_()',
        'test_guidance.py::test_a_classifier_guides_as_no_classifier_does',
    ),
    'scale for w': (
        'diffusers#5882: is a guidance of 3 a 3 or a 4?', 'guidance.py',
        '    return scale - 1', '    return scale',
        'test_guidance.py::test_conventions_come_back',
    ),
    'guided where it should be asked without': (
        'halves of the batch swapped, or two answers', 'guidance.py',
        'left, x0 = away(x, t, cond), denoise(x, t, cond)', 'x0, left = away(x, t, cond), denoise(x, t, cond)',
        'test_guidance.py::test_answers_are_not_swapped',
    ),
    'a momentum that forgets all but the last difference': (
        'a running average written as a difference of two', 'guidance.py',
        'past[:] = [(t, diff)]', 'past[:] = [(t, x0 - away)]',
        'test_guidance.py::test_apg_remembers_in_the_list_it_is_given',
    ),
    'guided outside of the interval too': (
        'one time of a batch decides for all', 'guidance.py',
        'if inside.all() or not inside.any():', 'if True:',
        'test_guidance.py::test_within_chooses_for_each_example',
    ),
    'CFG++ with the guided noise': (
        'then it is plain guidance again', 'guidance.py',
        'schedule.eps(x, away, t), s)', 'schedule.eps(x, x0, t), s)',
        'test_guidance.py::test_cfg_plus_plus_is_the_published_step',
    ),
    # editing
    'the known region put back clean': (
        'inpainting that never looks right at the seam', 'editing.py',
        'schedule.perturb(known, noise(x, t), t), x)', 'known, x)',
        'test_editing.py::test_put_back_is_as_noisy_as_the_rest',
    ),
    'the known region noised to the time before': (
        'RePaint reimplementations, off by one', 'editing.py',
        'tie(x, t), t, s, cond), s)', 'tie(x, t), t, s, cond), t)',
        'test_editing.py::test_known_noise_is_that_of_the_time_reached',
    ),
    'DPS with the gradient at the estimate': (
        'a gradient that does not go through the denoiser', 'inverse.py',
        '(seen * pull.detach()).sum(), x)', '(seen * pull.detach()).sum(), x0)',
        'test_inverse.py::test_dps_takes_the_gradient_at_the_noisy_state',
    ),
    'inversion asks at the wrong time': (
        'Stability-AI stablediffusion PR#226: index for timestep', 'editing.py',
        'ddim(schedule, denoise, x, torch.where(bare, as_time(t), as_time(s)), t, cond)',
        'ddim(schedule, lambda x, u, c: denoise(x, t, c), x, torch.where(bare, as_time(t), as_time(s)), t, cond)',
        'test_editing.py::test_the_denoiser_is_asked_about_the_state_at_its_own_time',
    ),
    'inversion with the roles of the times exchanged': (
        'diffusers PR#5145: golden numbers had blessed it', 'editing.py',
        'ddim(schedule, denoise, x, torch.where(bare, as_time(t), as_time(s)), t, cond)',
        'ddim(schedule, denoise, x, t, torch.where(bare, as_time(t), as_time(s)), cond)',
        'test_editing.py::test_with_one_data_point_a_rise_stays_on_the_straight_path',
    ),
    'the same noise in every round of RePaint': (
        'a seed set inside the loop', 'editing.py',
        "own = noise.fork(f'round {k}') if k else noise", 'own = noise',
        'test_editing.py::test_every_round_of_repaint_has_its_own_noise',
    ),
    # cascades
    'a level of the small picture that is not told': (
        'upscalers that hear the noise and not how much', 'cascades.py',
        'told = scaled_time(self.schedule, as_time(level))', 'told = scaled_time(self.schedule, 0 * as_time(level))',
        'test_cascades.py::test_another_level_is_told_otherwise',
    ),
    'noise before the units': (
        'lucidrains/imagen-pytorch#160: noised first, normalised then', 'cascades.py',
        'self((self.schedule.perturb(x, eps.to(x), as_time(level)).to(x), level))', 'self((2 * self.schedule.perturb((x + 1) / 2, eps.to(x), as_time(level)).to(x) - 1, level))',
        'test_cascades.py::test_bytes_get_their_units_before_they_get_noise',
    ),
    'a small picture from 0 to 1': (
        'the range of a data loader, in a model of -1 to 1', 'cascades.py',
        'x = low if low.is_floating_point() else to_model(low)', 'x = low if low.is_floating_point() else low / 255',
        'test_cascades.py::test_bytes_get_their_units_before_they_get_noise',
    ),
    'one level for the whole batch': (
        'lucidrains/imagen-pytorch: the default', 'cascades.py',
        'draw_rows(lambda n, g: torch.rand(n, generator=g, device=g.device), number_of, generator)',
        'draw_rows(lambda n, g: torch.rand(1, generator=g, device=g.device).expand(n), number_of, generator)',
        'test_cascades.py::test_the_loss_is_that_of_the_denoiser_told_its_own_small_copy',
    ),
    'up by the difference of deviations': (
        'lucidrains/imagen-pytorch#293, DALLE2-pytorch: q_sample_from_to', 'editing.py',
        'scale, std = (match_dims(c, x) for c in schedule.transition(s, t))',
        'scale = match_dims(schedule.alpha(t) / schedule.alpha(s), x); std = match_dims(schedule.sigma(t), x) - scale * match_dims(schedule.sigma(s), x)',
        'test_cascades.py::test_going_up_leaves_the_variance_of_the_new_level',
    ),
    'a cap of 1 on the threshold': (
        'diffusers PR#3003: sample_max_value, by default the plain clip', 'guidance.py',
        'dim=1).clamp(bound, cap), x0)', 'dim=1).clamp(bound, bound), x0)',
        'test_cascades.py::test_a_cap_at_the_bound_is_plain_clipping',
    ),
    'the row of the level counted from one': (
        'a table that counts from 0, in a book that counts from 1', 'cascades.py',
        'as_time(level + 1.0)', 'as_time(float(level))',
        'test_cascades.py::test_the_published_upscaler_counts_rows_from_zero',
    ),
    # CLIP
    'pairs out of step': (
        'torchcfm#117: labels ignored in pairing', 'nets/clip.py',
        'pairs = torch.arange(len(logits), device=logits.device)', 'pairs = torch.arange(len(logits), device=logits.device).roll(1)',
        'test_clip.py::test_info_nce_is_two_classifications',
    ),
    'temperature without its exponential': (
        'a learned scale read as it is stored', 'nets/clip.py',
        'scale = log_scale.exp() if', 'scale = log_scale if',
        'test_clip.py::test_info_nce_is_two_classifications',
    ),
    'one side of the contrastive loss twice': (
        'images look for texts, and again', 'nets/clip.py',
        'F.cross_entropy(logits.T, pairs)', 'F.cross_entropy(logits, pairs)',
        'test_clip.py::test_info_nce_is_two_classifications',
    ),
    'unit length over the batch': (
        'DALLE2-pytorch#60: what scale an embedding has', 'nets/clip.py',
        'self.text_projection(self.text_model(tokens)[1]), dim=-1)', 'self.text_projection(self.text_model(tokens)[1]), dim=0)',
        'test_clip.py::test_examples_of_a_batch_do_not_mix',
    ),
    'pooling over the padding': (
        'mean of all states in place of the end token', 'nets/clip.py',
        'pooled = states[torch.arange(tokens.shape[0], device=tokens.device), self.end_of(tokens)]', 'pooled = states.mean(1)',
        'test_clip.py::test_what_stands_behind_the_end_changes_nothing',
    ),
    'a text tower that sees ahead': (
        'the causal mask forgotten', 'nets/clip.py',
        'self.heads, causal=causal)', 'self.heads, causal=False)',
        'test_clip.py::test_a_state_sees_no_later_token',
    ),
    # vae
    'uniform noise in the latents': (
        'pytorch-sample-codes#3; Axon: rand_like in a reparameterisation', 'nets/vae.py',
        'eps = torch.randn(mean.shape, generator', 'eps = torch.rand(mean.shape, generator',
        'test_vae.py::test_draws_have_the_moments_they_should',
    ),
    'variance for the standard deviation of a latent': (
        'ibp_vae#3, vae_tacotron2#3: exp(log_var) times the noise', 'nets/vae.py',
        'return mean + torch.exp(log_var / 2) * eps', 'return mean + torch.exp(log_var) * eps',
        'test_vae.py::test_draws_have_the_moments_they_should',
    ),
    'sign in the KL of the latents': (
        'lecture notes', 'nets/vae.py',
        'log_var.expm1() - log_var)', 'log_var.expm1() + log_var)',
        'test_vae.py::test_kl_is_that_of_gaussians',
    ),
    'scale of the latents on the wrong side': (
        'MONAI GenerativeModels PR#214, finetrainers#101: which side of the encoder is divided', 'nets/vae.py',
        '(z - _per_channel(self.shift, z)) * _per_channel(self.scale, z)', '(z - _per_channel(self.shift, z)) / _per_channel(self.scale, z)',
        'test_vae.py::test_scale_and_shift_are_undone',
    ),
    'KL averaged over latents, error over pixels': (
        'many: the weight is off by a factor', 'nets/vae.py',
        'kl_weight * kl_to_normal(mean, log_var) / x[0].numel()', 'kl_weight * kl_to_normal(mean, log_var) / mean[0].numel()',
        'test_vae.py::test_loss_is_the_elbo_of_a_gaussian_decoder',
    ),
    'decoder taught to please the judge': (
        'a missing detach', 'nets/vae.py',
        'F.relu(1 + judge(fake.detach()))', 'F.relu(1 + judge(fake))',
        'test_vae.py::test_the_judges_loss_sends_nothing_to_the_decoder',
    ),
    'codebook without its straight-through': (
        'the encoder gets no gradient', 'nets/codebook.py',
        'return z + (chosen - z).detach(), index', 'return chosen, index',
        'test_codebook.py::test_gradients_go_straight_through',
    ),
    # t5
    'scores of T5 divided': (
        'allennlp#5360: T5 built with the scaled product of everybody else', 'nets/t5.py',
        'F.scaled_dot_product_attention(q, k, v, bias, scale=1.0)', 'F.scaled_dot_product_attention(q, k, v, bias)',
        'test_t5.py::test_scores_are_not_divided',
    ),
    'distances in the first block alone': (
        'transformers#10221, #13397: the file holds the table in the first block, and it was asked whether the others use it', 'nets/t5.py',
        '        x = block(x, bias)', '        x = block(x, bias if block is self.blocks[0] else 0 * bias)',
        'test_t5.py::test_every_block_adds_the_distances',
    ),
    'strange letters one by one': (
        'tokenizers#574: SentencePiece gives one unknown piece for many letters', 'published/unigram.py',
        'if not (k and i == ids[k - 1] == self.unknown)', 'if i >= 0',
        'test_t5.py::test_rows_masks_and_reading_back',
    ),
    # pipelines
    'width before height': (
        'diffusers#5382, reverted by #5614: the order of the size that Stable Diffusion XL is told', 'published/pipelines.py',
        'height, width = asked.size', 'width, height = asked.size',
        'test_pipelines.py::test_the_numbers_are_height_and_width_twice_around_a_crop',
    ),
    'the state before the last block, normed': (
        'diffusers#1721, sdkit#56: Stable Diffusion XL reads it without the final norm', 'published/pipelines.py',
        'skip=1 + asked.skip, norm=False', 'skip=1 + asked.skip',
        'test_pipelines.py::test_states_side_by_side_before_the_last_block_and_its_norm',
    ),
    'an empty negative prompt read as a text': (
        'sd-webui-forge-classic#664: zeros or the empty text, and pictures differ', 'published/pipelines.py',
        'if self.zeros and asked.away:', 'if self.zeros and not asked.away:',
        'test_pipelines.py::test_an_empty_text_to_stay_away_from_is_zeros_where_the_pipeline_says_so',
    ),
    # pretrained
    'an offset of the steps forgotten': (
        'diffusers: steps_offset', 'published/scheduler.py',
        '* (T // m) + plan.offset + 1', '* (T // m) + 1',
        'test_pretrained.py::test_times_of_a_plan',
    ),
    'a published net told the time from 1': (
        'labml, CompVis: timesteps count from 0', 'pretrained.py',
        'noise_input=scheduler.TOLD[self.told], ', 'noise_input=lambda s, t: scheduler.TOLD[self.told](s, t) + 1, ',
        'test_pretrained.py::test_the_denoiser_of_a_plan_tells_the_published_time',
    ),
    'an index that leads out of its folder': (
        'path traversal in a weight map', 'published/folders.py',
        "if PurePosixPath(name).name != name or '\\\\' in name or not", 'if not',
        'test_pretrained.py::test_damaged_folders_are_refused',
    ),
    'a NaN in a checkpoint': (
        'comparisons with NaN are false', 'published/fill.py',
        "if not (-float('inf') < least and most < float('inf')):", "if least == -float('inf') or most == float('inf'):",
        'test_pretrained.py::test_damaged_folders_are_refused',
    ),
    'an overflow in half precision': (
        'weights that become infinite when loaded', 'published/fill.py',
        'if max(-least, most) > torch.finfo(dtype).max:', 'if False:',
        'test_pretrained.py::test_an_overflow_in_half_precision_is_refused',
    ),

    # stable_diffusion
    'the mask the other way round': (
        'black and white confused', 'stable_diffusion.py',
        'torch.where(hole, 0, picture)', 'torch.where(hole, picture, 0)',
        'test_stable_diffusion.py::test_what_a_network_that_fills_holes_sees',
    ),
    'mask and picture in the wrong order': (
        'nine channels: latents, mask, picture', 'stable_diffusion.py',
        '[self._cells(hole, eps).to(eps), around]', '[around, self._cells(hole, eps).to(eps)]',
        'test_stable_diffusion.py::test_what_a_network_that_fills_holes_sees',
    ),
    'a negative prompt that nobody reads': (
        'an argument not passed on', 'stable_diffusion.py',
        "self.read(as_texts('negative_prompt', negative, len(prompts)), asked", "self.read([''] * len(prompts), asked",
        'test_stable_diffusion.py::test_a_point_is_drawn_where_guidance_puts_it',
    ),
    'a picture that changes with its batch': (
        'diffusers#2659', 'stable_diffusion.py',
        'range(first, first + shape[0])', 'range(shape[0])',
        'test_stable_diffusion.py::test_a_picture_is_the_same_alone_and_in_a_batch',
    ),
    'an image in [0, 1] given to the encoder': (
        'the units of the encoder', 'store/given.py',
        'return 2 * x - 1', 'return x',
        'test_stable_diffusion.py::test_strength_is_the_share_of_steps',
    ),
    'noise of unit variance where sigma is large': (
        'init_noise_sigma forgotten', 'stable_diffusion.py',
        '1.0 if self.plan.unit else self.schedule.sigma(times[0])', '1.0',
        'test_stable_diffusion.py::test_where_the_walk_begins',
    ),
    # shards
    'a row from the shard before': (
        'searchsorted on the wrong side', 'store/shards.py',
        'self.ends, right=True)', 'self.ends, right=False)',
        'test_shards.py::test_rows_come_back_whatever_the_portions',
    ),
    'a shard whose digest is not looked at': (
        'damage that loads in silence', 'store/shards.py',
        'if verify and (found :=', 'if not verify and (found :=',
        'test_shards.py::test_what_is_damaged_is_refused',
    ),
    # several parts and processes, and files of strangers
    'the same rows for every part': (
        'accelerate#236, lingbot-vla-v2#41: every rank draws the same noise', 'core.py',
        '[generator.first : generator.first + n]', '[:n]',
        'test_scale.py::test_rows_of_parts_are_the_rows_of_the_whole',
    ),
    'a mean of means of unequal parts': (
        'gradient accumulation that forgets the last, shorter part', 'scale.py',
        '* (len(rows) / n)', '/ parts',
        'test_scale.py::test_unequal_parts_weigh_what_they_hold',
    ),
    'every rank reads the first part': (
        'open-sora-plan#366: same data on every rank', 'scale.py',
        'slice(n // team.size * team.rank, n // team.size * (team.rank + 1))', 'slice(0, n // team.size)',
        'test_scale.py::test_my_rows_are_everybodys_rows_once',
    ),
    'archives from the start again': (
        'accelerate#2823: a resumed run reads epoch 0 twice', 'scale.py',
        'skip = max(0, skip - counts[i])', 'skip = 0',
        'test_scale.py::test_archives_resume_at_every_step',
    ),
    'every lane reads all archives': (
        'pytorch#5059: workers that read the same', 'scale.py',
        '[lane::lanes]', '[:]',
        'test_scale.py::test_an_epoch_of_archives_is_each_sample_once',
    ),
    'an infinite weight that a nonlinearity hides': (
        'NaN guards that look at the loss alone', 'training.py',
        ' & torch.isfinite(weights))', ')',
        'test_training.py::test_an_infinite_weight_that_a_nonlinearity_hides_is_found[1]',
    ),
    'an archive unpacked without end': (
        'a zip of 204 KB inflates to 200 MB in torchvision', 'store/packed.py',
        'if self.left < 0:', 'if False:',
        'test_bad_input.py::test_case[tar: a bomb of 320 megabytes]',
    ),
    'a link in an archive': (
        'CVE-2007-4559', 'store/packed.py',
        'if k >= MEMBERS or not (member.isdir()', 'if False and not (member.isdir()',
        'test_bad_input.py::test_case[tar: a link]',
    ),
    'a key that stands twice': (
        'safetensors: the last one wins in many readers of JSON', 'store/files.py',
        '    if len(found) < len(pairs):', '    if False:',
        'test_bad_input.py::test_case[ours is a key twice]',
    ),
    'an index that leaves its folder': (
        'shards named ../', 'published/folders.py',
        'if PurePosixPath(name).name != name or', 'if',
        "test_bad_input.py::test_case[index names '../x.safetensors']",
    ),

    # score
    'shaking by the length of a step': (
        'google-research/ibc#6; Bayesian-Neural-Networks#17: noise times the step, not its root', 'score.py',
        'match_dims(torch.sqrt(2 * size), x)', 'match_dims(size, x)',
        'test_score.py::test_the_variance_at_rest_on_a_gaussian',
    ),
    'two conventions of a step': (
        'NCSN has eps / 2 and the root of eps in its paper, eps and the root of 2 eps in its code; mixed, the law is too narrow', 'score.py',
        'match_dims(torch.sqrt(2 * size), x)', 'match_dims(torch.sqrt(size), x)',
        'test_score.py::test_the_variance_at_rest_on_a_gaussian',
    ),
    'all of the Jacobian for its trace': (
        'the gradient of s.sum() taken for the divergence', 'score.py',
        'create_graph=True)[0][:, i]', 'create_graph=True)[0].sum(1)',
        'test_score.py::test_the_divergence_is_the_trace_of_the_jacobian',
    ),
    'a square that is not halved': (
        'sliced matching: |s|^2 beside a whole slope has its minimum at half the score', 'score.py',
        's.square().sum(1) / 2 + (along * v).sum(1)', 's.square().sum(1) + (along * v).sum(1)',
        'test_score.py::test_over_all_signs_the_sliced_loss_is_the_implicit_one',
    ),
    'steps in proportion to sigma': (
        'Song and Ermon 2019, algorithm 1, without its square', 'score.py',
        'size * schedule.sigma(level) ** 2', 'size * schedule.sigma(level)',
        'test_score.py::test_the_published_chain_of_ten_levels',
    ),
    'one noise for all steps of a level': (
        'a generator seeded anew inside the loop', 'score.py',
        "noise.fork(f'{k:.0f}')(x, level)", 'noise(x, level)',
        'test_score.py::test_walkers_of_every_level_have_the_variance_of_the_recursion',
    ),
    'the last noise left in': (
        'Jolicoeur-Martineau et al. 2021: NCSN drew without a last denoising', 'score.py',
        'torch.where(match_dims(done, x).bool(), denoise(x, level, cond), y)', 'torch.where(match_dims(done, x).bool(), x, y)',
        'test_score.py::test_where_no_noise_is_left_it_denoises_once_more',
    ),
    'the gap of a walk that leaves to one side': (
        'a walk on a grid whose points are left to the right alone', 'score.py',
        'pad(rise.exp(), (0, 1)) + pad((-rise).exp(), (1, 0))', '2 * pad(rise.exp(), (0, 1))',
        'test_score.py::test_the_gap_of_a_gaussian_is_the_inverse_of_its_variance',
    ),

    # sde
    'sub-VP with the root': (
        'a reading of Song et al. 2021: sub-VP has the noise scale 1 - alpha^2 itself', 'sde.py',
        'return self.base.sigma(t) ** 2', 'return self.base.sigma(t)',
        'test_sde.py::test_sub_vp_has_the_published_diffusion_and_is_saved',
    ),
    'a noise for the stage and another for the step': (
        'diffusers, single-step sde-dpmsolver++ 2 and 3 (PR 8269)', 'sde.py',
        'return step(step(x, better, t, half, z), better, half, s, noise(x, s))', 'return step(x, better, t, s, noise(x, s))',
        'test_sde.py::test_second_order_on_one_path_of_noise[1.0]',
    ),
    'fresh noise as long as the step': (
        'lecture notes: g dt z for g dw', 'sde.py',
        'diffusion(t) * torch.sqrt(t - s)', 'diffusion(t) * (t - s)',
        'test_sde.py::test_euler_maruyama_is_the_published_predictor',
    ),
    'a pull that does not balance the noise': (
        'zea PR#551; RectifiedFlow sampling.py: noise "while perserving the marginal probability" with another drift', 'sde.py',
        'pull = diffusion(t) ** 2 / (2 * schedule.sigma(t))', 'pull = diffusion(t) ** 2 / 2',
        'test_sde.py::test_every_member_keeps_mean_and_variance[linear-beta-1.0]',
    ),
    'a score without the half for the flow': (
        'score_sde users: the reverse drift used for the probability flow', 'sde.py',
        'return (2 - scale) * x + (1 + noise_level**2) / 2 * std**2 * score', 'return (2 - scale) * x + std**2 * score',
        'test_sde.py::test_the_weak_order_is_as_claimed[reverse_diffusion, 0-CosineSchedule]',
    ),
    "a corrector with Langevin's plain noise": (
        'score_sde_pytorch, LangevinCorrector: too wide by 1 / (1 - q^2)', 'sde.py',
        'torch.sqrt(1 - kept**2)', 'torch.sqrt(2 * (1 - kept))',
        'test_sde.py::test_two_steps_with_one_estimate_are_one[1.0]',
    ),
    'a noise level that is not squared': (
        'eta for eta^2 in the decay of the old noise', 'sde.py',
        "** number('noise_level', noise_level, 0) ** 2", "** number('noise_level', noise_level, 0)",
        'test_sde.py::test_two_steps_with_one_estimate_are_one[2.0]',
    ),

    # likelihood
    'what neighbours gain is taken for lost': (
        'lecture notes: log p(x0) = log p(x_T) - int div v, with time from noise to data', 'likelihood.py',
        'return noise(last) + spread +', 'return noise(last) - spread +',
        'test_likelihood.py::test_pictures_and_rows_are_the_same',
    ),
    'one error for the whole batch': (
        'score_sde_pytorch, likelihood.py: the batch is one vector for solve_ivp', 'likelihood.py',
        '        good = error <= 1', '        good = (error := error.amax(0, keepdim=True).expand_as(error)) <= 1',
        'test_likelihood.py::test_a_sample_does_not_depend_on_its_batch',
    ),
    'a new direction at each call': (
        'asked in flow_matching#49 and #62: one direction, or many', 'likelihood.py',
        "        trace = partial(probe_trace, probe=draw_signs(len(x), x, make_generator(0, 'likelihood') if generator is None else generator))",
        "        trace = lambda v, y, g=generator or make_generator(0, 'likelihood'): probe_trace(v, y, draw_signs(len(x), x, g))",
        'test_likelihood.py::test_a_new_direction_at_each_call_would_be_seen',
    ),
    'directions of zeros and ones': (
        'randint(0, 2) without * 2 - 1', 'likelihood.py',
        '.double() * 2 - 1', '.double()',
        'test_likelihood.py::test_signs_are_signs',
    ),
    'seven bits on every scale': (
        'score_sde_pytorch#51: offset = 7, "a hack"', 'likelihood.py',
        'width: float = 2 / 255,', 'width: float = 2 / 256,',
        'test_likelihood.py::test_the_default_width_is_that_of_our_levels',
    ),
    'the offset with the wrong sign': (
        'a density taken for a probability', 'likelihood.py',
        "- math.log2(positive('width', width))", "+ math.log2(positive('width', width))",
        'test_likelihood.py::test_who_knows_nothing_needs_eight_bits',
    ),
    'noise of variance one at the end': (
        'VE judged by the prior of VP', 'likelihood.py',
        'gaussian_log_prob(x, 0.0, sigma**2)', 'gaussian_log_prob(x, 0.0, sigma / sigma)',
        'test_likelihood.py::test_from_pure_noise_it_is_the_density_of_what_is_drawn',
    ),
    'levels spread to one side': (
        '(k + u) with the scale of levels at 2k/255 - 1', 'likelihood.py',
        'u.to(images.device) - 0.5) / 127.5', 'u.to(images.device)) / 127.5',
        'test_likelihood.py::test_levels_are_spread_over_their_bins',
    ),

    # edm
    'the exponent of the last average for all': (
        'ema-pytorch PR#22: a loop variable overwrites gamma', 'edm.py',
        'gamma, wanted = torch.tensor([power_gamma(w) for w in widths.tolist()])', 'gamma, wanted = torch.tensor([power_gamma(widths[-1].item()) for w in widths])',
        'test_edm.py::test_profiles_are_rebuilt_within_known_errors_and_shares_add_up[16-0.15-0.9]',
    ),
    'the variance of a profile for its width': (
        'a relative width is a standard deviation', 'edm.py',
        '(gamma + 1) ** 0.5 / ((gamma + 2) * (gamma + 3) ** 0.5)', '(gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))',
        'test_edm.py::test_the_published_exponents',
    ),
    'a power law one exponent too low': (
        'beta = (1 - 1/t)^gamma, an off-by-one of the retention', 'edm.py',
        'warm=power_gamma(width) + 2', 'warm=power_gamma(width) + 1',
        'test_edm.py::test_averages_side_by_side_have_each_its_own_length',
    ),
    'profiles that go on after they were stored': (
        'the integral runs to the later time', 'edm.py',
        'first, last = torch.minimum(t, s), torch.maximum(t, s)', 'first, last = torch.maximum(t, s), torch.maximum(t, s)',
        'test_edm.py::test_products_of_profiles_are_their_integrals',
    ),
    'shares that need not add up': (
        'the published least squares: a weight that never moves comes back changed', 'edm.py',
        'system[:k, :k], system[k, k] = profile_product(t[:, None], gamma[:, None], t, gamma), 0.0',
        'system[:k, :k], system[k], system[:, k] = profile_product(t[:, None], gamma[:, None], t, gamma), 0.0, 0.0; system[k, k] = 1.0',
        'test_edm.py::test_a_weight_that_never_moves_comes_back_and_an_earlier_average_can_be_asked_for',
    ),
    'averages that begin anew when a run goes on': (
        'trainers that resume weights and not their averages', 'edm.py',
        'if not begun and step.step > 1:', 'if False:',
        'test_edm.py::test_a_run_that_goes_on_keeps_the_averages_of_a_run_that_was_whole',
    ),
    'a loss of x0 read as the loss of F': (
        'edm#21: curves by noise level without 1 / c_out^2', 'edm.py',
        '1 - (1 + r[..., 0] ** 2 / v.mean()) * (v / (v + r**2)).mean(-1)', '1 - r[..., 0] ** 2 * (v / (v + r**2)).mean(-1) / v.mean()',
        'test_edm.py::test_of_a_gaussian_the_linear_share_is_the_whole[karras]',
    ),
    'the mean of the levels for that of their logarithms': (
        'P_mean given in sigma', 'edm.py',
        'mean = torch.trapezoid(share * log, log) / area', 'mean = torch.log(torch.trapezoid(share * log.exp(), log) / area)',
        'test_edm.py::test_the_fit_finds_a_normal_law_on_an_uneven_grid',
    ),
    'S_noise on the variance': (
        'a factor on the noise, entered under the root', 'samplers.py',
        'x = scale * x + s_noise * std * forked(', 'x = scale * x + s_noise**0.5 * std * forked(',
        'test_samplers.py::test_s_noise_scales_the_fresh_noise_alone',
    ),
    'one half for any data': (
        'consistency_models#16, edm#24, k-diffusion: sigma_data left at its default', 'recipes.py',
        'round(to_model(found.images[:4096]).square().mean().sqrt().item(), 3)', '0.5',
        'test_recipes.py::test_the_method_edm_asks_for_the_target_of_the_paper[plain]',
    ),

    # grids and the command line of samplers
    'a fraction told where a row is meant': (
        'published solvers round the times of Karras levels, a port that does not tells the network other times', 'published/scheduler.py',
        'return torch.round(table_index(schedule, t))', 'return table_index(schedule, t)',
        'test_pretrained.py::test_what_a_network_is_told_between_rows',
    ),
    'a shift that is applied twice': (
        'diffusers#13243: the least level is shifted, then the whole grid', 'grids.py',
        'return ShiftedSchedule(schedule, shift).clock(uniform_times(schedule, n))[0]',
        'return ShiftedSchedule(schedule, shift).clock(ShiftedSchedule(schedule, shift).clock(uniform_times(schedule, n))[0])[0]',
        'test_grids.py::test_a_shift_multiplies_levels_once',
    ),
    'angles of data of spread one': (
        'LCM#82, diffusers#8547: sigma_data left out', 'grids.py',
        'inner = schedule.time_at(-2 * torch.log(spread * torch.tan(angles)))', 'inner = schedule.time_at(-2 * torch.log(torch.tan(angles)))',
        'test_grids.py::test_a_shift_multiplies_levels_once',
    ),
    'a cheapest path of one step more': (
        'off by one: the first row is a path of one step', 'grids.py',
        'for _ in range(n - 1):', 'for _ in range(n):',
        'test_grids.py::test_the_cheapest_of_all_paths',
    ),
    'equal errors by the root of the order': (
        'a local error of order q + 1 taken for one of order q', 'grids.py',
        'errors.double() ** (1 / (order + 1))', 'errors.double() ** (1 / order)',
        'test_grids.py::test_equal_errors_whatever_the_fine_grid_was',
    ),
    'quantiles of the other tail': (
        'beta schedulers: ppf of a share counted from the other end', 'grids.py',
        'below((1 - u).clamp(max=0.5), b, a)', 'below((1 - u).clamp(max=0.5), a, b)',
        'test_grids.py::test_quantiles_are_those_of_scipy',
    ),
    'costs that forget what the walk leaves of them': (
        'GITS: errors at high noise count in full', 'grids.py',
        'costs[i, j] = off * spread / torch.sqrt((spread * schedule.alpha(times[j])) ** 2 + schedule.sigma(times[j]) ** 2)',
        'costs[i, j] = off / schedule.alpha(times[j])',
        'test_grids.py::test_costs_are_distances_of_single_ddim_steps',
    ),
    'an option that is accepted and not used': (
        'an option of a sampler that is read and reaches nothing', 'cli/evaluate.py',
        'solver=solver, grid=grid, churn=churn)', 'solver=solver, churn=churn)',
        'test_cli.py::test_options_of_evaluate_reach_the_drawing',
    ),

    # flow matching and rectified flow
    'reflow that joins strangers': (
        'fresh noise in the place of that of the pair', 'reflow.py',
        't.to(x0.device), eps, cond)', 't.to(x0.device), torch.randn(x0.shape, generator=generator), cond)',
        'test_reflow.py::test_the_loss_is_that_of_its_own_pairs[uniform_draw]',
    ),
    'every step counts alike': (
        'a mean over the steps of an uneven grid', 'reflow.py',
        'share = steps / (times[-1] - times[0])', 'share = torch.ones_like(steps) / len(steps)',
        'test_reflow.py::test_a_straight_path_has_none_on_any_grid_and_a_stop_on_the_way_has_some[2]',
    ),
    'a teacher that starts from unit noise': (
        'starting noise not scaled, as in init_noise_sigma forgotten', 'reflow.py',
        'match_dims(schedule.sigma(times[0]), eps) * eps, times, solver, cond)', 'eps, times, solver, cond)',
        'test_reflow.py::test_pairs_are_the_ends_of_the_walk_and_the_noise_that_came[euler-karras]',
    ),
    'a coupling that ignores the labels': (
        'torchcfm#117, #120, #132', 'flows.py',
        'for kind in [None] if labels is None else labels.unique():', 'for kind in [None]:',
        'test_flows.py::test_within_a_class_each_class_keeps_its_own_noises',
    ),
    'one noise for several data points': (
        'torchcfm: a plan drawn with replacement drops a third of each batch', 'flows.py',
        'linear_sum_assignment(cost[rows][:, rows].numpy())[1]', 'cost[rows][:, rows].argmin(1).numpy()',
        'test_flows.py::test_the_pairs_of_a_batch_are_the_best_of_all[6-(1,)]',
    ),
    'a plan read the wrong way round': (
        'rows of a permutation for its columns', 'flows.py',
        'rows[torch.from_numpy(partners)]', 'rows[torch.from_numpy(partners).argsort()]',
        'test_flows.py::test_the_pairs_of_a_batch_are_the_best_of_all[6-(3,)]',
    ),
    'a draw without the speed of its clock': (
        'weights of one schedule copied to another', 'flows.py',
        'plain_weight(prediction)(schedule, t) / rate', 'plain_weight(prediction)(schedule, t)',
        'test_flows.py::test_plain_flow_matching_is_plain_v_on_the_cosine',
    ),
    'a logit-normal density without its derivative': (
        'density of the logit taken for that of the time', 'flows.py',
        '* std * u * (1 - u) * span)', '* std * span)',
        'test_flows.py::test_the_density_of_logit_normal_times_is_that_of_the_draw[rectified-flow-0.0-1.0]',
    ),
    'a velocity that the shifted clock hurries': (
        'shift in the schedule and in the target', 'recipes.py',
        'return 1 / schedule.clock(t)[1] ** 2', 'return schedule.clock(t)[1] ** 0',
        'test_recipes.py::test_the_method_flow_keeps_a_shift',
    ),

    # distillation
    'a target that keeps the signal': (
        'progressive distillation by hand: the ratio of alphas for that of sigmas', 'distillation.py',
        'ratio = schedule.sigma(grid[-1]) / schedule.sigma(grid[0])', 'ratio = schedule.alpha(grid[-1]) / schedule.alpha(grid[0])',
        'test_distillation.py::test_one_step_lands_where_the_teacher_does',
    ),
    'every time of the fine grid': (
        'a student trained on times between its own', 'distillation.py',
        't, m, s = (as_time(times)[2 * k + j] for j in range(3))', 't, m, s = (as_time(times)[k + j] for j in range(3))',
        'test_distillation.py::test_a_perfect_student_has_no_loss_and_another_has',
    ),
    'outputs pulled away': (
        'DMD with real and fake exchanged', 'distillation.py',
        'away = fake(x_t, t, cond) - real(x_t, t, cond)', 'away = real(x_t, t, cond) - fake(x_t, t, cond)',
        'test_distillation.py::test_outputs_are_pulled_by_the_difference_of_two_denoisers',
    ),
    'the teacher without the condition': (
        'a guided teacher that guides towards nothing', 'distillation.py',
        'there = solver(schedule, teacher, there, now, then, cond)', 'there = solver(schedule, teacher, there, now, then)',
        'test_distillation.py::test_the_target_has_no_gradient_and_gets_the_condition',
    ),
    'outputs judged without noise': (
        'DMD at the clean output', 'distillation.py',
        'x_t = schedule.perturb(x, eps, t)', 'x_t = schedule.perturb(x, 0 * eps, t)',
        'test_distillation.py::test_outputs_are_pulled_by_the_difference_of_two_denoisers',
    ),

    # consistency
    'scalings that do not begin at t_min': (
        'diffusers#6833, a training script: sigma for sigma - sigma_min', 'consistency.py',
        'return sigma_data**2 / ((t - t_min) ** 2 + sigma_data**2), sigma_data * (t - t_min)',
        'return sigma_data**2 / (t**2 + sigma_data**2), sigma_data * t',
        'test_consistency.py::test_the_end_of_the_path_is_given_back',
    ),
    'an output that is too loud': (
        'LCM#82, #104, diffusers#8547: c_out without sigma_data', 'consistency.py',
        'sigma_data * (t - t_min) / torch.sqrt', '(t - t_min) / torch.sqrt',
        'test_consistency.py::test_the_output_has_the_variance_of_the_data',
    ),
    'both sides learn': (
        'toy repositories: no stop-gradient, and the answer is a constant', 'consistency.py',
        'with torch.no_grad():\n        goal', 'with torch.enable_grad():\n        goal',
        'test_consistency.py::test_the_gradient_reaches_the_noisier_side_alone',
    ),
    'the teacher asked at the time of the learner': (
        'an index n for n + 1', 'consistency.py',
        'solver(schedule, known, x, t, s, cond), s, cond)', 'solver(schedule, known, x, t, s, cond), t, cond)',
        'test_consistency.py::test_a_pair_keeps_its_data_and_its_noise',
    ),
    'fresh noise for the second state of a pair': (
        'toy repositories: randn twice', 'consistency.py',
        'goal = denoiser(solver(schedule, known, x, t, s, cond), s, cond)',
        'goal = denoiser(schedule.perturb(x0, eps.roll(1, 0), s), s, cond)',
        'test_consistency.py::test_a_pair_keeps_its_data_and_its_noise',
    ),
    'a teacher that is not asked': (
        'distillation by the example', 'consistency.py',
        'teacher or (lambda *_: x0)', '(lambda *_: x0)',
        'test_consistency.py::test_the_teacher_takes_the_step',
    ),
    'up again by the whole noise of the level': (
        'sigma for sqrt(sigma^2 - sigma_min^2)', 'consistency.py',
        'scale, std = (match_dims(c, x) for c in schedule.transition(schedule.t_min, s))',
        'scale, std = (match_dims(c, x) for c in (schedule.alpha(s), schedule.sigma(s)))',
        'test_consistency.py::test_fresh_noise_leads_to_the_level',
    ),
    'one doubling too few': (
        'floor(log2 ...) without its one', 'consistency.py',
        'parts = 1 + math.ceil', 'parts = math.ceil',
        'test_consistency.py::test_the_number_of_steps_doubles_and_stays',
    ),

    # flow maps
    'the sign of MeanFlow': (
        'reimplementations with time the other way round', 'flow_maps.py',
        'u + match_dims(t - s, x) * change', 'u - match_dims(t - s, x) * change',
        'test_flow_maps.py::test_meanflow_comes_to_its_floor[0.8-0.3-cosine]',
    ),
    'a tangent that stands still': (
        'du/dt by the partial derivative in t', 'flow_maps.py',
        '(x, t), (way, torch.ones_like(t)))', '(x, t), (0 * way, torch.ones_like(t)))',
        'test_flow_maps.py::test_meanflow_comes_to_its_floor[0.8-0.3-cosine]',
    ),
    'a target that learns': (
        'MeanFlow without stop-gradient: second derivatives, and another minimum', 'flow_maps.py',
        'change.detach() - v', 'change - v',
        'test_flow_maps.py::test_meanflow_regresses_on_the_identity',
    ),
    'a divisor that learns': (
        'zhuyu-cs/MeanFlow#38 and others: the weight without stop-gradient', 'flow_maps.py',
        'error / (error.detach() + floor)', 'error / (error + floor)',
        'test_flow_maps.py::test_the_power_divides_each_error_by_itself',
    ),
    'the second time is the first': (
        'lucidrains mean_flow, slow_sample: r = t, and the average velocity is unused', 'flow_maps.py',
        'return go(x, t, s, cond)', 'return go(x, t, t, cond)',
        'test_flow_maps.py::test_steps_do_not_matter_to_an_exact_map[4]',
    ),
    'the second half from where the first began': (
        'shortcut models: x for the state in the middle', 'flow_maps.py',
        'model.velocity(x + match_dims(middle - t, x) * first, middle, s, cond)', 'model.velocity(x, middle, s, cond)',
        'test_flow_maps.py::test_shortcut_and_lagrangian_losses_of_the_exact_map_are_zero[cosine]',
    ),
    'both halves are one step of the whole length': (
        'd for 2 d in the bootstrap', 'flow_maps.py',
        'first = model.velocity(x, t, middle, cond)', 'first = model.velocity(x, t, s, cond)',
        'test_flow_maps.py::test_shortcut_and_lagrangian_losses_of_the_exact_map_are_zero[cosine]',
    ),
    'the velocity of the start at the end of the jump': (
        'Lagrangian loss: v(x_t, t) for v(X, s)', 'flow_maps.py',
        'way = model.velocity(end, s, s, cond)', 'way = model.velocity(x, t, t, cond)',
        'test_flow_maps.py::test_shortcut_and_lagrangian_losses_of_the_exact_map_are_zero[cosine]',
    ),
    'rows that never learn from two halves': (
        'shortcut-models#10: the same rows for both parts', 'flow_maps.py',
        'torch.where(w < equal, alone, t), torch.where(w < equal, alone, s)', 'torch.where(w < 1.0, alone, t), torch.where(w < 1.0, alone, s)',
        'test_flow_maps.py::test_pairs_fall_and_a_share_is_one_time_twice',
    ),
    'a map that is no identity': (
        'a network that answers with x_s', 'flow_maps.py',
        'return x + match_dims(as_time(s) - as_time(t), x) * self.velocity(x, t, s, cond)', 'return x - self.velocity(x, t, s, cond)',
        'test_flow_maps.py::test_where_no_time_passes_the_map_is_the_identity[cosine]',
    ),

    # discrete
    'a weight left out of the masked loss': (
        'LLaDA#4, a reported bound below the entropy', 'discrete.py',
        'weight = -schedule.alpha_dot(t) / (1 - schedule.alpha(t))', 'weight = -schedule.alpha_dot(t)',
        'test_discrete.py::test_the_loss_estimates_the_bound',
    ),
    'the loss of letters that are seen': (
        'masked language models whose labels are not masked', 'discrete.py',
        'return -weight.to(log_p) * (log_p * (x == mask)).sum(1)', 'return -weight.to(log_p) * log_p.sum(1)',
        'test_discrete.py::test_the_loss_sees_hidden_letters_only',
    ),
    'Gumbel numbers in single precision': (
        'Zheng et al. 2025: MDLM and SEDD', 'discrete.py',
        'return -torch.log(-torch.special.log_ndtr(noise(like.double(), t)))', 'return -torch.log(-torch.log(torch.special.ndtr(noise(like.double(), t)).float().clamp(max=1 - 2**-24)))',
        'test_discrete.py::test_gumbel_numbers_reach_as_far_as_single_precision_cannot',
    ),
    'one number for the token and for whether it shows': (
        'shortcut-models#10: one key for two draws', 'discrete.py',
        "torch.special.ndtr(forked(None, noise, 'shown')(x.double(), s))", 'torch.special.ndtr(noise(log_p, s)[..., 0])',
        'test_discrete.py::test_a_step_back_is_bayes_rule',
    ),
    'shown among all, not among the hidden': (
        'a step of MDLM by the share of all letters', 'discrete.py',
        'share = (schedule.alpha(s) - schedule.alpha(t)) / (1 - schedule.alpha(t))', 'share = schedule.alpha(s) - schedule.alpha(t)',
        'test_discrete.py::test_the_end_has_no_blanks_and_a_text_does_not_depend_on_its_batch',
    ),
    'a chance in whole numbers': (
        'integer tensors: a share below one becomes none', 'discrete.py',
        '(u < match_dims(share, u))', '(u < match_dims(share, x))',
        'test_discrete.py::test_a_step_back_is_bayes_rule',
    ),
    'guidance in whole numbers': (
        'the same, of the scale', 'guidance.py',
        'moved = rule(x0, left, scale.to(x0), torch', 'moved = rule(x0, left, scale.to(x), torch',
        'test_discrete.py::test_guidance_extrapolates_what_is_predicted_of_whole_numbers',
    ),
    'confidence of tokens, each by its place alone': (
        'LLaDA: which of the kept tokens is the least sure', 'discrete.py',
        'rank[:, places, tokens].amin(1, keepdim=True)', 'rank[:, places, tokens].amax(1, keepdim=True)',
        'test_discrete.py::test_keeping_the_surest_tokens_by_drawing_them',
    ),

    # text and image in one attention
    'a residual without its attention': (
        'minRF mmdit.py: the MLP is added to x, and what the attention gave is lost', 'nets/mmdit.py',
        'return h + told[5][:, None] * self.mlp(modulate(_norm(h), told[3], told[4]))', 'return x + told[5][:, None] * self.mlp(modulate(_norm(h), told[3], told[4]))',
        'test_mmdit.py::test_what_attention_gives_stays_in_the_stream',
    ),
    'shift first at the end': (
        'diffusers convert_sd3_to_diffusers.py swaps the two halves there; loaders that do not are wrong in silence', 'nets/mmdit.py',
        'scale, shift = self.tell(c).chunk(2, dim=1)', 'shift, scale = self.tell(c).chunk(2, dim=1)',
        'test_mmdit.py::test_where_the_scale_comes_first',
    ),
    'squares packed row by row': (
        "DiT's order of the numbers within a token in FLUX", 'nets/mmdit.py',
        "self.patches(patchify(x, self.patch, 'c p q'))", 'self.patches(patchify(x, self.patch))',
        'test_mmdit.py::test_flux_packs_as_pixel_unshuffle_does',
    ),
    'levels told from 0 to 1': (
        'minRF rf.py: t from 0 to 1 goes into waves that were made for thousands', 'nets/mmdit.py',
        'sinusoids(v, 256, shift=0.0, cos_first=True).to(vec)', 'sinusoids(v / 1000, 256, shift=0.0, cos_first=True).to(vec)',
        'test_mmdit.py::test_levels_are_told_in_thousandths',
    ),
    'a guidance scale told as it is': (
        'diffusers transformer_flux.py multiplies it by 1000 within, as the time', 'nets/mmdit.py',
        'waves(1000 * vec[:, -1])', 'waves(vec[:, -1])',
        'test_mmdit.py::test_the_guidance_scale_is_told_as_a_time_of_thousandths',
    ),
    'positions from the corner of the table': (
        'diffusers embeddings.py crops the middle', 'nets/mmdit.py',
        'top, left = (self.table - rows) // 2, (self.table - columns) // 2', 'top, left = 0, 0',
        'test_mmdit.py::test_positions_are_the_middle_of_the_table',
    ),
    'FLUX told the scale and guided by it too': (
        'flux#159: true guidance is another thing than the scale that a distilled network is told', 'published/joint.py',
        'tells_scale = True', 'tells_scale = False',
        'test_joint.py::test_flux_is_told_the_scale_and_asked_once',
    ),
    'the end of the grid shifted once': (
        'diffusers FlowMatchEulerDiscreteScheduler, scheduling_flow_match_euler_discrete.py: its last level is shifted twice', 'published/scheduler.py',
        'least = (least if plan.grows else warped(least)).item()', 'least = least.item()',
        'test_joint.py::test_the_end_of_the_grid_is_shifted_twice',
    ),
    'the last block of both towers read': (
        'diffusers pipeline_stable_diffusion_3.py reads the states before it', 'published/joint.py',
        'skip = 1 + (0 if asked.away else asked.skip)', 'skip = 0 if asked.away else asked.skip',
        'test_joint.py::test_the_tokens_of_stable_diffusion_3',
    ),
    'a weight that is drawn': (
        'diffusers#8534: the weight of a loss is drawn beside the time, and is not a function of it', 'losses.py',
        'weight(denoiser.schedule, t).to(error) * error', 'weight(denoiser.schedule, t.flip(0)).to(error) * error',
        'test_mmdit.py::test_a_weight_belongs_to_its_time',
    ),
    # transformers
    'a ladder that stops one rung early': (
        'diffusers PR#12791, sd-scripts PR#1187: half - 1 in the exponent; still so in the DiT of diffusers', 'nets/dit.py',
        'partial(sinusoids, dim=256, shift=freq_shift,', 'partial(sinusoids, dim=256, shift=1.0,',
        'test_dit.py::test_the_level_is_told_as_a_number_to_a_thousand',
    ),
    'times that nobody multiplied': (
        'Just-a-DiT PR#9; minRF rf.py: t in [0, 1] told to waves made for 1000', 'losses.py',
        '* (1000 / (schedule.t_max - schedule.t_min))', '* (1 / (schedule.t_max - schedule.t_min))',
        'test_dit.py::test_the_level_is_told_as_a_number_to_a_thousand',
    ),
    'the numbers of a square in another order': (
        'FLUX has channels first, DiT last', 'nets/dit.py',
        'unpatchify(self.head(modulate(self.norm(h), shift, scale)), self.patch, rows)',
        "unpatchify(self.head(modulate(self.norm(h), shift, scale)), self.patch, rows, 'c p q')",
        'test_dit.py::test_the_first_map_reads_channels_first_and_the_last_writes_them_last',
    ),
    'scale before shift': (
        'weights of a block read in another order', 'nets/dit.py',
        'shift1, scale1, gate1, shift2, scale2, gate2 = ', 'scale1, shift1, gate1, scale2, shift2, gate2 = ',
        'test_dit.py::test_a_block_by_hand',
    ),
    'scale before shift at the end': (
        'the last modulation of Stable Diffusion 3 is the other way round in the two layouts', 'nets/dit.py',
        'shift, scale = self.tell(F.silu(e)).chunk(2, dim=1)', 'scale, shift = self.tell(F.silu(e)).chunk(2, dim=1)',
        'test_dit.py::test_the_last_modulation_is_shift_then_scale',
    ),
    'a modulation that starts at nothing': (
        'scale and shift without the one', 'nets/dit.py',
        'torch.addcmul(shift[:, None], x, 1 + scale[:, None])', 'torch.addcmul(shift[:, None], x, scale[:, None])',
        'test_dit.py::test_modulation_is_scale_then_shift',
    ),
    'gates that are open at the start': (
        'initialize_weights of DiT forgotten', 'nets/dit.py',
        'self.tell = zero(nn.Linear(width, 6 * width))', 'self.tell = nn.Linear(width, 6 * width)',
        'test_dit.py::test_an_untrained_net_answers_zero_and_its_blocks_are_nothing',
    ),
    'rows where columns belong': (
        'DiT writes the column first', 'nets/dit.py',
        '[column.sin(), column.cos(), row.sin(), row.cos()]', '[row.sin(), row.cos(), column.sin(), column.cos()]',
        'test_dit.py::test_rows_and_columns_are_told_apart',
    ),
    'pairs that are half a head apart': (
        'language models pair so, FLUX pairs neighbours', 'nets/dit.py',
        'a, b = x.unflatten(-1, (-1, 2)).unbind(-1)', 'a, b = x.chunk(2, dim=-1)',
        'test_dit.py::test_rotary_scores_depend_on_differences_alone',
    ),
    'the value where the gate belongs': (
        'GEGLU of diffusers has the value first, SwiGLU of JiT the gate', 'nets/dit.py',
        'gate, value = self.enter(x).chunk(2, dim=-1)', 'value, gate = self.enter(x).chunk(2, dim=-1)',
        'test_dit.py::test_the_gate_is_the_first_half',
    ),
    'a mean square in half precision': (
        'squares beyond 65504', 'nets/dit.py',
        'wide = x.to(torch.promote_types(x.dtype, torch.float32))', 'wide = x',
        'test_dit.py::test_rms_norm_of_half_precision_does_not_overflow',
    ),
    'another setting for each block': (
        'a file trained anew, with embedders that differ', 'published/dit.py',
        'or not (value.is_meta or torch.equal(first, value))', '',
        'parity/test_dit_parity.py::test_embedders_that_differ_are_refused',
    ),
    # why it works
    'distances in a softmax without the two': (
        'a kernel exp(-d^2 / sigma^2) for a Gaussian', 'exact.py',
        'weight = (closeness / (sigma**2).clamp_min(1e-200)).softmax(-1)', 'weight = (2 * closeness / (sigma**2).clamp_min(1e-200)).softmax(-1)',
        'test_exact.py::test_finite_data_is_a_mixture_of_points',
    ),
    'shares that sum to one over the batch': (
        'a softmax over the questions, not over the data', 'exact.py',
        'weight = (closeness / (sigma**2).clamp_min(1e-200)).softmax(-1)', 'weight = (closeness / (sigma**2).clamp_min(1e-200)).softmax(0)',
        'test_exact.py::test_finite_data_is_a_mixture_of_points',
    ),
    'the bad model guided away from the good one': (
        'autoguidance with the roles exchanged', 'guidance.py',
        'moved = rule(x0, left, scale.to(x0)', 'moved = rule(left, x0, scale.to(x0)',
        'test_guidance.py::test_autoguidance_extrapolates_the_logarithm_of_the_deviation',
    ),
    'a scale that counts from zero': (
        'autoguidance as D1 + w (D1 - D0)', 'guidance.py',
        'return away + match_dims(scale, x0) * (x0 - away)', 'return x0 + match_dims(scale, x0) * (x0 - away)',
        'test_guidance.py::test_autoguidance_extrapolates_the_logarithm_of_the_deviation',
    ),
    'how near is too near, judged on training data': (
        'each training image is at distance zero from itself', 'metrics.py',
        'limit = torch.quantile(nearest(held_out, train)[0], share)', 'limit = torch.quantile(nearest(train, train)[0], share)',
        'test_metrics.py::test_copy_rate_of_real_images_is_the_share_and_of_copies_is_one',
    ),
    'a point that is its own neighbour': (
        'precision and recall with k - 1 neighbours', 'metrics.py',
        '.kthvalue(k + 1, dim=1)', '.kthvalue(k, dim=1)',
        'test_metrics.py::test_radius_is_that_of_the_kth_other_point',
    ),

    # unCLIP
    'four tokens read one after the other': (
        'loaders of unCLIP: (4, d) where the published layer has (d, 4)', 'unclip.py',
        "'b (c n) -> b n c'", "'b (n c) -> b n c'",
        'test_unclip.py::test_the_four_tokens_lie_interleaved',
    ),
    'embeddings held within plus and minus one': (
        'DALLE2-pytorch: the sampler of pixels for a prior', 'unclip.py',
        'return x * self.std + self.mean', 'return x.clamp(-1, 1) * self.std + self.mean',
        'test_unclip.py::test_units_go_there_and_back_and_an_untrained_prior_changes_none',
    ),
    'embeddings of length one': (
        'DALLE2-pytorch#60: the loss is small, and nothing is learned', 'unclip.py',
        'return z * z.shape[-1] ** 0.5', 'return z * 1.0',
        'test_unclip.py::test_a_vector_of_length_one_becomes_one_of_unit_variance',
    ),
    'units of embeddings that start at zero': (
        'diffusers: PriorTransformer before its training', 'unclip.py',
        "self.register_buffer('std', torch.ones(1, self.dim))", "self.register_buffer('std', torch.zeros(1, self.dim))",
        'test_unclip.py::test_units_go_there_and_back_and_an_untrained_prior_changes_none',
    ),
    'a grid that begins below the noise': (
        'DALLE2-pytorch#231: DDIM makes it worse', 'samplers.py',
        "return torch.linspace(schedule.t_max, schedule.t_min, whole('n', n) + 1", "return torch.linspace(0.9 * schedule.t_max, schedule.t_min, whole('n', n) + 1",
        'test_unclip.py::test_a_walk_ends_on_the_point_if_all_data_is_one',
    ),
    'a prior that reads ahead': (
        'diffusers: without a padding mask the causal one is dropped too', 'unclip.py',
        'device=mask.device).tril()', 'device=mask.device)',
        'test_unclip.py::test_the_text_does_not_see_what_stands_behind_it',
    ),
    'stages of a cascade from one noise': (
        'one seed for all stages', 'stages.py',
        "own = int(uniform(seed, 'stage', k, [0]) * 2**32) if k else seed", 'own = seed',
        'test_stages.py::test_the_stages_of_a_cascade_start_from_different_noise',
    ),
    'a change of text that keeps the gap': (
        'the text that shall be, in place of the difference', 'unclip.py',
        'F.normalize(after - before, dim=-1)', 'F.normalize(after, dim=-1)',
        'test_unclip.py::test_a_change_of_text_forgets_what_both_texts_say',
    ),
    # adapters
    'alpha lost in the file': (
        'diffusers#6087, FastVideo#870: an alpha that is not saved, and half the strength when it is loaded', 'published/lora.py',
        'torch.tensor(alpha)', 'torch.tensor(float(len(down)))',
        'test_adapters.py::test_saved_and_loaded_it_says_the_same',
    ),
    'weight decay on the rows that nobody trains': (
        'diffusers#507, diffusers PR#1665: a table that shrinks while one word is learned', 'adapters.py',
        'self.old = nn.Parameter(table.weight.detach(), requires_grad=False)', 'self.old = nn.Parameter(table.weight.detach() * 1.0)',
        'test_adapters.py::test_weight_decay_leaves_all_other_rows_alone',
    ),
    'both matrices random at the start': (
        'a LoRA that begins as noise', 'adapters.py',
        'return LowRank(down.to(w.device), down.new_zeros(len(w), rank).to(w.device), alpha)', 'return LowRank(down.to(w.device), down[:, :1].flatten(1)[:, :1].T.repeat(len(w), 1).to(w.device), alpha)',
        'test_adapters.py::test_it_starts_as_nothing_and_only_the_second_matrix_learns',
    ),
    'the gain on both matrices': (
        'a scale that is applied twice', 'adapters.py',
        'return (self.gain * self.up @ self.down.flatten(1))', 'return (self.gain**2 * self.up @ self.down.flatten(1))',
        'test_adapters.py::test_merged_is_unmerged_and_back',
    ),
    'merged and still beside': (
        'diffusers: fuse_lora twice, and a change that counts twice', 'adapters.py',
        "layer.weight.copy_(layer.weight.to(exact.dtype) + exact)\n            _detach(layer)", "layer.weight.copy_(layer.weight.to(exact.dtype) + exact)",
        'test_adapters.py::test_merged_is_unmerged_and_back',
    ),
    'a new word taken for the end of the text': (
        "CLIP's tower sums up at its largest token, which a new word is", 'adapters.py',
        'reader.tower.end = reader.tokenizer.end', 'pass',
        'test_adapters.py::test_the_end_of_a_text_is_found_though_a_new_token_is_larger',
    ),
    'all parts of a fused layer change its first rows': (
        'a LoRA of keys and values that lands on the queries', 'published/lora.py',
        'up[rows, first : first + len(down)]', 'up[: len(part), first : first + len(down)]',
        'parity/test_lora_parity.py::test_the_first_names_of_diffusers',
    ),
    # control
    'a zero convolution that is not zero': (
        'Zhang et al. 2023, the ablation with random convolutions', 'control.py',
        'nn.ModuleList(zero(nn.Conv2d(c, c, 1)) for c in self.encoder.widths)',
        'nn.ModuleList(nn.Conv2d(c, c, 1) for c in self.encoder.widths)',
        'test_control.py::test_at_the_start_nothing_is_added_to_the_last_bit',
    ),
    'a copy that is none': (
        'diffusers: from_unet without load_weights_from_unet', 'control.py',
        '    control.encoder.copy_from(net)\n', '',
        'test_control.py::test_a_copy_sees_what_the_network_sees',
    ),
    'control added on the way down': (
        'from memory: the frozen way down is disturbed', 'nets/unet.py',
        '    h = seen[-1]\n    for step in self.mid:\n        h = step(h, told, cond)\n    if added:\n        *seen, h = (own + more for own, more in zip([*seen, h], added, strict=True))',
        '    seen = [own + more for own, more in zip(seen, added[:-1])] or seen\n    h = seen[-1]\n    for step in self.mid:\n        h = step(h, told, cond)\n    h = h + added[-1] if added else h',
        'test_control.py::test_the_frozen_way_down_sees_what_it_always_saw',
    ),
    'one softmax for text and picture': (
        'Ye et al. 2023: the simple adapter that IP-Adapter is compared with', 'control.py',
        'return self.cross.out(said + self.scale * shown)',
        'return self.cross.out(attend(q, *torch.cat([self.cross.kv(text), self.kv(picture)], 1).chunk(2, dim=-1), self.cross.heads, mask))',
        'test_control.py::test_two_sources_are_two_softmaxes',
    ),
    'no picture as zeros behind the projection': (
        'IP-Adapter#463, IP-Adapter#51', 'control.py',
        'shown = self.norm(self.project(picture).reshape(len(picture), self.tokens, -1))',
        'shown = self.norm(self.project(picture).reshape(len(picture), self.tokens, -1)) * picture.any(1)[:, None, None]',
        'test_control.py::test_no_picture_is_zeros_before_the_projection',
    ),
    'two guidance scales multiplied': (
        'Brooks et al. 2023, equation 3, as two guidances in a row', 'control.py',
        'inner = guide(denoise, blank, text / positive(', 'inner = guide(denoise, blank, text * positive(',
        'test_control.py::test_two_scales_are_guidance_in_guidance',
    ),
    # audio
    'decibels where magnitudes belong': (
        'tacotron2#166, ide8/tacotron2#7', 'audio.py',
        'want = 10 ** (((picture[:, 0].transpose(-1, -2) - 1) * (self.depth / 2) + self.top) / 20)',
        'want = (((picture[:, 0].transpose(-1, -2) - 1) * (self.depth / 2) + self.top) / 20).clamp(min=0)',
        'test_audio.py::test_magnitudes_are_those_that_the_bands_hear',
    ),
    'two ranges called mel': (
        'diffwave#26: pictures in [-4, 4] for a vocoder that was trained on [0, 1]', 'audio.py',
        '- 1) * (self.depth / 2) + self.top) / 20)', '- 1) * self.depth + self.top) / 20)',
        'test_audio.py::test_magnitudes_are_those_that_the_bands_hear',
    ),
    'bands that end at 4,000 Hz whatever the rate': (
        'from memory: filters of one rate, sound of another', 'audio.py',
        'math.log10(1 + rate / 2 / 700)', 'math.log10(1 + 4000 / 700)',
        'test_audio.py::test_bands_end_at_half_the_rate',
    ),
    'windows added and not divided by their weight': (
        'from memory: istft without window_sumsquare', 'audio.py',
        'lay(torch.fft.irfft(X, size) * window) / lay((window**2).expand(1, frames, size))', 'lay(torch.fft.irfft(X, size) * window)',
        'test_audio.py::test_with_its_phases_sound_comes_back',
    ),
    'magnitudes multiplied, not set': (
        'from memory: Griffin-Lim without the division by the old magnitude', 'audio.py',
        'istft(magnitude * ahead / ahead.abs().clamp(min=1e-12), hop)', 'istft(magnitude * ahead, hop)',
        'test_audio.py::test_no_step_makes_the_magnitudes_worse',
    ),
    'loudness of the microphone': (
        'from memory: clips of different level, one picture brighter than the other', 'audio.py',
        'x, spare = x * (loudness / x.square().mean().sqrt()), length - len(x)', 'x, spare = x, length - len(x)',
        'test_audio.py::test_a_clip_has_one_loudness_and_stands_in_the_middle',
    ),
    'the gain of the noisy signal': (
        'from memory: S / (S + N), which estimates alpha x0', 'audio.py',
        'return alpha * self.power / (alpha**2 * self.power + sigma**2)', 'return alpha**2 * self.power / (alpha**2 * self.power + sigma**2)',
        'test_audio.py::test_the_denoiser_of_a_process_is_the_mixtures',
    ),
    'samples that wrap around': (
        'from memory: int16 without a clip', 'store/sound.py',
        'x.detach().cpu().float().clamp(-1, 1) * 32767', 'x.detach().cpu().float() * 32767',
        'test_audio.py::test_a_wave_file_is_read_back',
    ),
    # own
    'classes by the order of their folders': (
        'ultralytics#13936: without one of the folders, the next takes its number', 'own.py',
        'fresh.table.weight[k] = had.table.weight[names.index(name)]',
        'fresh.table.weight[k] = had.table.weight[k]',
        'test_own.py::test_classes_keep_their_rows_by_name',
    ),
    'a cosine that ends too late': (
        'diffusers#3954, diffusers#4387: the rate counts other steps than the run', 'own.py',
        'return made * total / seconds', 'return 4 * made * total / seconds',
        'test_own.py::test_the_rate_falls_to_nothing_when_the_minutes_are_over',
    ),
    'captions by the order of the table': (
        'GoodNews#7: two files, two orders', 'store/metadata.py',
        'return tuple(said[file] for file in files)', 'return tuple(said.values())',
        'test_own.py::test_captions_are_found_where_they_are_kept',
    ),
    'one throw for a whole batch': (
        'torchvision: RandomHorizontalFlip turns a batch as a whole', 'own.py',
        'torch.rand(n, generator=g, device=g.device), n, generator)', 'torch.rand(1, generator=g, device=g.device).expand(n), n, generator)',
        'test_own.py::test_a_flip_is_a_mirror_image_of_half_of_them',
    ),
    # family
    'the sign of a log-determinant': (
        'normalizing-flows PR#28, flowjax#208, pytorch-flows#16', 'family.py',
        'return x * log_scale.exp() + shift, log_scale.flatten(1).sum(1)', 'return x * log_scale.exp() + shift, -log_scale.flatten(1).sum(1)',
        'test_family.py::test_the_determinant_of_a_flow_is_that_of_its_jacobian',
    ),
    'a coupling undone in the wrong order': (
        'chrischute/real-nvp#15: the shift is taken off last', 'family.py',
        'return (z - shift) * torch.exp(-log_scale)', 'return z * torch.exp(-log_scale) - shift',
        'test_family.py::test_a_flow_is_undone',
    ),
    'the log-determinant of the last layer alone': (
        'tensorflow/models#7465: overwritten, not added', 'family.py',
        'total = total + log_det', 'total = log_det',
        'test_family.py::test_the_determinant_of_a_flow_is_that_of_its_jacobian',
    ),
    'a first layer that sees its own pixel': (
        'rampage644/wavenet PR#6: no mask of type A', 'family.py',
        'CausalConv(1, width, 7, own=False)', 'CausalConv(1, width, 7)',
        'test_family.py::test_a_pixel_is_predicted_from_those_before_it_alone',
    ),
    'a mask without the row of the pixel': (
        'j-min/PixelCNN#3: the whole middle row is zero', 'family.py',
        'seen[-1, size // 2 + own :] = 0', 'seen[-1] = 0',
        'test_family.py::test_a_causal_convolution_is_a_masked_one',
    ),
    'a generator that is cut off': (
        'image2reverb#37: detach in the wrong step', 'family.py',
        'return F.softplus(-judge(fake))', 'return F.softplus(-judge(fake.detach()))',
        'test_family.py::test_a_step_of_the_generator_moves_samples_towards_what_is_called_real',
    ),
    "a discriminator's step that reaches the generator": (
        'Self-Attention-GAN#48: no detach', 'family.py',
        'F.softplus(judge(fake.detach()))', 'F.softplus(judge(fake))',
        'test_family.py::test_a_step_of_the_discriminator_sends_nothing_to_the_generator',
    ),
    'levels read one place late': (
        'teacher forcing that is off by one', 'family.py',
        'F.cross_entropy(logits.float(), levels.long(), ', 'F.cross_entropy(logits.float(), levels.long().roll(1, -1), ',
        'test_family.py::test_chances_of_all_pictures_add_up_to_one',
    ),
    'weights averaged behind the logarithm': (
        'a bound of many draws that is no tighter than one', 'family.py',
        'return log_weights.logsumexp(0) - math.log(len(log_weights))', 'return log_weights.mean(0)',
        'test_family.py::test_the_mean_of_weights_is_taken_before_the_logarithm',
    ),
    'a price for the mean of the latents': (
        'keras-molecules#59, grammarVAE#2, sigma-vae-tensorflow#2: mean for sum in the KL', 'nets/vae.py',
        '.reshape(len(mean), -1).sum(1) / 2', '.reshape(len(mean), -1).mean(1) / 2',
        'test_vae.py::test_kl_is_that_of_gaussians',
    ),
}  # fmt: skip


GITHUB = 'https://github.com/'
LINKS = {  # where a mistake can be read up: threads and files that were read for chapter 93
    'noise of uniform law': 'acids-ircam/diffusion_models/issues/8',
    'noise by place in the batch': 'AUTOMATIC1111/stable-diffusion-webui/issues/376',
    'a picture that changes with its batch': 'huggingface/diffusers/issues/6233',
    'errors that cancel': 'yuanchenyang/smalldiffusion/blob/main/tests/test_diffusion.py',
    'one minus alpha_bar for its root': 'Ryota-Kawamura/How-Diffusion-Models-Work/issues/1',
    'alpha_bar for its root in the table': 'ermongroup/ddim/issues/44',
    'a table that begins with the wrong beta': 'huggingface/diffusers/issues/5921',
    'nats read as bits': 'openai/vdvae/issues/5',
    'bits that forget the dimensions': 'pesser/pytorch_diffusion/issues/5',
    'operator precedence in the weight of the bound': 'Doubiiu/DynamiCrafter/pull/168',
    'sines where cosines belong': 'flashinfer-ai/flashinfer/pull/3819',
    'decay of the average exchanged': 'marin-community/levanter/pull/883',
    'noise at the last step': 'labmlai/annotated_deep_learning_paper_implementations/blob/master/labml_nn/diffusion/ddpm/__init__.py',
    'eta without the ratio of the steps': 'jsboige/CoursIA/pull/16158',
    'DDIM that ends at alpha_bar_1': 'lllyasviel/ControlNet/pull/587',
    'the last level twice': 'lucidrains/denoising-diffusion-pytorch/issues/81',
    'previous level by subtraction': 'huggingface/diffusers/issues/9261',
    'Euler uphill': 'lucidrains/rectified-flow-pytorch/issues/14',
    'guidance with the printed sign': 'labmlai/annotated_deep_learning_paper_implementations/issues/177',
    'the condition dropped for a whole batch': 'runwayml/stable-diffusion/issues/8',
    'mask upside down': 'rasbt/LLMs-from-scratch/issues/1061',
    'uniform noise in the latents': 'graviraja/pytorch-sample-codes/issues/3',
    'variance for the standard deviation of a latent': 'rachtsingh/ibp_vae/issues/3',
    'scale of the latents on the wrong side': 'Project-MONAI/GenerativeModels/pull/214',
    'a pull that does not balance the noise': 'tue-bmd/zea/pull/551',
    'inversion asks at the wrong time': 'Stability-AI/stablediffusion/pull/226',
    'inversion with the roles of the times exchanged': 'huggingface/diffusers/pull/5145',
    'min-SNR for v with the weight for x0': 'huggingface/diffusers/issues/5654',
    'a coupling that ignores the labels': 'atong01/conditional-flow-matching/issues/117',
    'the exponent of the last average for all': 'lucidrains/ema-pytorch/pull/22',
    'the same rows for every part': 'huggingface/accelerate/issues/236',
    'one half for any data': 'Kinyugo/consistency_models/issues/16',
    'seven bits on every scale': 'yang-song/score_sde_pytorch/issues/51',
    'a ladder that stops one rung early': 'huggingface/diffusers/pull/12791',
    'times that nobody multiplied': 'ArchiMickey/Just-a-DiT/pull/9',
    'the sign of a log-determinant': 'VincentStimper/normalizing-flows/pull/28',
    'a coupling undone in the wrong order': 'chrischute/real-nvp/issues/15',
    'the log-determinant of the last layer alone': 'tensorflow/models/issues/7465',
    'a first layer that sees its own pixel': 'rampage644/wavenet/pull/6',
    'a mask without the row of the pixel': 'j-min/PixelCNN/issues/3',
    'a generator that is cut off': 'nikhilsinghmus/image2reverb/issues/37',
    "a discriminator's step that reaches the generator": 'heykeetae/Self-Attention-GAN/issues/48',
    'a price for the mean of the latents': 'maxhodak/keras-molecules/issues/59',
}

NAMED = re.compile(  # words in `where it was seen` that name a repository, a library or a paper
    r'#\d|PR \d|CVE-|\.py\b| et al\.|(?:Ermon|and Ho) \d|\b(?:diffusers|k-diffusion|diffrax|labml|Axon|DiT|UniPC|ipndm|fastai|smalldiffusion|torchcfm|lucidrains'
    r'|score_sde|score_sde_pytorch|flow_matching|LLaDA|LCM|MDLM|NCSN|DPM-Solver\+\+|dpm-solver|GITS|RePaint|Sana|torchvision|safetensors|RectifiedFlow|MeanFlow)\b'
)
SAME = 'the same: it is no part of drawing', 'the same: it is no part of training'
LOOKS = {  # (in the samples, in the loss), as one expects them from what the mistake does; chapter 93 measures those that it plays
    'a ladder that stops one rung early': ('with published weights: off at much noise; trained so: hardly changed', 'hardly changed'),
    'times that nobody multiplied': ('somewhat worse: near levels are hard to tell apart', 'higher, and smooth'),
    'the numbers of a square in another order': ('with published weights: confetti; trained so: the same', 'the same: the last map learns its order'),
    'gates that are open at the start': ('the same or worse, the deeper the worse', 'higher for long'),
    'rows where columns belong': ('with published weights: garbled; trained so: the same', 'the same: the two are alike'),
    'pairs that are half a head apart': ('with published weights: garbled; trained so: the same', 'the same: any pairs will do'),
    'the value where the gate belongs': ('with published weights: garbled; trained so: the same', 'the same: the halves are alike'),
    'a time on the wrong axis': ('fails, or mixes levels within a picture', 'fails unless sizes happen to agree; else higher'),
    'one minus alpha_bar by subtraction': ('hardly changed', 'hardly changed: only the first levels get no noise'),
    'alpha_bar for its root in the table': ('too much noise is assumed; contrast is off', 'lower or higher, and smooth'),
    'alpha_bar in single precision': ('hardly changed', 'hardly changed: only the first levels are off'),
    'a table that begins with the wrong beta': ('one level off all the way, grain at the end', 'hardly changed'),
    'exploding variance without its square': ('the noise does not reach far: washed out', 'lower: the noisiest levels are missing'),
    'bits that forget the dimensions': (SAME[0], 'reported too high by the number of pixels'),
    'posterior weights exchanged': ('noise that never goes', SAME[1]),
    'x0 divided by alpha_bar': ('colours burn out', SAME[1]),
    'v with the wrong sign': ('noise', 'the same, if training and target agree; the sampler does not'),
    'min-SNR for v with the weight for x0': ('detail is learned slowly', 'another scale, smooth'),
    'min-SNR with a maximum': ('composition is learned slowly', 'another scale, ruled by the cleanest levels'),
    'squares averaged in half precision': ('black, if the loss became infinite', 'infinite now and then'),
    'buffers of the average forgotten': ('good in training, bad when loaded', SAME[1]),
    'weight of x0 without alpha': ('too bright or too flat', SAME[1]),
    'weight of x_t with a root': ('grain', SAME[1]),
    'fresh noise of the wrong time': ('hardly changed', SAME[1]),
    'DDIM that ends at alpha_bar_1': ('a trace of noise', SAME[1]),
    'levels cut off, not rounded': ('hardly changed', SAME[1]),
    'the last level twice': ('hardly changed, one step wasted', SAME[1]),
    'Heun that asks about the old level': ('softer than its price', SAME[1]),
    'a Dirac test that cannot fail': SAME,
    'an order that is never wrong': SAME,
    'a last step that extrapolates': ('specks with few steps', SAME[1]),
    'half of the second derivative': ('the same with many steps, an order lost', SAME[1]),
    'a corrector without its last row': ('the same with many steps, an order lost', SAME[1]),
    'a corrector with the weights of the predictor': ('the same with many steps, an order lost', SAME[1]),
    'the weight of the noise turned round': ('noise', SAME[1]),
    'one error for a whole batch': ('change with their batch', SAME[1]),
    'silent truncation': ('the end of the prompt is missing', 'slightly higher'),
    'three of four channels guided': ('hardly changed', SAME[1]),
    'gradient of the classifier at the estimate': ('weaker or stronger guidance', SAME[1]),
    'scale for w': ('one more or less of guidance', SAME[1]),
    'the known region noised to the time before': ('a seam around the hole', SAME[1]),
    'inversion asks at the wrong time': ('the picture does not come back', SAME[1]),
    'inversion with the roles of the times exchanged': ('comes back nearly, edits are weak', SAME[1]),
    'pairs out of step': ('the prompt is not followed', 'stays at the logarithm of the batch size'),
    'unit length over the batch': ('the prompt is hardly followed', 'falls, depends on the batch'),
    'an offset of the steps forgotten': ('hardly changed', SAME[1]),
    'a published net told the time from 1': ('hardly changed', SAME[1]),
    'the same rows for every part': ('repeat in every part', 'the same, learned from fewer noises'),
    'every rank reads the first part': ('less varied', 'falls faster: there is less to learn'),
    'archives from the start again': ('hardly changed', 'a step down after each restart'),
    'every lane reads all archives': ('hardly changed', 'the same, an epoch is longer than said'),
    'an archive unpacked without end': ('none: the disk is full', 'none'),
    'a link in an archive': ('none: a file outside is written', 'none'),
    'a key that stands twice': ('of other weights than those checked', 'none'),
    'shaking by the length of a step': ('too little spread: peaks alone', SAME[1]),
    'two conventions of a step': ('too narrow', SAME[1]),
    'steps in proportion to sigma': ('noise that never goes, or walkers that hardly move', SAME[1]),
    'the last noise left in': ('fine grain', SAME[1]),
    'sub-VP with the root': ('too noisy in the middle of the way', SAME[1]),
    'a noise for the stage and another for the step': ('good by eye, an order lost', SAME[1]),
    'a pull that does not balance the noise': ('too much spread', SAME[1]),
    'a score without the half for the flow': ('too narrow', SAME[1]),
    "a corrector with Langevin's plain noise": ('slightly too wide', SAME[1]),
    'one error for the whole batch': (SAME[0], 'the likelihood of a picture depends on its batch'),
    'a new direction at each call': (SAME[0], 'the solver takes many more steps'),
    'seven bits on every scale': (SAME[0], 'reported one bit or more off'),
    'the exponent of the last average for all': ('of one average where several are compared', SAME[1]),
    'a loss of x0 read as the loss of F': (SAME[0], 'looks concentrated at high noise'),
    'one half for any data': ('learned more slowly', 'another scale, smooth'),
    'a shift that is applied twice': ('too little detail', SAME[1]),
    'angles of data of spread one': ('hardly changed', SAME[1]),
    'costs that forget what the walk leaves of them': ('from a grid that spends its steps too early', SAME[1]),
    'a coupling that ignores the labels': ('of the wrong class', 'lower: pairs are nearer than they should be'),
    'one noise for several data points': ('some data is missing', 'the same'),
    'scalings that do not begin at t_min': ('blurred', 'does not reach zero at the clean end'),
    'an output that is too loud': ('too much contrast', 'higher, smooth'),
    'a target that learns': ('blurred', 'lower'),
    'a divisor that learns': ('poor', 'almost constant: the error divides itself'),
    'the second time is the first': ('poor in one step, good in many', SAME[1]),
    'rows that never learn from two halves': ('good in many steps, poor in one', 'lower: the harder part is empty'),
    'a weight left out of the masked loss': ('hardly changed', 'below the entropy of the text: too good to be true'),
    'Gumbel numbers in single precision': ('too few different words', SAME[1]),
    'one number for the token and for whether it shows': ('rare words at the wrong time', SAME[1]),
    'shown among all, not among the hidden': ('too few words at each step, then all at once', SAME[1]),
    'confidence of tokens, each by its place alone': ('repetitions', SAME[1]),
    'noise before the units': ('grain that the upscaler keeps: there is more than it is told', SAME[1]),
    'one level for the whole batch': (SAME[0], 'the same on average, and less even'),
    'up by the difference of deviations': ('worse with every round of resampling', SAME[1]),
    'a cap of 1 on the threshold': ('saturated, as without it', SAME[1]),
    'scores of T5 divided': ('not what the text says', SAME[1]),
    'distances in the first block alone': ('not what the text says', SAME[1]),
    'strange letters one by one': ('not what a text with strange letters says', SAME[1]),
    'width before height': ('cut as if for another size', SAME[1]),
    'the state before the last block, normed': ('not quite what the text says', SAME[1]),
    'an empty negative prompt read as a text': ('other than what the pipeline draws', SAME[1]),
    'alpha lost in the file': ('the new thing too faint, or too strong', SAME[1]),
    'weight decay on the rows that nobody trains': ('other words slowly lose their meaning', SAME[1]),
    'merged and still beside': ('twice too strong', SAME[1]),
    'uniform noise in the latents': ('shifted and flat', 'lower: uniform noise varies less'),
    'variance for the standard deviation of a latent': ('hardly changed: the encoder adapts', 'hardly changed'),
    'a residual without its attention': ('ignores its captions, and no part knows of another', 'higher'),
    'shift first at the end': ('noise or flat colour, of published weights', SAME[1]),
    'squares packed row by row': ('a fine grid, of published weights', SAME[1]),
    'levels told from 0 to 1': ('blurred: near levels look alike', 'higher, smooth'),
    'a guidance scale told as it is': ('flat, as without guidance', SAME[1]),
    'positions from the corner of the table': ('shifted and torn, of published weights', SAME[1]),
    'FLUX told the scale and guided by it too': ('too much contrast, twice as slow', SAME[1]),
    'the end of the grid shifted once': ('hardly changed', SAME[1]),
    'the last block of both towers read': ('good, of something else', SAME[1]),
    'a weight that is drawn': ('hardly changed', 'noisier: the weight has no effect in the mean'),
    'a picture that changes with its batch': ('good, and not to be had again', SAME[1]),
    'embeddings of length one': ('any picture, whatever the caption', 'lower: nearly all inputs are nearly noise'),
    'units of embeddings that start at zero': ('one picture for all captions, until it is trained', SAME[1]),
    'a grid that begins below the noise': ('too much contrast in few steps', SAME[1]),
    'a prior that reads ahead': ('of other captions, with weights that were trained from left to right', 'hardly changed'),
    'a zero convolution that is not zero': ('worse than without control at first', 'higher at first'),
    'a copy that is none': ('obeys later', 'hardly changed'),
    'one softmax for text and picture': ('the text is heard less', 'hardly changed'),
    'no picture as zeros behind the projection': ('guidance leaves from a prompt that was never seen', SAME[1]),
    'two guidance scales multiplied': ('far too much of the text', SAME[1]),
    'decibels where magnitudes belong': ('noise in place of words', SAME[1]),
    'two ranges called mel': ('noise, or words of no voice', SAME[1]),
    'classes by the order of their folders': ('of the wrong class after fine-tuning', 'higher at first'),
    'a cosine that ends too late': ('a little noisier', 'higher at the end'),
    'captions by the order of the table': ('the prompt is not followed', 'slightly higher'),
    'one throw for a whole batch': ('the same in the long run', 'noisier'),
    'the sign of a log-determinant': ('the flow shrinks to a point', 'falls without end'),
    'a coupling undone in the wrong order': ('moved and torn', SAME[1]),
    'the log-determinant of the last layer alone': ('all layers but one shrink', 'falls without end'),
    'a first layer that sees its own pixel': ('black', 'falls to nearly nothing'),
    'a mask without the row of the pixel': ('stripes: no pixel knows its neighbour', 'higher'),
    'a generator that is cut off': ('noise, as in the beginning', "the discriminator's falls to nothing"),
    "a discriminator's step that reaches the generator": ('the same, if gradients are zeroed in between; else worse', 'unsteady'),
    'a price for the mean of the latents': ('from the prior: garbled', 'lower: latents cost too little'),
}


def public() -> list[str]:
    "Names of the mistakes that a repository, a library or a paper is named for."
    return [name for name, row in MISTAKES.items() if name in LINKS or NAMED.search(row[0])]
