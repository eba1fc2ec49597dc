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

/* A component's parts of mixtures that lie stride numbers apart. */
typedef struct {
    vec distance, precision, log_density;
} NAME(component);

/* log w_c N(z; mean_c, std_c^2) of a component, and what its gradients need. */
INLINE NAME(component) NAME(of_component)(const float *mixture, size stride, size c, size valid, vec z) {
    const vec mean = NAME(apart)(mixture + 3 * c, stride, valid);
    const vec log_std = NAME(apart)(mixture + 3 * c + 1, stride, valid);
    const vec log_weight = NAME(apart)(mixture + 3 * c + 2, stride, valid);
    NAME(component) found;
    found.distance = z - mean;
    found.precision = NAME(exp)(-2.0f * log_std);
    found.log_density =
        log_weight - 0.5f * found.distance * found.distance * found.precision - log_std - HALF_LOG_2PI;
    return found;
}

/* Least logarithm whose exponential counts beside 1; exp() is nothing that can be relied on far below. */
#define FAINTEST -87.0f

/* exp(x) where x is FAINTEST or more, or no number; 0 elsewhere. */
INLINE vec NAME(exp_or_0)(vec x) {
    const vec e = NAME(exp)(MAX((vec){} + FAINTEST, x)); /* of two the second, if one is no number */
    return (vec)(~(ivec)(x < FAINTEST) & (ivec)e);
}

/* log sum_c w_c N(z; mean_c, std_c^2), lane by lane. */
INLINE vec NAME(log_mixture)(const float *mixture, size stride, size components, size valid, vec z) {
    vec most = NAME(of_component)(mixture, stride, 0, valid, z).log_density, total = {};
    for (size c = 1; c < components; c++) {
        const vec other = NAME(of_component)(mixture, stride, c, valid, z).log_density;
        most = MAX(most, other);
    }
    for (size c = 0; c < components; c++)
        total += NAME(exp_or_0)(NAME(of_component)(mixture, stride, c, valid, z).log_density - most);
    return most + NAME(log)(total) + (total - total); /* log() makes a number of what is none */
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

/* The score under an intervention on k of latents j and on, averaged over the later frame's samples. */
INLINE vec NAME(mixed)(const prior *at, size b, size j, size k, size valid) {
    const size stride = 3 * at->variables * at->components;
    const float *mixture = at->intervened + j * stride + 3 * k * at->components;
    vec total = {};
    for (size s = 0; s < at->samples; s++) {
        const vec z = NAME(some)(at->z + (b * at->samples + s) * at->latents + j, valid);
        total -= NAME(log_mixture)(mixture, stride, at->components, valid, z);
    }
    return total / (float)at->samples;
}

/* Gradients of that score, each times g target, to z times p, and if teach is set to the mixtures. */
INLINE void NAME(of_mixed)(const prior *at, size b, size j, size k, size valid, vec p, float weight, int teach,
                           float *of_z, float *of_intervened) {
    const size components = at->components, stride = 3 * at->variables * components;
    const size lanes = valid < LANES ? valid : LANES, first = j * stride + 3 * k * components;
    const float *mixture = at->intervened + first, each = weight / at->samples;
    for (size s = 0; s < at->samples; s++) {
        const size place = (b * at->samples + s) * at->latents + j;
        const vec z = NAME(some)(at->z + place, valid);
        const vec total = NAME(log_mixture)(mixture, stride, components, valid, z);
        vec pull = {};
        for (size c = 0; c < components; c++) {
            const NAME(component) one = NAME(of_component)(mixture, stride, c, valid, z);
            const vec away = one.log_density - total, share = each * NAME(exp_or_0)(away);
            const vec scaled = (vec)(~(ivec)(away < FAINTEST) & (ivec)(one.distance * one.precision));
            const vec of_mean = share * scaled, of_log_std = share * (1.0f - one.distance * scaled);
            pull += of_mean;
            for (size i = 0; teach && i < lanes; i++) {
                float *of_one = of_intervened + first + i * stride + 3 * c;
                of_one[0] -= of_mean[i];
                of_one[1] += of_log_std[i];
                of_one[2] -= share[i];
            }
        }
        NAME(put)(of_z + place, NAME(some)(of_z + place, valid) + p * pull, valid);
    }
}

/* See kernels.c. */
TARGET static void NAME(prior_forward)(const prior *at, float *scores) {
    const size latents = at->latents, samples = at->samples, variables = at->variables, components = at->components;
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
                const vec p = NAME(apart)(at->probabilities + j * (variables + 1) + k, variables + 1, valid);
                if (components) {
                    score += target * p * NAME(mixed)(at, b, j, k, valid);
                    continue;
                }
                const vec mean = NAME(apart)(learned + 2 * k, 2 * variables, valid);
                const vec log_std = NAME(apart)(learned + 2 * k + 1, 2 * variables, valid);
                score += target * p * NAME(gaussian)(mean, log_std, z_mean, variance, &precision);
            }
            total += score * NAME(some)(ones, valid);
        }
        scores[b] = NAME(sum)(total) + at->pull * open / latents;
    }
}

TARGET static void NAME(prior_backward)(const prior *at, const float *of_scores, int teach, float *of_out, float *of_z,
                                        float *of_probabilities, float *of_intervened) {
    const size latents = at->latents, samples = at->samples, variables = at->variables, components = at->components;
    memset(of_probabilities, 0, sizeof(float) * latents * (variables + 1));
    memset(of_intervened, 0, sizeof(float) * latents * variables * (components ? 3 * components : 2));
    memset(of_z, 0, sizeof(float) * at->rows * samples * latents);
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
                const vec p = NAME(apart)(at->probabilities + j * (variables + 1) + k, variables + 1, valid);
                if (components) {
                    const vec to_p = g * target * (NAME(mixed)(at, b, j, k, valid) - observed);
                    for (size i = 0; i < lanes; i++) of_p[i * (variables + 1) + k] += to_p[i];
                    NAME(of_mixed)(at, b, j, k, valid, p, g * target, teach, of_z, of_intervened);
                    continue;
                }
                const vec mean = NAME(apart)(learned + 2 * k, 2 * variables, valid);
                const vec log_std = NAME(apart)(learned + 2 * k + 1, 2 * variables, valid), d = z_mean - mean;
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
                const vec of_moments = (of_mean + 2.0f * of_variance * d) / (float)samples;
                NAME(put)(of_z + place, NAME(some)(of_z + place, valid) + of_moments, valid);
            }
        }
}
