/* Clipping and AdamW. */

/* The sum of the squares of count numbers. */
TARGET static double NAME(squares)(const float *x, size count) {
    double sum = 0.0;
    for (size begin = 0; begin < count; begin += 4096) { /* few enough for a sum in float32 */
        const size end = begin + 4096 < count ? begin + 4096 : count;
        vec totals[4] = {0};
        for (size k = begin; k < end; k += 4 * LANES)
            for (int i = 0; i < 4; i++) {
                const vec some = k + i * LANES < end ? NAME(some)(x + k + i * LANES, end - k - i * LANES) : (vec){};
                totals[i] += some * some;
            }
        sum += NAME(sum)(totals[0] + totals[1] + totals[2] + totals[3]);
    }
    return sum;
}

/* A step of count numbers of a parameter, from number begin on; its gradient counts factor times. */
TARGET static void NAME(adamw)(const parameter *at, size begin, size count, float factor) {
    float *p = at->p + begin, *m = at->m + begin, *v = at->v + begin;
    const float *g = at->g + begin;
    const float keep = (float)at->beta2, of_m = (float)(1.0 - at->beta1), of_v = (float)(1.0 - at->beta2);
    const float epsilon = (float)at->epsilon;
    for (size k = 0; k < count; k += LANES) {
        const vec of_p = factor * NAME(some)(g + k, count - k);
        const vec old_m = NAME(some)(m + k, count - k), old_v = NAME(some)(v + k, count - k);
        const vec new_m = old_m + of_m * (of_p - old_m), new_v = keep * old_v + of_v * of_p * of_p;
        const vec change = at->rate * new_m / (SQRT(new_v) * at->root + epsilon);
        NAME(put)(m + k, new_m, count - k);
        NAME(put)(v + k, new_v, count - k);
        NAME(put)(p + k, NAME(some)(p + k, count - k) * at->decay - change, count - k);
    }
}
