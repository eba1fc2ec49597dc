/* Vectors of LANES floats, products in tiles of ROWS rows by two vectors, and networks of these. */

#define WIDTH (2 * LANES)
#define vec NAME(vec)
#define ivec NAME(ivec)
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec NAME(load)(const float *p) { return *(const vec *)p; }
INLINE void NAME(store)(float *p, vec v) { *(vec *)p = v; }

/* Of memory that goes on for valid numbers, which may be more than LANES: the first, 0 in lanes beyond them. */
INLINE vec NAME(some)(const float *p, size valid) { return valid >= LANES ? NAME(load)(p) : (vec)MASKED_LOAD(p, valid); }

INLINE void NAME(put)(float *p, vec v, size valid) {
    if (valid >= LANES)
        NAME(store)(p, v);
    else
        MASKED_STORE(p, v, valid);
}

/* Numbers that lie in pairs, the first or the second of each, as above; and two vectors as pairs. */
INLINE vec NAME(of_pairs)(const float *p, int second, size valid) {
    float part[LANES] = {0};
    if (valid >= LANES)
        for (int i = 0; i < LANES; i++) part[i] = p[2 * i + second];
    else
        for (size i = 0; i < valid; i++) part[i] = p[2 * i + second];
    return NAME(load)(part);
}

INLINE void NAME(put_pairs)(float *p, vec first, vec second, size valid) {
    float parts[2][LANES];
    NAME(store)(parts[0], first);
    NAME(store)(parts[1], second);
    if (valid >= LANES)
        for (int i = 0; i < 2 * LANES; i++) p[i] = parts[i % 2][i / 2];
    else
        for (size i = 0; i < 2 * valid; i++) p[i] = parts[i % 2][i / 2];
}

/* exp(x) of x up to 87, and below -87 about 0: 2^(n + f), |f| <= 1/2, by a polynomial (Remez, to 2e-9 of its value); the
   rounding of x / log 2 adds some |x| 6e-8. */
INLINE vec NAME(exp)(vec x) {
    x = MIN((vec){} + 87.0f, x); /* which of two a NaN survives, counts */
    const vec n = ROUND(x * 1.44269504f), f = x * 1.44269504f - n;
    vec p = f * 1.53458122e-4f + 1.33999312e-3f;
    p = p * f + 9.61848896e-3f;
    p = p * f + 5.55032878e-2f;
    p = p * f + 0.240226469f;
    p = p * f + 0.693147206f;
    p = p * f + 1.0f;
    return SCALE(p, n);
}

/* 1 / (1 + exp(-x)). */
INLINE vec NAME(sigmoid)(vec x) {
    const vec d = 1.0f + NAME(exp)(-x), q = RECIPROCAL(d);
    return q * (2.0f - d * q); /* a step of Newton's: 14 bits become 28, and 12 become 23 */
}

INLINE vec NAME(tanh)(vec x) {
    const vec e = NAME(exp)(2.0f * x);
    return (e - 1.0f) / (e + 1.0f);
}

INLINE float NAME(sum)(vec x) { return SUM(x); }

/* c[i] += sum_k a[i * row + k * step] b[k] over rows i of a tile and the vectors from .. to of b, WIDTH apart. */
INLINE void NAME(accumulate)(vec c[ROWS][2], const int from, const int to, const float *a, const size rows[ROWS],
                             size step, const float *b, size count) {
    for (size k = 0; k < count; k++) {
        const vec b0 = NAME(load)(b), b1 = NAME(load)(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            const vec one = a[rows[i]] - (vec){}; /* all its lanes */
            if (from == 0) c[i][0] += one * b0;
            if (to == 1) c[i][1] += one * b1;
        }
        a += step;
        b += WIDTH;
    }
}

/* SiLU(z) = z s with s = sigmoid(z), and its slope s + SiLU(z) (1 - s). */
INLINE vec NAME(silu)(vec z, vec *slope) {
    const vec s = NAME(sigmoid)(z), value = z * s;
    *slope = s + value * (1.0f - s);
    return value;
}

/* Both of count numbers. */
INLINE void NAME(silus)(float *values, float *slopes, const float *z, size count) {
    size k = 0;
    vec slope;
    for (; k + LANES <= count; k += LANES) {
        NAME(store)(values + k, NAME(silu)(NAME(load)(z + k), &slope));
        NAME(store)(slopes + k, slope);
    }
    if (k < count) {
        float part[LANES] = {0};
        memcpy(part, z + k, sizeof(float) * (count - k));
        NAME(store)(part, NAME(silu)(NAME(load)(part), &slope));
        memcpy(values + k, part, sizeof(float) * (count - k));
        NAME(store)(part, slope);
        memcpy(slopes + k, part, sizeof(float) * (count - k));
    }
}

static inline size NAME(group_rows)(void) { return 7 * ROWS; }
static inline size NAME(panel_width)(void) { return WIDTH; }

/* The panels of a map, each as [stop - first][WIDTH], zero where a row does not see a column, and right of the panel. */
TARGET static void NAME(pack)(const map *m, int transposed) {
    float *packed = m->packed[transposed];
    for (size p = 0; p < m->count[transposed]; p++) {
        const panel at = m->panels[transposed][p];
        const size begin = at.first[0], end = at.stop[1];
        if (transposed) {
            for (size r = begin; r < end; r++) {
                const size from = m->lo[r] > at.column ? m->lo[r] : at.column;
                const size to = m->hi[r] < at.column + at.width ? m->hi[r] : at.column + at.width;
                const float *row = m->w + r * m->ldw - (m->own ? m->lo[r] : 0);
                float *o = packed + (r - begin) * WIDTH;
                __builtin_prefetch(row + 8 * m->ldw + from); /* may be far */
                __builtin_prefetch(row + 8 * m->ldw + from + 16);
                const int whole = to - from == WIDTH;
                NAME(store)(o, whole ? NAME(load)(row + from) : (vec){});
                NAME(store)(o + LANES, whole ? NAME(load)(row + from + LANES) : (vec){});
                if (!whole && to > from) memcpy(o + from - at.column, row + from, sizeof(float) * (to - from));
            }
        } else {
            memset(packed, 0, sizeof(float) * (end - begin) * WIDTH);
            for (size block = begin; block < end; block += 64) /* what is written stays in the first-level cache */
                for (size j = 0; j < at.width; j++) {
                    const size r = at.column + j;
                    const size from = m->lo[r] > block ? m->lo[r] : block;
                    const size to = m->hi[r] < block + 64 ? m->hi[r] : block + 64;
                    const float *row = m->w + r * m->ldw - (m->own ? m->lo[r] : 0);
                    for (size k = from; k < to; k += 16) __builtin_prefetch(row + 8 * m->ldw + k); /* may be far */
                    for (size k = from; k < to; k++) packed[(k - begin) * WIDTH + j] = row[k];
                }
        }
        packed += (end - begin) * WIDTH;
    }
}

/* out = x W^T + bias, or where transposed is set x W, from packed panels.
   active: where set, takes SiLU(out); its rows are as far apart, and it may be out. slopes: out is multiplied by what it held before.
   sums: where set, the sum of out's rows is added to it. */
TARGET static void NAME(product)(size n, const float *x, size ldx, const map *m, int transposed, float *out, size ldo,
                                 float *active, int slopes, float *sums) {
    const float *b = m->packed[transposed];
    for (size p = 0; p < m->count[transposed]; p++) {
        const panel at = m->panels[transposed][p];
        const int whole = at.width == WIDTH;
        /* The first vector is summed from begin to alone, the second from both to end. */
        const size begin = at.first[0], both = at.first[1], alone = at.stop[0], end = at.stop[1];
        float beside[WIDTH] = {0}, part[WIDTH] = {0};
        vec sum0 = {}, sum1 = {};
        if (!transposed) memcpy(beside, m->bias + at.column, sizeof(float) * at.width);
        const vec bias0 = NAME(load)(beside), bias1 = NAME(load)(beside + LANES);
        size rows[ROWS];
        for (int j = 0; j < ROWS; j++) rows[j] = j * ldx;
        for (size i = 0; i < n; i += ROWS) {
            const size valid = n - i < ROWS ? n - i : ROWS;
            float *to = out + i * ldo + at.column;
            vec c[ROWS][2];
            if (valid < ROWS) /* rows beyond the last are computed in vain */
                for (size j = valid; j < ROWS; j++) rows[j] = rows[valid - 1];
#pragma GCC unroll 16
            for (int j = 0; j < ROWS; j++) {
                c[j][0] = bias0;
                c[j][1] = bias1;
            }
            for (size j = 0; j < valid; j++) /* they may be far */
                for (size l = 0; l < WIDTH; l += 16) __builtin_prefetch(to + j * ldo + l, 1);
            const float *a = x + i * ldx;
            NAME(accumulate)(c, 0, 0, a + begin, rows, 1, b, both - begin);
            NAME(accumulate)(c, 0, 1, a + both, rows, 1, b + (both - begin) * WIDTH, alone - both);
            NAME(accumulate)(c, 1, 1, a + alone, rows, 1, b + (alone - begin) * WIDTH, end - alone);
            for (size j = 0; j < valid; j++, to += ldo) {
                float *o = whole ? to : part;
                if (slopes) {
                    if (!whole) memcpy(part, to, sizeof(float) * at.width);
                    c[j][0] *= NAME(load)(o);
                    c[j][1] *= NAME(load)(o + LANES);
                }
                sum0 += c[j][0];
                sum1 += c[j][1];
                NAME(store)(o, c[j][0]);
                NAME(store)(o + LANES, c[j][1]);
                if (!whole) memcpy(to, part, sizeof(float) * at.width);
                if (active) {
                    vec slope;
                    o = whole ? active + (to - out) : part;
                    NAME(store)(o, NAME(silu)(c[j][0], &slope));
                    NAME(store)(o + LANES, NAME(silu)(c[j][1], &slope));
                    if (!whole) memcpy(active + (to - out), part, sizeof(float) * at.width);
                }
            }
        }
        if (sums) {
            NAME(store)(part, sum0);
            NAME(store)(part + LANES, sum1);
            for (size j = 0; j < at.width; j++) sums[at.column + j] += part[j];
        }
        b += (end - begin) * WIDTH;
    }
}

/* w = g^T x where its rows see x, and where zero is set 0 elsewhere.
   slopes: where set, SiLU(x) stands for x, and it takes the slopes; its rows are as far apart, and it may be x.
   room: n * WIDTH floats. */
TARGET static void NAME(gram)(size n, const float *g, size ldg, const float *x, size ldx, float *slopes, const map *m,
                              int zero, float *w, float *room) {
    if (zero && !m->own)
        for (size r = 0; r < m->outputs; r++) {
            memset(w + r * m->ldw, 0, sizeof(float) * m->lo[r]);
            memset(w + r * m->ldw + m->hi[r], 0, sizeof(float) * (m->inputs - m->hi[r]));
        }
    size first = 0, last = 0; /* rows that see some of the columns: neighbours, and later ones for later columns */
    for (size column = 0; column < m->inputs; column += WIDTH) {
        const size width = m->inputs - column < WIDTH ? m->inputs - column : WIDTH, stop = column + width;
        for (size k = 0; k < n; k++) {
            const float *z = x + k * ldx + column;
            float *row = room + k * WIDTH;
            if (width < WIDTH) memset(row, 0, sizeof(float) * WIDTH);
            for (size l = 0; l < WIDTH; l += 16) {
                __builtin_prefetch(z + 8 * ldx + l);
                if (slopes) __builtin_prefetch(slopes + (k + 8) * ldx + column + l, 1);
            }
            if (slopes)
                NAME(silus)(row, slopes + k * ldx + column, z, width);
            else if (width < WIDTH)
                memcpy(row, z, sizeof(float) * width);
            else {
                NAME(store)(row, NAME(load)(z));
                NAME(store)(row + LANES, NAME(load)(z + LANES));
            }
        }
        while (first < m->outputs && m->hi[first] <= column) first++;
        while (last < m->outputs && m->lo[last] < stop) last++;
        for (size tile = first; tile < last; tile += ROWS) {
            const size valid = last - tile < ROWS ? last - tile : ROWS;
            size rows[ROWS];
            vec c[ROWS][2];
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; i++) {
                rows[i] = i < valid ? i : valid - 1;
                c[i][0] = c[i][1] = (vec){};
            }
            if (m->hi[tile + valid - 1] <= column + LANES) /* none of them sees the other columns */
                NAME(accumulate)(c, 0, 0, g + tile, rows, ldg, room, n);
            else
                NAME(accumulate)(c, 0, 1, g + tile, rows, ldg, room, n);
            for (size i = 0; i < valid; i++) {
                const size r = tile + i;
                const size from = m->lo[r] > column ? m->lo[r] : column, to = m->hi[r] < stop ? m->hi[r] : stop;
                float *row = w + r * m->ldw - (m->own ? m->lo[r] : 0), part[WIDTH];
                float *o = to - from == WIDTH ? row + from : part;
                NAME(store)(o, c[i][0]);
                NAME(store)(o + LANES, c[i][1]);
                if (o == part && to > from) memcpy(row + from, part + from - column, sizeof(float) * (to - from));
            }
        }
    }
}

/* sums = the sum of n rows. */
TARGET static void NAME(sum_rows)(size n, size m, const float *x, size ldx, float *sums) {
    memset(sums, 0, sizeof(float) * m);
    for (size k = 0; k < n; k++)
        for (size r = 0; r < m; r++) sums[r] += x[k * ldx + r];
}

/* out = x W^T + bias of a map in pairs. */
TARGET static void NAME(pairs_product)(size n, const float *x, size ldx, const map *m, float *out, size ldo) {
    for (size r = 0; r < m->outputs; r += 2) {
        const float *w = m->w + r * m->ldw;
        const size count = m->hi[r] - m->lo[r];
        for (size i = 0; i < n; i++) {
            const float *a = x + i * ldx + m->lo[r];
            vec first = {}, second = {};
            for (size k = 0; k < count; k += LANES) {
                const vec some = NAME(some)(a + k, count - k);
                first += some * NAME(some)(w + k, count - k);
                second += some * NAME(some)(w + m->ldw + k, count - k);
            }
            out[i * ldo + r] = m->bias[r] + NAME(sum)(first);
            out[i * ldo + r + 1] = m->bias[r + 1] + NAME(sum)(second);
        }
    }
}

/* Gradients of a map in pairs of SiLU(z): of z, of the sum of its rows, and of the weight, for that of the value. */
TARGET static void NAME(pairs_backward)(size n, const float *g, size ldg, const float *z, const map *m, float *of_z,
                                        size ld, float *sums, float *of_w) {
    for (size r = 0; r < m->outputs; r += 2, g += 2)
        for (size k = m->lo[r]; k < m->hi[r]; k += LANES) {
            const size valid = m->hi[r] - k, place = r * m->ldw + k - m->lo[r];
            const vec w0 = NAME(some)(m->w + place, valid), w1 = NAME(some)(m->w + place + m->ldw, valid);
            vec of_w0 = {}, of_w1 = {}, sum = {};
            for (size i = 0; i < n; i++) {
                const float *row = z + i * ld + k, g0 = g[i * ldg], g1 = g[i * ldg + 1];
                vec slope;
                __builtin_prefetch(row + 8 * ld);
                __builtin_prefetch(of_z + (i + 8) * ld + k, 1);
                const vec value = NAME(silu)(NAME(some)(row, valid), &slope);
                of_w0 += g0 * value;
                of_w1 += g1 * value;
                slope *= g0 * w0 + g1 * w1;
                sum += slope;
                NAME(put)(of_z + i * ld + k, slope, valid);
            }
            NAME(put)(of_w + place, of_w0, valid);
            NAME(put)(of_w + place + m->ldw, of_w1, valid);
            NAME(put)(sums + k, sum, valid);
        }
}

/* The value of n rows, of which the first is the network's row begin. room: 2 group_rows() ld floats. */
TARGET static void NAME(network_forward)(const network *net, size begin, size n, const float *x, size ldx, float *out,
                                         size ldo, float *room) {
    const size ld = net->ld;
    float *active[] = {room, room + NAME(group_rows)() * ld};
    for (size i = 0; i < n; i += NAME(group_rows)()) { /* what they become stays in the second-level cache */
        const size rows = n - i < NAME(group_rows)() ? n - i : NAME(group_rows)();
        float *middle = net->middle + (begin + i) * ld;
        NAME(product)(rows, x + i * ldx, ldx, net->maps, 0, active[0], ld, active[0], 0, NULL);
        NAME(product)(rows, active[0], ld, net->maps + 1, 0, middle, ld, active[1], 0, NULL);
        if (in_pairs(net->maps + 2))
            NAME(pairs_product)(rows, active[1], ld, net->maps + 2, out + i * ldo, ldo);
        else
            NAME(product)(rows, active[1], ld, net->maps + 2, 0, out + i * ldo, ldo, NULL, 0, NULL);
    }
}

/* Gradients of x [n, inputs] and of the parameters for that of out, of the same rows; zero: see gram(). The first map is
   packed as for the value. room: n (2 ld + WIDTH) floats. */
TARGET static void NAME(network_backward)(const network *net, size begin, size n, const float *x, size ldx,
                                          const float *of_out, size ldo, float *of_x, const of_network *of, int zero,
                                          float *room) {
    const size ld = net->ld;
    const map *maps = net->maps;
    const float *middle = net->middle + begin * ld;
    float *of_first = room, *of_middle = of_first + n * ld, *columns = of_middle + n * ld;
    NAME(sum_rows)(n, maps[2].outputs, of_out, ldo, of->biases[2]);
    memset(of->biases[1], 0, sizeof(float) * maps[1].outputs);
    memset(of->biases[0], 0, sizeof(float) * maps[0].outputs);
    if (in_pairs(maps + 2))
        NAME(pairs_backward)(n, of_out, ldo, middle, maps + 2, of_middle, ld, of->biases[1], of->weights[2]);
    else {
        NAME(gram)(n, of_out, ldo, middle, ld, of_middle, maps + 2, zero, of->weights[2], columns);
        NAME(product)(n, of_out, ldo, maps + 2, 1, of_middle, ld, NULL, 1, of->biases[1]);
    }
    for (size i = 0; i < n; i += NAME(group_rows)()) {
        const size rows = n - i < NAME(group_rows)() ? n - i : NAME(group_rows)();
        NAME(product)(rows, x + i * ldx, ldx, maps, 0, of_first + i * ld, ld, NULL, 0, NULL);
    }
    NAME(gram)(n, of_middle, ld, of_first, ld, of_first, maps + 1, zero, of->weights[1], columns);
    for (size i = 0; i < n; i += NAME(group_rows)()) {
        const size rows = n - i < NAME(group_rows)() ? n - i : NAME(group_rows)();
        NAME(product)(rows, of_middle + i * ld, ld, maps + 1, 1, of_first + i * ld, ld, NULL, 1, of->biases[0]);
    }
    NAME(gram)(n, of_first, ld, x, ldx, NULL, maps, zero, of->weights[0], columns);
    NAME(product)(n, of_first, ld, maps, 1, of_x, maps->inputs, NULL, 0, NULL);
}

/* Add what a share of the samples gave for every step-th row of a map, from the first on. */
TARGET static void NAME(add)(const map *m, size first, size step, float *w, const float *other, float *bias,
                             const float *other_bias) {
    for (size r = first; r < m->outputs; r += step) {
        const size from = r * m->ldw + (m->own ? 0 : m->lo[r]), count = m->hi[r] - m->lo[r];
        for (size k = from; k < from + count; k++) w[k] += other[k];
        bias[r] += other_bias[r];
    }
}
