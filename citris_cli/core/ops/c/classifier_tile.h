/* What a classifier of targets loses, and the gradients: linear maps with layer normalisation and SiLU between them, and
   cross-entropies. */

/* log(1 + e) of e in [0, 1], to 3e-8 of its value (Remez). */
INLINE vec NAME(log_of_one_and)(vec e) {
    vec p = e * 5.38405667e-3f - 3.01109433e-2f;
    p = p * e + 7.92107037e-2f;
    p = p * e - 0.137466190f;
    p = p * e + 0.191451149f;
    p = p * e - 0.248529454f;
    p = p * e + 0.333203435f;
    p = p * e - 0.499995526f;
    p = p * e + 0.999999975f;
    return p * e;
}

/* The sum of w (log(1 + exp(l)) - l t) over count logits l and targets t, w 1 where it is not given; factor times its
   derivatives go to gradient. */
TARGET static double NAME(cross_entropy)(size count, const float *l, const float *t, const float *w, float factor,
                                         float *gradient) {
    float ones[LANES];
    vec total = {};
    for (int i = 0; i < LANES; i++) ones[i] = 1.0f;
    for (size k = 0; k < count; k += LANES) {
        const size valid = count - k < LANES ? count - k : LANES;
        const vec logit = NAME(some)(l + k, valid), target = NAME(some)(t + k, valid);
        const vec weight = NAME(some)(w ? w + k : ones, valid);
        const vec rest = NAME(log_of_one_and)(NAME(exp)(-MAX(logit, -logit)));
        total += weight * (MAX(logit, (vec){}) - logit * target + rest);
        NAME(put)(gradient + k, factor * weight * (NAME(sigmoid)(logit) - target), valid);
    }
    return NAME(sum)(total);
}

/* Layer normalisation and SiLU of n rows u, in whose place their normal form stays. */
TARGET static void NAME(normalise)(const stage *at, size begin, size n, size ld) {
    const size width = at->linear.outputs;
    for (size i = begin; i < begin + n; i++) {
        float *u = at->normal + i * ld, means[LANES];
        vec total = {}, squares = {};
        for (size k = 0; k < width; k += LANES) total += NAME(some)(u + k, width - k);
        NAME(store)(means, (vec){} + NAME(sum)(total) / width);
        for (size k = 0; k < width; k += LANES) {
            const vec d = NAME(some)(u + k, width - k) - NAME(some)(means, width - k);
            squares += d * d;
            NAME(put)(u + k, d, width - k);
        }
        at->scales[i] = 1.0f / __builtin_sqrtf(NAME(sum)(squares) / width + 1e-5f);
        for (size k = 0; k < width; k += LANES) {
            const vec normal = NAME(some)(u + k, width - k) * at->scales[i];
            const vec z = normal * NAME(some)(at->gain + k, width - k) + NAME(some)(at->offset + k, width - k);
            vec slope;
            NAME(put)(u + k, normal, width - k);
            NAME(put)(at->active + i * ld + k, NAME(silu)(z, &slope), width - k);
            NAME(put)(at->slopes + i * ld + k, slope, width - k);
        }
    }
}

/* From the gradient of SiLU's values to that of u, in place; where of is set, those of gain and offset are added there. */
TARGET static void NAME(normalise_backward)(const stage *at, size begin, size n, size ld, float *g, const of_stage *of) {
    const size width = at->linear.outputs;
    for (size i = begin; i < begin + n; i++, g += ld) {
        const float *normal = at->normal + i * ld, *slopes = at->slopes + i * ld;
        vec total = {}, along = {};
        for (size k = 0; k < width; k += LANES) {
            const vec x = NAME(some)(normal + k, width - k);
            const vec of_z = NAME(some)(g + k, width - k) * NAME(some)(slopes + k, width - k);
            const vec of_normal = of_z * NAME(some)(at->gain + k, width - k);
            if (of) {
                NAME(put)(of->gain + k, NAME(some)(of->gain + k, width - k) + of_z * x, width - k);
                NAME(put)(of->offset + k, NAME(some)(of->offset + k, width - k) + of_z, width - k);
            }
            total += of_normal;
            along += of_normal * x;
            NAME(put)(g + k, of_normal, width - k);
        }
        const float mean = NAME(sum)(total) / width, mean_along = NAME(sum)(along) / width;
        for (size k = 0; k < width; k += LANES) {
            const vec x = NAME(some)(normal + k, width - k);
            NAME(put)(g + k, at->scales[i] * (NAME(some)(g + k, width - k) - mean - x * mean_along), width - k);
        }
    }
}

/* From the gradient of n rows' logits to those of the parameters, where of is set, and of x, where of_x is. */
TARGET static void NAME(classifier_backward)(const stage *stages, const of_stage *of, size count, size begin, size n,
                                             size ld, const float *x, const float *of_logits, float *of_x, float *room) {
    float *gradients[] = {room, room + n * ld}, *columns = room + 2 * n * ld;
    const float *of_out = of_logits;
    size ldo = stages[count - 1].linear.outputs;
    for (size l = count; l-- > 0;) {
        const map *m = &stages[l].linear;
        const float *in = l > 0 ? stages[l - 1].active + begin * ld : x + begin * m->inputs;
        if (of) {
            NAME(sum_rows)(n, m->outputs, of_out, ldo, of[l].bias);
            NAME(gram)(n, of_out, ldo, in, l > 0 ? ld : m->inputs, NULL, m, 0, of[l].weight, columns);
        }
        if (l == 0) {
            if (of_x) NAME(product)(n, of_out, ldo, m, 1, of_x + begin * m->inputs, m->inputs, NULL, 0, NULL);
            return;
        }
        float *g = gradients[l % 2];
        NAME(product)(n, of_out, ldo, m, 1, g, ld, NULL, 0, NULL);
        if (of) {
            memset(of[l - 1].gain, 0, sizeof(float) * m->inputs);
            memset(of[l - 1].offset, 0, sizeof(float) * m->inputs);
        }
        NAME(normalise_backward)(stages + l - 1, begin, n, ld, g, of ? of + l - 1 : NULL);
        of_out = g;
        ldo = ld;
    }
}

/* What the network sees of the windows from begin to end: [z^t, z^{t+1} m, m] for every window, step and mask; and what it
   should say: truth, and what the latents of a mask should tell of the targets, with the weight that has, all [n, K]. */
TARGET static void NAME(look)(const sights *at, size begin, size end, float *truth, float *desired, float *weights) {
    const size m = at->latents, variables = at->variables, masks = variables + 2;
    for (size b = begin; b < end; b++)
        for (size t = 0; t < at->steps; t++)
            for (size k = 0; k < masks; k++) {
                const float *z = at->z + (b * (at->steps + 1) + t) * m;
                const float *mask = at->sample + b * m * (masks - 1) + k;
                float *row = at->x + ((b * at->steps + t) * masks + k) * 3 * m;
                memcpy(row, z, sizeof(float) * m);
                for (size j = 0; j < m; j++) row[2 * m + j] = k + 1 < masks ? mask[j * (masks - 1)] : 1.0f;
                for (size j = 0; j < m; j++) row[m + j] = z[m + j] * row[2 * m + j];
                const float *targets = at->targets + (b * at->steps + t) * variables, *other = at->mean;
                if (at->conditional_mean && k < variables)
                    other = at->conditional_mean + (2 * k + (targets[k] != 0.0f)) * variables;
                for (size i = 0; i < variables; i++) {
                    const int own = k == i || k == variables + 1;
                    *truth++ = targets[i];
                    *desired++ = own ? targets[i] : other[i];
                    *weights++ = own ? variables : 1.0f;
                }
            }
}

/* From gradients of these rows to those of z and of the sampled assignment. */
TARGET static void NAME(look_backward)(const sights *at, size begin, size end) {
    const size m = at->latents, masks = at->variables + 2;
    memset(at->of_z + begin * (at->steps + 1) * m, 0, sizeof(float) * (end - begin) * (at->steps + 1) * m);
    memset(at->of_sample + begin * m * (masks - 1), 0, sizeof(float) * (end - begin) * m * (masks - 1));
    for (size b = begin; b < end; b++)
        for (size t = 0; t < at->steps; t++)
            for (size k = 0; k < masks; k++) {
                const size place = (b * (at->steps + 1) + t) * m, row = ((b * at->steps + t) * masks + k) * 3 * m;
                const float *of_x = at->of_x + row, *mask = at->x + row + 2 * m, *later = at->z + place + m;
                float *of_z = at->of_z + place, *of_sample = at->of_sample + b * m * (masks - 1) + k;
                for (size j = 0; j < m; j++) of_z[j] += of_x[j];
                for (size j = 0; j < m; j++) of_z[m + j] += of_x[m + j] * mask[j];
                for (size j = 0; k + 1 < masks && j < m; j++)
                    of_sample[j * (masks - 1)] += of_x[m + j] * later[j] + of_x[2 * m + j];
            }
}

/* See kernels.c, of the windows from first to end; room: n (5 K + 2 ld + WIDTH) floats for their n rows. */
TARGET static void NAME(classifier)(const stage *stages, const of_stage *of, size count, size ld, const sights *at,
                                    size first, size end, int which, float factor, double losses[2], float *room) {
    const size targets = at->variables, a_window = at->steps * (targets + 2);
    const size begin = first * a_window, n = (end - first) * a_window;
    float *logits = room, *of_logits = logits + n * targets, *truth = of_logits + n * targets;
    float *desired = truth + n * targets, *weights = desired + n * targets, *rest = weights + n * targets;
    const float *in = at->x + begin * 3 * at->latents;
    size ldi = 3 * at->latents;
    NAME(look)(at, first, end, truth, desired, weights);
    for (const stage *one = stages; one < stages + count - 1; one++) {
        NAME(product)(n, in, ldi, &one->linear, 0, one->normal + begin * ld, ld, NULL, 0, NULL);
        NAME(normalise)(one, begin, n, ld);
        in = one->active + begin * ld;
        ldi = ld;
    }
    NAME(product)(n, in, ldi, &stages[count - 1].linear, 0, logits, targets, NULL, 0, NULL);
    if (which & 1) {
        losses[0] = NAME(cross_entropy)(n * targets, logits, truth, NULL, factor, of_logits);
        NAME(classifier_backward)(stages, of, count, begin, n, ld, at->x, of_logits, NULL, rest);
    }
    if (which & 2) {
        losses[1] = NAME(cross_entropy)(n * targets, logits, desired, weights, factor, of_logits);
        NAME(classifier_backward)(stages, NULL, count, begin, n, ld, at->x, of_logits, at->of_x, rest);
        NAME(look_backward)(at, first, end);
    }
}
