/* The body of kernels.c for vectors of LANES floats and tiles of ROWS rows by two vectors. */

#define WIDTH (2 * LANES)
#define vec NAME(vec)
#define ivec NAME(ivec)
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec NAME(load)(const float *p) { return *(const vec *)p; }
INLINE void NAME(store)(float *p, vec v) { *(vec *)p = v; }

/* exp(x) of x within 87 of 0, to some (1 + |x|) 6e-8 of its value: 2^(n + f), |f| <= 1/2, by a polynomial through the
   Chebyshev points. */
INLINE vec NAME(exp)(vec x) {
    const vec y = MAX((vec){} - 87.0f, MIN((vec){} + 87.0f, x)) * 1.44269504f; /* which of two a NaN survives, counts */
    const vec shift = (vec){} + 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer, in the last bits */
    const vec shifted = y + shift, f = y - (shifted - shift);
    vec p = f * 1.54614449e-4f + 1.34004280e-3f;
    p = p * f + 9.61805694e-3f;
    p = p * f + 5.55032715e-2f;
    p = p * f + 0.240226507f;
    p = p * f + 0.693147182f;
    p = p * f + 1.0f;
    return p * (vec)(((ivec)shifted << 23) + 0x3f800000);
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

INLINE float NAME(sum)(vec x) {
    float total = 0.0f;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

/* c[i] += sum_k a[i * row + k * step] b[k] over rows i of a tile and two vectors of b, WIDTH apart. */
INLINE void NAME(accumulate)(vec c[ROWS][2], const float *a, const size rows[ROWS], size step, const float *b,
                             size count) {
    for (size k = 0; k < count; k++) {
        const vec b0 = NAME(load)(b), b1 = NAME(load)(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            const vec one = a[rows[i]] - (vec){}; /* all its lanes */
            c[i][0] += one * b0;
            c[i][1] += one * b1;
        }
        a += step;
        b += WIDTH;
    }
}

/* A vector of x times SiLU' of z: SiLU'(z) = s + z s (1 - s), s = sigmoid(z). */
INLINE vec NAME(through_silu)(vec x, vec z) {
    const vec s = NAME(sigmoid)(z);
    return x * (s + s * z * (1.0f - s));
}

/* to[0 .. count) = SiLU(from[0 .. count)) = z sigmoid(z). */
INLINE void NAME(silu)(float *to, const float *from, size count) {
    size k = 0;
    for (; k + LANES <= count; k += LANES) {
        const vec z = NAME(load)(from + k);
        NAME(store)(to + k, z * NAME(sigmoid)(z));
    }
    if (k < count) {
        float part[LANES] = {0};
        memcpy(part, from + k, sizeof(float) * (count - k));
        const vec z = NAME(load)(part);
        NAME(store)(part, z * NAME(sigmoid)(z));
        memcpy(to + k, part, sizeof(float) * (count - k));
    }
}

static inline size NAME(group_rows)(void) { return 7 * ROWS; }
static inline size NAME(panel_width)(void) { return WIDTH; }

/* The panels of a map, each as [stop - first][WIDTH], zero where a row does not see a column, and right of the panel. */
TARGET static void NAME(pack)(const map *m, int transposed) {
    float *packed = m->packed[transposed];
    for (size p = 0; p < m->count[transposed]; p++) {
        const panel at = m->panels[transposed][p];
        const size length = at.stop - at.first;
        memset(packed, 0, sizeof(float) * length * WIDTH);
        if (transposed) {
            for (size r = at.first; r < at.stop; r++) {
                const size from = m->lo[r] > at.column ? m->lo[r] : at.column;
                const size to = m->hi[r] < at.column + at.width ? m->hi[r] : at.column + at.width;
                const float *row = m->w + r * m->ldw - (m->own ? m->lo[r] : 0);
                if (to > from)
                    memcpy(packed + (r - at.first) * WIDTH + from - at.column, row + from, sizeof(float) * (to - from));
            }
        } else {
            for (size begin = at.first; begin < at.stop; begin += 64) /* what is written stays in the first-level cache */
                for (size j = 0; j < at.width; j++) {
                    const size r = at.column + j;
                    const size from = m->lo[r] > begin ? m->lo[r] : begin;
                    const size to = m->hi[r] < begin + 64 ? m->hi[r] : begin + 64;
                    const float *row = m->w + r * m->ldw - (m->own ? m->lo[r] : 0);
                    for (size k = from; k < to; k++) packed[(k - at.first) * WIDTH + j] = row[k];
                }
        }
        packed += length * WIDTH;
    }
}

/* out = x W^T + bias, or where transposed is set x W, from packed panels. activate: SiLU(x) stands for x; room then has
   group_rows() rows as wide as x. before: out is multiplied by SiLU' of it; its rows are as far apart as out's.
   sums: where set, the sum of out's rows. */
TARGET static void NAME(product)(size n, const float *x, size ldx, const map *m, int transposed, int activate,
                                 float *out, size ldo, const float *before, float *sums, float *room) {
    const size inputs = transposed ? m->outputs : m->inputs;
    for (size group = 0; group < n; group += NAME(group_rows)()) {
        const size end = group + NAME(group_rows)() < n ? group + NAME(group_rows)() : n;
        const float *b = m->packed[transposed], *a = x + group * ldx;
        size lda = ldx;
        if (activate) {
            for (size i = group; i < end; i++) NAME(silu)(room + (i - group) * inputs, x + i * ldx, inputs);
            a = room;
            lda = inputs;
        }
        for (size p = 0; p < m->count[transposed]; p++) {
            const panel at = m->panels[transposed][p];
            float beside[WIDTH] = {0}, part[WIDTH] = {0};
            vec sum0 = {}, sum1 = {};
            if (!transposed) memcpy(beside, m->bias + at.column, sizeof(float) * at.width);
            const vec bias0 = NAME(load)(beside), bias1 = NAME(load)(beside + LANES);
            for (size i = group; i < end; i += ROWS) {
                const size valid = end - i < ROWS ? end - i : ROWS;
                size rows[ROWS];
                vec c[ROWS][2];
#pragma GCC unroll 16
                for (int j = 0; j < ROWS; j++) {
                    const size row = i + (j < valid ? j : valid - 1); /* rows beyond the last are computed in vain */
                    rows[j] = (row - group) * lda;
                    c[j][0] = bias0;
                    c[j][1] = bias1;
                    for (size l = 0; l < WIDTH; l += 16) { /* may be far */
                        __builtin_prefetch(out + row * ldo + at.column + l, 1);
                        if (before) __builtin_prefetch(before + row * ldo + at.column + l);
                    }
                }
                NAME(accumulate)(c, a + at.first, rows, 1, b, at.stop - at.first);
                for (size j = 0; j < valid; j++) {
                    const size at_row = (i + j) * ldo + at.column;
                    const int whole = at.width == WIDTH;
                    if (before) {
                        if (!whole) memcpy(part, before + at_row, sizeof(float) * at.width);
                        const float *z = whole ? before + at_row : part;
                        c[j][0] = NAME(through_silu)(c[j][0], NAME(load)(z));
                        c[j][1] = NAME(through_silu)(c[j][1], NAME(load)(z + LANES));
                    }
                    sum0 += c[j][0];
                    sum1 += c[j][1];
                    float *o = whole ? out + at_row : part;
                    NAME(store)(o, c[j][0]);
                    NAME(store)(o + LANES, c[j][1]);
                    if (!whole) memcpy(out + at_row, part, sizeof(float) * at.width);
                }
            }
            if (sums) {
                NAME(store)(part, sum0);
                NAME(store)(part + LANES, sum1);
                for (size j = 0; j < at.width; j++) sums[at.column + j] = (group ? sums[at.column + j] : 0.0f) + part[j];
            }
            b += (at.stop - at.first) * WIDTH;
        }
    }
}

/* w = g^T x, 0 where its rows do not see. activate: SiLU(x) stands for x. room: n * WIDTH floats. */
TARGET static void NAME(gram)(size n, const float *g, size ldg, const float *x, size ldx, int activate, const map *m,
                              float *w, float *room) {
    for (size column = 0; column < m->inputs; column += WIDTH) {
        const size width = m->inputs - column < WIDTH ? m->inputs - column : WIDTH, stop = column + width;
        for (size k = 0; k < n; k++) {
            float *row = room + k * WIDTH;
            if (width < WIDTH) memset(row, 0, sizeof(float) * WIDTH);
            if (activate)
                NAME(silu)(row, x + k * ldx + column, width);
            else
                memcpy(row, x + k * ldx + column, sizeof(float) * width);
        }
        size first = m->outputs, last = 0; /* rows that see some of these columns */
        for (size r = 0; r < m->outputs; r++) {
            if (m->lo[r] < stop && m->hi[r] > column) {
                first = r < first ? r : first;
                last = r + 1;
            }
            if (!m->own) memset(w + r * m->ldw + column, 0, sizeof(float) * width);
        }
        for (size tile = first; tile < last; tile += ROWS) {
            const size valid = last - tile < ROWS ? last - tile : ROWS;
            size rows[ROWS];
            vec c[ROWS][2];
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; i++) {
                rows[i] = i < valid ? i : valid - 1;
                c[i][0] = c[i][1] = (vec){};
            }
            NAME(accumulate)(c, g + tile, rows, ldg, room, n);
            for (size i = 0; i < valid; i++) {
                const size r = tile + i;
                const size from = m->lo[r] > column ? m->lo[r] : column, to = m->hi[r] < stop ? m->hi[r] : stop;
                float part[WIDTH];
                NAME(store)(part, c[i][0]);
                NAME(store)(part + LANES, c[i][1]);
                if (to > from)
                    memcpy(w + r * m->ldw - (m->own ? m->lo[r] : 0) + from, part + from - column,
                           sizeof(float) * (to - from));
            }
        }
    }
}

/* y = (x + t) exp(s) and ldj -= sum(s) over a row's variables, s = c tanh(r / d), d = max(c, 1). [t, r] lie side by
   side in net [n, 2 m]; all others [n, m] and [m] without gaps. */
TARGET static void NAME(affine)(size n, size m, const float *x, const float *net, const float *bound, float *y,
                                float *ldj) {
    for (size i = 0; i < n; i++) {
        vec total = {};
        for (size j = 0; j < m; j += LANES) {
            const size valid = m - j < LANES ? m - j : LANES;
            float at[4][LANES] = {0};
            for (size k = 0; k < valid; k++) {
                at[0][k] = x[i * m + j + k];
                at[1][k] = net[2 * (i * m + j + k)];
                at[2][k] = net[2 * (i * m + j + k) + 1];
                at[3][k] = bound[j + k];
            }
            const vec c = NAME(load)(at[3]), d = MAX(c, (vec){} + 1.0f);
            const vec s = c * NAME(tanh)(NAME(load)(at[2]) / d);
            total += s;
            NAME(store)(at[0], (NAME(load)(at[0]) + NAME(load)(at[1])) * NAME(exp)(s));
            memcpy(y + i * m + j, at[0], sizeof(float) * valid);
        }
        ldj[i] -= NAME(sum)(total);
    }
}

/* Gradients for those of y and ldj: of net and x (the latter without the part that flows through net), and of c. */
TARGET static void NAME(affine_backward)(size n, size m, const float *net, const float *bound, const float *y,
                                         const float *of_y, const float *of_ldj, float *of_net, float *of_x,
                                         float *of_bound) {
    for (size j = 0; j < m; j += LANES) {
        const size valid = m - j < LANES ? m - j : LANES;
        float at[4][LANES] = {0};
        memcpy(at[3], bound + j, sizeof(float) * valid);
        const vec c = NAME(load)(at[3]), d = MAX(c, (vec){} + 1.0f);
        const vec free = (vec)((ivec)(c >= 1.0f) & (ivec)((vec){} + 1.0f)); /* 1 where d is c, else 0 */
        vec of_c = {};
        for (size i = 0; i < n; i++) {
            for (size k = 0; k < valid; k++) {
                at[0][k] = of_y[i * m + j + k];
                at[1][k] = y[i * m + j + k];
                at[2][k] = net[2 * (i * m + j + k) + 1];
            }
            const vec r = NAME(load)(at[2]), g = NAME(load)(at[0]);
            const vec u = NAME(tanh)(r / d);
            const vec shift = g * NAME(exp)(c * u), log_scale = g * NAME(load)(at[1]) - of_ldj[i];
            const vec raw = log_scale * c * (1.0f - u * u) / d;
            of_c += log_scale * u - free * raw * r / d;
            NAME(store)(at[0], shift);
            NAME(store)(at[1], raw);
            memcpy(of_x + i * m + j, at[0], sizeof(float) * valid);
            for (size k = 0; k < valid; k++) {
                of_net[2 * (i * m + j + k)] = at[0][k];
                of_net[2 * (i * m + j + k) + 1] = at[1][k];
            }
        }
        NAME(store)(at[0], of_c);
        memcpy(of_bound + j, at[0], sizeof(float) * valid);
    }
}
