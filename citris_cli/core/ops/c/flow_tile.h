/* A normalizing flow: ActNorm and invertible linear map as one linear map, then the affine map of a network. */

#define MAX_LOG_SCALE 3.0f

INLINE float NAME(dot)(const float *x, const float *y, size count) {
    vec total = {};
    for (size k = 0; k < count; k += LANES) total += NAME(some)(x + k, count - k) * NAME(some)(y + k, count - k);
    return NAME(sum)(total);
}

/* x[k] += factor y[k]. */
INLINE void NAME(axpy)(float *x, float factor, const float *y, size count) {
    for (size k = 0; k < count; k++) x[k] += factor * y[k];
}

static inline float NAME(actnorm_scale)(const layer *at, size i) {
    return expf(fminf(fmaxf(at->log_scale[i], -MAX_LOG_SCALE), MAX_LOG_SCALE));
}

/* Row i of L or U, with the diagonal. */
INLINE void NAME(row_of_l)(const layer *at, size i, float *row) {
    const size m = at->linear.outputs;
    memcpy(row, at->lower + i * m, sizeof(float) * i);
    memset(row + i, 0, sizeof(float) * (m - i));
    row[i] = 1.0f;
}

INLINE void NAME(row_of_u)(const layer *at, size i, float *row) {
    const size m = at->linear.outputs;
    memset(row, 0, sizeof(float) * i);
    memcpy(row + i, at->upper + i * m + i, sizeof(float) * (m - i));
    row[i] = at->sign[i] * expf(at->log_diagonal[i]);
}

/* A, b and c of a layer, and its constant part of the log-determinants: with e = exp(log_scale) and W = P L U, or where
   there is no P the identity, (x + bias) e W = A x + b. room: m (m + 2) floats. */
TARGET static void NAME(fold)(const layer *at, float *room) {
    const size m = at->linear.outputs;
    float *product = room, *row = product + m * m, *other = row + m, constant = 0.0f;
    float *a = (float *)at->linear.w, *b = (float *)at->linear.bias;
    memset(at->weight, 0, sizeof(float) * m * m);
    if (at->permutation) {
        memset(product, 0, sizeof(float) * m * m);
        for (size k = 0; k < m; k++) {
            NAME(row_of_u)(at, k, other);
            for (size i = k; i < m; i++)
                NAME(axpy)(product + i * m + k, i > k ? at->lower[i * m + k] : 1.0f, other + k, m - k);
            constant -= at->log_diagonal[k];
        }
        for (size i = 0; i < m; i++)
            for (size k = 0; k < m; k++)
                if (at->permutation[i * m + k] != 0.0f)
                    NAME(axpy)(at->weight + i * m, at->permutation[i * m + k], product + k * m, m);
    } else {
        for (size i = 0; i < m; i++) at->weight[i * m + i] = 1.0f;
    }
    memset(b, 0, sizeof(float) * m);
    for (size i = 0; i < m; i++) {
        const float e = NAME(actnorm_scale)(at, i);
        for (size o = 0; o < m; o++) a[o * m + i] = e * at->weight[i * m + o];
        NAME(axpy)(b, at->bias[i] * e, at->weight + i * m, m);
        at->bound[i] = MAX_LOG_SCALE * tanhf(expf(at->scaling[i]) / MAX_LOG_SCALE);
        constant -= fminf(fmaxf(at->log_scale[i], -MAX_LOG_SCALE), MAX_LOG_SCALE);
    }
    *at->constant = constant;
}

/* Gradients of what a layer learns from those of A, b and c and, of_constant, of its part of the log-determinants.
   room: as of fold(). */
TARGET static void NAME(fold_backward)(const layer *at, const of_layer *of, float of_constant, float *room) {
    const size m = at->linear.outputs;
    float *of_product = room, *row = of_product + m * m, *of_row = row + m;
    memset(of_product, 0, sizeof(float) * m * m);
    for (size i = 0; i < m; i++) {
        const float e = NAME(actnorm_scale)(at, i), *w = at->weight + i * m;
        const float u = expf(at->scaling[i]), bounded = tanhf(u / MAX_LOG_SCALE);
        for (size o = 0; o < m; o++) of_row[o] = of->matrix[o * m + i] + at->bias[i] * of->shift[o];
        of->log_scale[i] = e * NAME(dot)(w, of_row, m) - of_constant; /* clamped straight through */
        of->bias[i] = e * NAME(dot)(w, of->shift, m);
        of->scaling[i] = of->bound[i] * u * (1.0f - bounded * bounded);
        for (size k = 0; at->permutation && k < m; k++)
            if (at->permutation[i * m + k] != 0.0f)
                NAME(axpy)(of_product + k * m, e * at->permutation[i * m + k], of_row, m);
    }
    if (!at->permutation) return;
    memset(of->lower, 0, sizeof(float) * m * m);
    memset(of->upper, 0, sizeof(float) * m * m);
    for (size k = 0; k < m; k++) {
        float *of_u = of_row;
        NAME(row_of_u)(at, k, row);
        memcpy(of_u, of_product + k * m, sizeof(float) * m); /* L's diagonal is 1 */
        for (size i = k + 1; i < m; i++) {
            of->lower[i * m + k] = NAME(dot)(of_product + i * m + k, row + k, m - k);
            NAME(axpy)(of_u + k, at->lower[i * m + k], of_product + i * m + k, m - k);
        }
        of->log_diagonal[k] = of_u[k] * row[k] - of_constant;
        memcpy(of->upper + k * m + k + 1, of_u + k + 1, sizeof(float) * (m - k - 1));
    }
}

/* y = (x + t) exp(s) and ldj -= sum(s) over a row's variables, s = c tanh(r / d), d = max(c, 1). [t, r] lie side by
   side in net [n, 2 m]; all others [n, m] and [m] without gaps. */
TARGET static void NAME(affine)(size n, size m, const float *x, const float *net, const float *bound, float *y,
                                float *ldj) {
    for (size i = 0; i < n; i++, x += m, y += m, net += 2 * m) {
        vec total = {};
        for (size j = 0; j < m; j += LANES) {
            const vec c = NAME(some)(bound + j, m - j), d = MAX(c, (vec){} + 1.0f);
            const vec s = c * NAME(tanh)(NAME(of_pairs)(net + 2 * j, 1, m - j) / d);
            total += s;
            NAME(put)(y + j, (NAME(some)(x + j, m - j) + NAME(of_pairs)(net + 2 * j, 0, m - j)) * NAME(exp)(s), m - j);
        }
        ldj[i] -= NAME(sum)(total);
    }
}

/* Gradients for those of y and ldj: of net and x (the latter without the part that flows through net), and of c. With
   u = tanh(r / d) and gradients marked by a star: t* = x* = y* exp(s), s* = y* y - ldj*, r* = s* c (1 - u^2) / d,
   c* = sum_n s* u - [c >= 1] r* r / d. */
TARGET static void NAME(affine_backward)(size n, size m, const float *net, const float *bound, const float *y,
                                         const float *of_y, const float *of_ldj, float *of_net, float *of_x,
                                         float *of_bound) {
    for (size j = 0; j < m; j += LANES) {
        const size valid = m - j;
        const vec c = NAME(some)(bound + j, valid), d = MAX(c, (vec){} + 1.0f);
        const vec free = (vec)((ivec)(c >= 1.0f) & (ivec)((vec){} + 1.0f)); /* 1 where d is c, else 0 */
        vec of_c = {};
        for (size i = 0; i < n; i++) {
            const vec r = NAME(of_pairs)(net + 2 * (i * m + j), 1, valid), g = NAME(some)(of_y + i * m + j, valid);
            const vec u = NAME(tanh)(r / d);
            const vec shift = g * NAME(exp)(c * u), log_scale = g * NAME(some)(y + i * m + j, valid) - of_ldj[i];
            const vec raw = log_scale * c * (1.0f - u * u) / d;
            of_c += log_scale * u - free * raw * r / d;
            NAME(put)(of_x + i * m + j, shift, valid);
            NAME(put_pairs)(of_net + 2 * (i * m + j), shift, raw, valid);
        }
        NAME(put)(of_bound + j, of_c, valid);
    }
}

/* x of n rows y of affine(): a variable at a time, each from what the network says of those before it.
   room: as many floats as the first two maps have outputs. */
TARGET static void NAME(affine_inverse)(const network *net, const float *bound, size n, const float *y, float *x,
                                        float *room) {
    const map *maps = net->maps;
    const size m = maps[0].inputs, hidden = maps[0].outputs / m;
    float *units[] = {room, room + maps[0].outputs};
    for (size row = 0; row < n; row++, x += m, y += m)
        for (size i = 0; i < m; i++) {
            float last[2];
            for (int l = 0; l < 3; l++) {
                const size count = l < 2 ? hidden : 2;
                const float *in = l > 0 ? units[l - 1] : x;
                float *out = l < 2 ? units[l] + i * hidden : last;
                for (size r = 0; r < count; r++) {
                    const size at = i * count + r;
                    out[r] = maps[l].bias[at] + NAME(dot)(maps[l].w + at * maps[l].ldw, in, maps[l].hi[at]);
                }
                for (size r = 0; l < 2 && r < count; r += LANES) {
                    vec slope;
                    NAME(put)(out + r, NAME(silu)(NAME(some)(out + r, count - r), &slope), count - r);
                }
            }
            x[i] = y[i] * expf(-bound[i] * tanhf(last[1] / fmaxf(bound[i], 1.0f))) - last[0];
        }
}

/* All layers of n rows, the first of which is row begin of all. room: as of network_forward(). */
TARGET static void NAME(flow_forward)(const layer *layers, size count, size begin, size n, float *ldj, float *room) {
    float constant = 0.0f;
    for (const layer *at = layers; at < layers + count; at++) constant += *at->constant;
    for (size i = begin; i < begin + n; i++) ldj[i] = constant;
    for (const layer *at = layers; at < layers + count; at++) {
        const size m = at->linear.outputs;
        const float *x = at->x + begin * m;
        float *moved = at->moved + begin * m, *out = at->out + 2 * begin * m;
        NAME(product)(n, x, m, &at->linear, 0, moved, m, NULL, 0, NULL);
        NAME(network_forward)(&at->net, begin, n, moved, m, out, 2 * m, room);
        NAME(affine)(n, m, moved, out, at->bound, at->y + begin * m, ldj + begin);
    }
}

/* Gradients of x and of all parameters, A, b and c for those of z and ldj; all of these rows alone.
   room: n (5 m + 2 ld + WIDTH) floats. */
TARGET static void NAME(flow_backward)(const layer *layers, const of_layer *of, size count, size begin, size n,
                                       const float *of_z, const float *of_ldj, float *of_x, int zero, float *room) {
    const size m = layers->linear.outputs;
    float *of_out = room, *of_moved = of_out + 2 * n * m, *direct = of_moved + n * m, *of_y = direct + n * m;
    float *rest = of_y + n * m;
    for (size l = count; l-- > 0;) {
        const layer *at = layers + l;
        NAME(affine_backward)(n, m, at->out + 2 * begin * m, at->bound, at->y + begin * m, l + 1 < count ? of_y : of_z,
                              of_ldj, of_out, direct, of[l].bound);
        NAME(network_backward)(&at->net, begin, n, at->moved + begin * m, m, of_out, 2 * m, of_moved, &of[l].net, zero,
                               rest);
        NAME(axpy)(of_moved, 1.0f, direct, n * m);
        NAME(sum_rows)(n, m, of_moved, m, of[l].shift);
        NAME(gram)(n, of_moved, m, at->x + begin * m, m, NULL, &at->linear, 0, of[l].matrix, rest);
        NAME(product)(n, of_moved, m, &at->linear, 1, l > 0 ? of_y : of_x, m, NULL, 0, NULL);
    }
}
