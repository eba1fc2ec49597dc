/* The score of a prior whose latents are independent given the past, marginalised over the assignment, and gradients. */

#define HALF_LOG_2PI 0.918938533f

/* 0.5 (variance + (z_mean - mean)^2) exp(-2 log_std) + log_std + log(2 pi) / 2; precision takes exp(-2 log_std). */
INLINE vec NAME(gaussian)(vec mean, vec log_std, vec z_mean, vec variance, vec *precision) {
    const vec d = z_mean - mean;
    *precision = NAME(exp)(-2.0f * log_std);
    return 0.5f * (variance + d * d) * *precision + log_std + HALF_LOG_2PI;
}

/* Every step-th number, from the first on: valid of them, at most LANES, and 0 beyond. */
INLINE vec NAME(apart)(const float *p, size step, size valid) {
    float part[LANES] = {0};
    for (size i = 0; i < valid && i < LANES; i++) part[i] = p[i * step];
    return NAME(load)(part);
}

/* How much the score without intervention counts: 1 - sum_k p[m,k] I_k - lambda p[m,0]. */
INLINE vec NAME(free_part)(const prior *at, size b, size j, size valid) {
    const size columns = at->variables + 1;
    const float *p = at->probabilities + j * columns;
    vec part = 1.0f - at->regulariser * NAME(apart)(p + at->variables, columns, valid);
    for (size k = 0; k < at->variables; k++) {
        const float target = at->targets[b * at->variables + k];
        if (target != 0.0f) part -= target * NAME(apart)(p + k, columns, valid);
    }
    return part;
}

/* Mean and variance over the later frame's samples. */
INLINE void NAME(moments)(const prior *at, size b, size j, size valid, vec *mean, vec *variance) {
    const float *z = at->z + b * at->samples * at->latents + j;
    vec total = {}, squares = {};
    for (size s = 0; s < at->samples; s++) total += NAME(some)(z + s * at->latents, valid);
    *mean = total / (float)at->samples;
    for (size s = 0; s < at->samples; s++) {
        const vec d = NAME(some)(z + s * at->latents, valid) - *mean;
        squares += d * d;
    }
    *variance = squares / (float)at->samples;
}

/* See kernels.c. */
TARGET static void NAME(prior_forward)(const prior *at, float *scores) {
    const size latents = at->latents, samples = at->samples, variables = at->variables;
    float ones[LANES], open = 0.0f;
    for (int i = 0; i < LANES; i++) ones[i] = 1.0f;
    for (size j = 0; j < latents; j++) open += 1.0f - at->probabilities[(j + 1) * (variables + 1) - 1];
    for (size b = 0; b < at->rows; b++) {
        vec total = {};
        for (size j = 0; j < latents; j += LANES) {
            const size valid = latents - j;
            const float *learned = at->intervened + 2 * j * variables;
            vec z_mean, variance, precision, observed = {};
            NAME(moments)(at, b, j, valid, &z_mean, &variance);
            for (size s = 0; s < samples; s++) {
                const float *out = at->out + 2 * ((b * samples + s) * latents + j);
                observed += NAME(gaussian)(NAME(apart)(out, 2, valid), NAME(apart)(out + 1, 2, valid), z_mean, variance,
                                           &precision);
            }
            observed /= (float)samples;
            NAME(put)(at->observed + b * latents + j, observed, valid);
            vec score = NAME(free_part)(at, b, j, valid) * observed;
            for (size k = 0; k < variables; k++) {
                const float target = at->targets[b * variables + k];
                if (target == 0.0f) continue;
                const vec mean = NAME(apart)(learned + 2 * k, 2 * variables, valid);
                const vec log_std = NAME(apart)(learned + 2 * k + 1, 2 * variables, valid);
                const vec p = NAME(apart)(at->probabilities + j * (variables + 1) + k, variables + 1, valid);
                score += target * p * NAME(gaussian)(mean, log_std, z_mean, variance, &precision);
            }
            total += score * NAME(some)(ones, valid);
        }
        scores[b] = NAME(sum)(total) + at->pull * open / latents;
    }
}

TARGET static void NAME(prior_backward)(const prior *at, const float *of_scores, int teach, float *of_out, float *of_z,
                                        float *of_probabilities, float *of_intervened) {
    const size latents = at->latents, samples = at->samples, variables = at->variables;
    memset(of_probabilities, 0, sizeof(float) * latents * (variables + 1));
    memset(of_intervened, 0, sizeof(float) * latents * variables * 2);
    for (size b = 0; b < at->rows; b++)
        for (size j = 0; j < latents; j += LANES) {
            const size valid = latents - j, lanes = valid < LANES ? valid : LANES;
            const float g = of_scores[b], *learned = at->intervened + 2 * j * variables;
            float *of_p = of_probabilities + j * (variables + 1), *of_learned = of_intervened + 2 * j * variables;
            vec z_mean, variance, precision, of_mean = {}, of_variance = {};
            NAME(moments)(at, b, j, valid, &z_mean, &variance);
            const vec observed = NAME(some)(at->observed + b * latents + j, valid);
            const vec each = g / samples * NAME(free_part)(at, b, j, valid);
            for (size s = 0; s < samples; s++) {
                const size place = 2 * ((b * samples + s) * latents + j);
                const vec mean = NAME(apart)(at->out + place, 2, valid);
                const vec log_std = NAME(apart)(at->out + place + 1, 2, valid), d = z_mean - mean;
                NAME(gaussian)(mean, log_std, z_mean, variance, &precision);
                const vec pull = each * d * precision, scale = each * (1.0f - (variance + d * d) * precision);
                of_mean += pull;
                of_variance += 0.5f * each * precision;
                for (size i = 0; i < lanes; i++) {
                    of_out[place + 2 * i] = -pull[i];
                    of_out[place + 2 * i + 1] = scale[i];
                }
            }
            for (size i = 0; i < lanes; i++)
                of_p[i * (variables + 1) + variables] -= g * (at->regulariser * observed[i] + at->pull / latents);
            for (size k = 0; k < variables; k++) {
                const float target = at->targets[b * variables + k];
                if (target == 0.0f) continue;
                const vec mean = NAME(apart)(learned + 2 * k, 2 * variables, valid);
                const vec log_std = NAME(apart)(learned + 2 * k + 1, 2 * variables, valid), d = z_mean - mean;
                const vec p = NAME(apart)(at->probabilities + j * (variables + 1) + k, variables + 1, valid);
                const vec score = NAME(gaussian)(mean, log_std, z_mean, variance, &precision);
                const vec to_p = g * target * (score - observed), pull = g * target * d * precision;
                const vec scale = g * target * (1.0f - (variance + d * d) * precision);
                of_mean += p * pull;
                of_variance += 0.5f * g * target * p * precision;
                for (size i = 0; i < lanes; i++) {
                    of_p[i * (variables + 1) + k] += to_p[i];
                    if (teach) of_learned[2 * (i * variables + k)] -= pull[i];
                    if (teach) of_learned[2 * (i * variables + k) + 1] += scale[i];
                }
            }
            for (size s = 0; s < samples; s++) {
                const size place = (b * samples + s) * latents + j;
                const vec d = NAME(some)(at->z + place, valid) - z_mean;
                NAME(put)(of_z + place, (of_mean + 2.0f * of_variance * d) / (float)samples, valid);
            }
        }
}
