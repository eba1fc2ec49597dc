/* Straight-through Gumbel-softmax samples of an assignment. */

/* log(x) of normal x > 0: that of its power of two, and of the rest m, within sqrt(2) of 1, 2 artanh((m - 1) / (m + 1)). */
INLINE vec NAME(log)(vec x) {
    const ivec bits = (ivec)x, power = (bits - 0x3f3504f3) >> 23; /* sqrt(1/2) has these bits */
    const vec m = (vec)(bits - (power << 23)), s = (m - 1.0f) / (m + 1.0f), t = s * s;
    const vec rest = 2.0f * s * (1.0f + t * (0.333333333f + t * (0.2f + t * (0.142857143f + t * 0.111111111f))));
    return __builtin_convertvector(power, vec) * 0.693147181f + rest;
}

/* See kernels.c. */
TARGET static void NAME(gumbel)(size batch, size latents, size classes, const float *logits, const float *uniform,
                                float temperature, float *soft, float *hard) {
    for (size row = 0; row < batch * latents; row++) {
        const float *logit = logits + row % latents * classes, *u = uniform + row * classes;
        float *p = soft + row * classes, best = -INFINITY;
        size which = 0;
        for (size c = 0; c < classes; c += LANES) {
            const vec noise = NAME(some)(u + c, classes - c); /* beyond the last it is 0, and not looked at */
            const vec less_gumbel = NAME(log)(-NAME(log)(noise));
            NAME(put)(p + c, (NAME(some)(logit + c, classes - c) - less_gumbel) / temperature, classes - c);
        }
        for (size c = 0; c < classes; c++) { /* without branches, which nobody can guess */
            which = p[c] > best ? c : which;
            best = p[c] > best ? p[c] : best;
        }
        float total = 0.0f;
        for (size c = 0; c < classes; c += LANES)
            NAME(put)(p + c, NAME(exp)(NAME(some)(p + c, classes - c) - best), classes - c);
        for (size c = 0; c < classes; c++) total += p[c];
        const float scale = 1.0f / total, one = total / total; /* 1, or no number */
        for (size c = 0; c < classes; c++) p[c] *= scale;
        memset(hard + row * classes, 0, sizeof(float) * classes);
        hard[row * classes + which] = one;
    }
}

TARGET static void NAME(gumbel_backward)(size batch, size latents, size classes, const float *soft, const float *g,
                                         float temperature, float *of_logits) {
    memset(of_logits, 0, sizeof(float) * latents * classes);
    for (size row = 0; row < batch * latents; row++, soft += classes, g += classes) {
        float mean = 0.0f;
        for (size c = 0; c < classes; c++) mean += soft[c] * g[c];
        for (size c = 0; c < classes; c++)
            of_logits[row % latents * classes + c] += soft[c] * (g[c] - mean) / temperature;
    }
}
