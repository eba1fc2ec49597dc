/* What latents lose as those of every node under several graphs, by networks with LayerNorm and SiLU, and gradients.

   Samples lie beside each other in vectors while they pass through a network, so that sums over features are plain ones;
   before its first layer, features do. That layer is linear in what is seen, and sums are made of a few terms: one that
   all hypotheses and graphs share, one for every node whose latents are seen. */

#define TALL (LANES / 2) /* features of a product that are computed together */

/* To x [c][WIDTH] from the sums of three numbers each that a block's samples are made of; c is a multiple of 8. */
INLINE void NAME(to_columns)(const owner_block *block, size c) {
    for (size r = 0; r < WIDTH; r += 8)
        for (size f = 0; f < c; f += 8) {
            __m256 rows[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                rows[i] = _mm256_loadu_ps(block->parts[0][r + i] + f) + _mm256_loadu_ps(block->parts[1][r + i] + f) +
                          _mm256_loadu_ps(block->parts[2][r + i] + f);
            transposed_8(rows);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) _mm256_storeu_ps(block->x + (f + i) * WIDTH + r, rows[i]);
        }
}

/* To rows [WIDTH][c] from columns [c][WIDTH]. */
INLINE void NAME(to_rows)(const float *columns, size c, float *to) {
    for (size r = 0; r < WIDTH; r += 8)
        for (size f = 0; f < c; f += 8) {
            __m256 rows[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) rows[i] = _mm256_loadu_ps(columns + (f + i) * WIDTH + r);
            transposed_8(rows);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) _mm256_storeu_ps(to + (r + i) * c + f, rows[i]);
        }
}

/* Features of a hidden layer with those of 0 that fill up its last vector. */
static inline size NAME(owner_features)(const owners *at) { return (at->hidden + LANES - 1) / LANES * LANES; }

/* Numbers of one sample's terms: of every TOGETHER tables, the sum for each of their subsets. */
static inline size NAME(owner_terms_size)(const owners *at) {
    return (owner_tables(at) + TOGETHER - 1) / TOGETHER * SUBSETS * NAME(owner_features)(at);
}

/* Pairs of frames whose terms stay in the second-level cache. */
static inline size NAME(owner_pairs)(const owners *at) {
    const size fit = 65536 / (NAME(owner_terms_size)(at) * at->samples);
    return fit < 1 ? 1 : fit < at->pairs ? fit : at->pairs;
}

/* Pairs of which gradients of terms are taken further together, in the first-level cache. */
static inline size NAME(owner_few_pairs)(const owners *at) { return at->samples < 16 ? 16 / at->samples : 1; }

/* Numbers of which a network's weights, terms, what is summed of gradients, and a block's activations are made. */
static inline size NAME(owner_room)(const owners *at) {
    const size c = NAME(owner_features)(at), inputs = owner_inputs(at), seen = (at->latents + LANES - 1) / LANES * LANES;
    const size terms = 2 * NAME(owner_pairs)(at) * at->samples * NAME(owner_terms_size)(at);
    const size few = (NAME(owner_few_pairs)(at) * at->samples * (1 + owner_tables(at)) + owner_tables(at)) * c;
    const size weights = (inputs + 9) * c + 2 * c * c + c * seen * (3 + 2 * at->own);
    const size sums = inputs * c + c * c + 8 * c * LANES, blocks = (13 + 2 * OWNER_BLOCKS) * c * WIDTH + 6 * WIDTH;
    return terms + few + weights + sums + blocks + (3 * at->graphs + 1) * at->nodes;
}

/* The weights of network m, so that no mean is left for LayerNorm to take away, filled up with zeros. back: for the gradients
   as well. Returns the room that is left. */
TARGET static float *NAME(owner_weights)(const owners *at, size m, int back, owner_net *net, float *room) {
    const size hidden = at->hidden, c = NAME(owner_features)(at), inputs = owner_inputs(at), latents = at->latents;
    const size seen = (latents + LANES - 1) / LANES * LANES, published = 3 * latents + at->variables;
    const float *first = at->learned[FIRST] + m * hidden * published, *middle = at->learned[MIDDLE] + m * hidden * hidden;
    const int vectors[] = {FIRST_BIAS, FIRST_GAIN, FIRST_OFFSET, MIDDLE_BIAS, MIDDLE_GAIN, MIDDLE_OFFSET};
    net->first = room;
    memset(room, 0, sizeof(float) * c * (inputs + 9 + (1 + back) * c));
    for (size i = 0; i < inputs; i++, room += c) {
        size column;
        const float factor = owner_input(at, m, i, &column);
        for (size f = 0; f < hidden; f++) room[f] = factor * first[f * published + column];
        centred(room, hidden);
    }
    for (int i = 0; i < 6; i++, room += c) {
        net->vectors[i] = room;
        memcpy(room, at->learned[vectors[i]] + m * hidden, sizeof(float) * hidden);
        if (i == 0)
            for (size f = 0; f < hidden; f++)
                for (size j = 0; j < latents; j++) room[f] -= first[f * published + latents + j];
        if (i % 3 == 0) centred(room, hidden);
    }
    for (int i = 0; i < 2; i++, room += c) {
        net->last[i] = room;
        memcpy(room, at->learned[LAST] + (2 * m + i) * hidden, sizeof(float) * hidden);
        net->last_bias[i] = at->learned[LAST_BIAS][2 * m + i];
        net->bound[i] = expf(at->learned[LOG_BOUNDS][2 * m + i]);
    }
    net->nothing = room;
    room += c;
    for (int transposed = 0; transposed <= back; transposed++, room += c * c) {
        net->middle[transposed] = room;
        for (size k = 0; k < hidden; k++) {
            float mean = 0.0f;
            for (size o = 0; o < hidden; o++) mean += middle[o * hidden + k];
            mean /= hidden;
            for (size o = 0; o < hidden; o++) {
                const size from = transposed ? o : k, to = transposed ? k : o;
                room[(to / TALL * c + from) * TALL + to % TALL] = middle[o * hidden + k] - mean;
            }
        }
    }
    /* Of every part of the first map that has a column for each latent, [c][seen]. */
    for (size part = 0; back && part < (at->own ? 5 : 3); part++, room += c * seen) {
        const size begin = part * latents + (part ? at->variables : 0);
        net->first_back[part] = room;
        memset(room, 0, sizeof(float) * c * seen);
        for (size j = 0; j < latents; j++)
            for (size f = 0; f < hidden; f++) room[f * seen + j] = net->first[(begin + j) * c + f];
    }
    return room;
}

/* y = W x + bias of samples side by side, [c][WIDTH]; adds the sum of y's squares to squares. */
INLINE void NAME(owner_product)(const float *packed, const float *bias, size c, const float *x, float *y, vec squares[2]) {
    for (size tile = 0; tile < c; tile += TALL, packed += TALL * c) {
        vec sum[TALL][2];
#pragma GCC unroll 16
        for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (bias ? bias[tile + i] : 0.0f) - (vec){};
        for (size k = 0; k < c; k++) {
            const vec x0 = NAME(load)(x + k * WIDTH), x1 = NAME(load)(x + k * WIDTH + LANES);
#pragma GCC unroll 16
            for (int i = 0; i < TALL; i++) {
                const vec one = packed[k * TALL + i] - (vec){};
                sum[i][0] += one * x0;
                sum[i][1] += one * x1;
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < TALL; i++) {
            NAME(store)(y + (tile + i) * WIDTH, sum[i][0]);
            NAME(store)(y + (tile + i) * WIDTH + LANES, sum[i][1]);
            if (squares)
                for (int l = 0; l < 2; l++) squares[l] += sum[i][l] * sum[i][l];
        }
    }
}

/* Sigmoids of four vectors, step by step, so that none waits for itself: 2^(n + f), |f| <= 1/2, by a polynomial (Remez, to
   3e-6 of its value). */
INLINE void NAME(sigmoids)(const vec z[4], vec s[4]) {
    vec n[4], f[4], p[4];
#define EACH                 \
    _Pragma("GCC unroll 4") \
    for (int i = 0; i < 4; i++)
    EACH f[i] = z[i] * -1.44269504f;
    EACH f[i] = (vec)LEAST(f[i], (vec){} + 126.0f); /* as whole numbers, of which more are compared at a time */
    EACH n[i] = ROUND(f[i]);
    EACH f[i] -= n[i];
    EACH p[i] = f[i] * 9.58285322e-3f + 5.59064262e-2f;
    EACH p[i] = p[i] * f[i] + 0.240240986f;
    EACH p[i] = p[i] * f[i] + 0.693124193f;
    EACH p[i] = p[i] * f[i] + 1.0f;
    EACH p[i] = 1.0f + SCALE(p[i], n[i]);
    EACH s[i] = RECIPROCAL(p[i]);
    EACH s[i] *= 2.0f - p[i] * s[i];
#undef EACH
}

/* The sum over features of squares. */
INLINE void NAME(owner_squares)(size c, const float *x, vec squares[2]) {
    vec sum[2][2] = {{{0}}};
    for (size f = 0; f < c; f += 2)
        for (int i = 0; i < 4; i++) {
            const vec one = NAME(load)(x + f * WIDTH + i * LANES);
            sum[i / 2][i % 2] += one * one;
        }
    for (int i = 0; i < 2; i++) squares[i] = sum[0][i] + sum[1][i];
}

/* Both hidden layers and the last map of a block. x: what goes into the first one's LayerNorm. Where keep is set, values
   stay for the gradients: of each layer the normalised ones, SiLU's slopes and its values, in kept[layer][3]; otherwise
   kept[0][2] and kept[1][0] are room alone. */
INLINE void NAME(owner_layers)(const owner_net *net, size hidden, size c, const float *x, float *const kept[2][3],
                               const int keep, vec scales[2][2], vec out[2][2]) {
    for (int i = 0; i < 2; i++)
        for (int l = 0; l < 2; l++) out[i][l] = net->last_bias[i] - (vec){};
    for (int layer = 0; layer < 2; layer++) {
        const float *gain = net->vectors[3 * layer + 1], *offset = net->vectors[3 * layer + 2];
        vec squares[2] = {{0}};
        if (layer) {
            NAME(owner_product)(net->middle[0], net->vectors[3], c, kept[0][2], kept[1][0], squares);
            x = kept[1][0];
        } else
            NAME(owner_squares)(c, x, squares);
        for (int l = 0; l < 2; l++) scales[layer][l] = 1.0f / SQRT(squares[l] / (float)hidden + 1e-5f);
        for (size f = 0; f < c; f += 2) {
            vec normal[4], z[4], s[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                normal[i] = NAME(load)(x + f * WIDTH + i * LANES) * scales[layer][i % 2];
                z[i] = normal[i] * gain[f + i / 2] + offset[f + i / 2];
            }
            NAME(sigmoids)(z, s);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const size place = f * WIDTH + i * LANES;
                const vec value = z[i] * s[i];
                if (keep) {
                    NAME(store)(kept[layer][0] + place, normal[i]);
                    NAME(store)(kept[layer][1] + place, s[i] + value * (1.0f - s[i]));
                }
                if (keep || !layer) NAME(store)(kept[layer][2] + place, value);
                if (layer) {
                    out[0][i % 2] += net->last[0][f + i / 2] * value;
                    out[1][i % 2] += net->last[1][f + i / 2] * value;
                }
            }
        }
    }
}

/* From the gradient of SiLU's values, in of, to that of what goes into LayerNorm; sums take what gain, offset and bias get of
   every lane. */
INLINE void NAME(owner_normalised_backward)(const float *gain, size hidden, size c, float *const kept[3],
                                            const vec scale[2], float *of, float *sums) {
    vec along[2] = {{0}};
    for (size f = 0; f < c; f++) {
        vec product[2], shifted[2];
        for (int l = 0; l < 2; l++) {
            const size place = f * WIDTH + l * LANES;
            const vec normal = NAME(load)(kept[0] + place);
            shifted[l] = NAME(load)(of + place) * NAME(load)(kept[1] + place);
            product[l] = shifted[l] * normal;
            along[l] += product[l] * gain[f];
            NAME(store)(of + place, shifted[l] * gain[f]);
        }
        float *own = sums + f * LANES;
        NAME(store)(own, NAME(load)(own) + product[0] + product[1]);
        own += c * LANES;
        NAME(store)(own, NAME(load)(own) + shifted[0] + shifted[1]);
    }
    for (int l = 0; l < 2; l++) along[l] /= (float)hidden;
    for (size f = 0; f < c; f++) {
        vec both = {};
        for (int l = 0; l < 2; l++) {
            const size place = f * WIDTH + l * LANES;
            const vec one = (NAME(load)(of + place) - NAME(load)(kept[0] + place) * along[l]) * scale[l];
            NAME(store)(of + place, one);
            both += one;
        }
        float *own = sums + (2 * c + f) * LANES;
        NAME(store)(own, NAME(load)(own) + both);
    }
}

/* Add to w [c][c] the products of x, blocks of samples side by side, and g, one after the other [c] each. */
INLINE void NAME(owner_gram)(size blocks, size c, const float *x, const float *g, float *w) {
    for (size tile = 0; tile < c; tile += TALL)
        for (size column = 0; column < c; column += WIDTH) {
            const int two = column + LANES < c;
            vec sum[TALL][2];
#pragma GCC unroll 16
            for (int i = 0; i < TALL; i++) {
                sum[i][0] = NAME(load)(w + (tile + i) * c + column);
                sum[i][1] = two ? NAME(load)(w + (tile + i) * c + column + LANES) : (vec){};
            }
            for (size block = 0; block < blocks; block++) {
                const float *a = x + (block * c + tile) * WIDTH, *b = g + block * WIDTH * c + column;
                for (size r = 0; r < WIDTH; r++, a++, b += c) {
                    const vec b0 = NAME(load)(b), b1 = two ? NAME(load)(b + LANES) : (vec){};
#pragma GCC unroll 16
                    for (int i = 0; i < TALL; i++) {
                        const vec one = a[i * WIDTH] - (vec){};
                        sum[i][0] += one * b0;
                        sum[i][1] += one * b1;
                    }
                }
            }
#pragma GCC unroll 16
            for (int i = 0; i < TALL; i++) {
                NAME(store)(w + (tile + i) * c + column, sum[i][0]);
                if (two) NAME(store)(w + (tile + i) * c + column + LANES, sum[i][1]);
            }
        }
}

/* Terms of the first layer for some pairs: of every TOGETHER tables the sums of their subsets, by their bits, with what all
   entries share in those of the first tables. */
TARGET static void NAME(owner_terms)(const owners *at, const owner_net *net, size first, size end, float *terms) {
    const size c = NAME(owner_features)(at), latents = at->latents, tables = owner_tables(at), nodes = at->nodes;
    const size samples = at->samples, each = NAME(owner_terms_size)(at), n = (end - first) * samples;
    const float *z = at->z_t + first * samples * latents, *z1 = at->z_t1 + first * samples * latents;
    for (size f = 0; f < c; f += WIDTH) {
        const int two = f + LANES < c;
        for (size i = 0; i < n; i += 4) { /* a few samples share what is loaded of the weights */
            const float *own[4];
            vec sum[4][2];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
                own[k] = z + (i + k < n ? i + k : n - 1) * latents;
                sum[k][0] = NAME(load)(net->vectors[0] + f);
                sum[k][1] = two ? NAME(load)(net->vectors[0] + f + LANES) : (vec){};
            }
            for (size j = 0; j < latents; j++) {
                const float *w = net->first + j * c + f;
                const vec w0 = NAME(load)(w), w1 = two ? NAME(load)(w + LANES) : (vec){};
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) {
                    sum[k][0] += own[k][j] * w0;
                    sum[k][1] += own[k][j] * w1;
                }
            }
            for (size k = 0; k < 4 && i + k < n; k++) {
                NAME(store)(terms + (i + k) * each + f, sum[k][0]);
                if (two) NAME(store)(terms + (i + k) * each + f + LANES, sum[k][1]);
            }
        }
    }
    const float *later = net->first + (latents + at->variables) * c;
    for (size b = first; b < end; b++, z1 += samples * latents) {
        const int32_t *order = at->order + b * latents, *start = at->start + b * (nodes + 1);
        for (size table = 0; table < tables; table += TOGETHER)
            for (size f = 0; f < c; f += WIDTH) {
                const int two = f + LANES < c;
                vec seen[TOGETHER][2]; /* what is told of a table's latents being seen, whatever their values */
                for (int i = 0; i < TOGETHER; i++) {
                    const size node = (table + i) % nodes, own = (table + i) / nodes;
                    seen[i][0] = seen[i][1] = (vec){};
                    for (int32_t k = start[node]; k < start[node + 1] && table + i < tables; k++) {
                        const float *w = later + ((2 * own + 1) * latents + order[k]) * c + f;
                        seen[i][0] += NAME(load)(w);
                        if (two) seen[i][1] += NAME(load)(w + LANES);
                    }
                }
                for (size s = 0; s < samples; s++) {
                    float *to = terms + ((b - first) * samples + s) * each + table / TOGETHER * SUBSETS * c + f;
                    const float *own_z = z1 + s * latents;
                    vec sum[SUBSETS][2] = {{{0}}};
                    if (table == 0) {
                        sum[0][0] = NAME(load)(to);
                        if (two) sum[0][1] = NAME(load)(to + LANES);
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < TOGETHER; i++) {
                        const size node = (table + i) % nodes, own = (table + i) / nodes;
                        vec term[2] = {seen[i][0], seen[i][1]};
                        for (int32_t k = start[node]; k < start[node + 1] && table + i < tables; k++) {
                            const float *w = later + (2 * own * latents + order[k]) * c + f;
                            term[0] += own_z[order[k]] * NAME(load)(w);
                            if (two) term[1] += own_z[order[k]] * NAME(load)(w + LANES);
                        }
#pragma GCC unroll 4
                        for (int k = 0; k < 1 << i; k++)
                            for (int l = 0; l < 2; l++) sum[(1 << i) + k][l] = sum[k][l] + term[l];
                    }
#pragma GCC unroll 8
                    for (int k = 0; k < SUBSETS; k++) {
                        NAME(store)(to + k * c, sum[k][0]);
                        if (two) NAME(store)(to + k * c + LANES, sum[k][1]);
                    }
                }
            }
    }
}

/* Scores of a block's samples with Gaussians as the networks' last map gives them; what it takes for gradients too. */
INLINE vec NAME(owner_score)(const owner_net *net, const vec out[2], vec z_mean, vec variance, vec bent[2],
                             vec *precision) {
    for (int i = 0; i < 2; i++) bent[i] = NAME(tanh)(out[i] / net->bound[i]);
    return NAME(gaussian)(net->bound[0] * bent[0], net->bound[1] * bent[1], z_mean, variance, precision);
}

/* Room for a block of samples, of which some are filled in. */
TARGET static float *NAME(owner_block)(owner_block *block, size c, float *room) {
    float **const parts[] = {&block->rows, &block->x};
    for (int i = 0; i < 2; i++, room += c * WIDTH) *parts[i] = room;
    float **const numbers[] = {&block->mean, &block->variance, &block->weight};
    for (int i = 0; i < 3; i++, room += WIDTH) *numbers[i] = room;
    memset(block->rows, 0, sizeof(float) * (2 * c + 3) * WIDTH);
    block->filled = 0;
    return room;
}

/* Fill in a sample of entry e of pair b, from its terms; its number there, and what latent m loses by it goes to lost. */
INLINE size NAME(owner_fill)(const owners *at, const owner_net *net, size m, size c, size b, size e, const float *terms,
                             size each, float *lost, owner_block *block) {
    const size i = block->filled++, place = b * at->graphs * at->nodes + e, subset = SUBSETS * c;
    const int32_t target = at->target[place];
    uint64_t seen = at->seen[place];
    block->parts[0][i] = terms + (seen & (SUBSETS - 1)) * c;
    block->parts[1][i] = net->nothing;
    block->parts[2][i] = target < 0 ? net->nothing : net->first + (at->latents + target) * c;
    seen >>= TOGETHER;
    if (each == 2 * subset)
        block->parts[1][i] = terms + subset + seen * c;
    else if (each > subset) { /* more than six tables */
        float *row = block->rows + i * c;
        memset(row, 0, sizeof(float) * c);
        for (size table = subset; table < each; table += subset, seen >>= TOGETHER)
            for (size f = 0; f < c; f += LANES)
                NAME(store)(row + f, NAME(load)(row + f) + NAME(load)(terms + table + (seen & (SUBSETS - 1)) * c + f));
        block->parts[1][i] = row;
    }
    block->mean[i] = at->mean[b * at->latents + m];
    block->variance[i] = at->variance[b * at->latents + m];
    block->lost[i] = lost;
    return i;
}

/* What goes into the first LayerNorm of a block's samples; of those that are not filled in 0. */
INLINE void NAME(owner_inputs_of)(const owner_net *net, size c, owner_block *block) {
    for (size i = block->filled; i < WIDTH; i++)
        block->parts[0][i] = block->parts[1][i] = block->parts[2][i] = net->nothing;
    NAME(to_columns)(block, c);
}

/* What latent m loses in a block's samples. */
TARGET static void NAME(owner_losses)(const owners *at, const owner_net *net, size c, owner_block *block, float *room) {
    float *const kept[2][3] = {{NULL, NULL, room}, {room + c * WIDTH, NULL, NULL}}, scores[WIDTH];
    vec scales[2][2], out[2][2], bent[2], precision;
    NAME(owner_inputs_of)(net, c, block);
    NAME(owner_layers)(net, at->hidden, c, block->x, kept, 0, scales, out);
    for (int l = 0; l < 2; l++) {
        const vec last[2] = {out[0][l], out[1][l]};
        const vec score = NAME(owner_score)(net, last, NAME(load)(block->mean + l * LANES),
                                            NAME(load)(block->variance + l * LANES), bent, &precision);
        NAME(store)(scores + l * LANES, score / (float)at->samples);
    }
    for (size i = 0; i < block->filled; i++) *block->lost[i] += scores[i];
    block->filled = 0;
}

/* Of pair b, value = sum_m sum_k w_mk D_k,m under its first graph, and sum_m pi_mk D_k,m under every graph. */
TARGET static void NAME(owner_sums)(const owners *at, size b, float *value, float *losses) {
    const size nodes = at->nodes, number = at->graphs * nodes;
    const int32_t *which = at->which + b * number;
    float total = 0.0f;
    losses += b * number;
    memset(losses, 0, sizeof(float) * number);
    for (size m = 0; m < at->latents; m++) {
        const float *lost = owner_lost(at, b, m), *asked = at->weights + m * nodes;
        const float *taught = asked + (b < at->some ? 1 : 2) * at->latents * nodes;
        for (size g = 0; g < number; g += nodes)
            for (size k = 0; k < nodes; k++) losses[g + k] += asked[k] * lost[which[g + k]];
        for (size k = 0; k < nodes; k++) total += taught[k] * lost[which[k]];
    }
    value[b] = total;
}

/* Gradients of a block's samples: of the network in sums, of the terms in of_terms, those of pair first first. */
TARGET static void NAME(owner_gradients)(const owners *at, const of_owners *of, const owner_net *net, size m, size c,
                                         size first, owner_block *block, owner_sums *sums, const float *terms,
                                         float *of_terms) {
    const size latents = at->latents, each = NAME(owner_terms_size)(at), subset = SUBSETS * c;
    float *const kept[2][3] = {{sums->kept[0], sums->kept[1], sums->active + sums->blocks * c * WIDTH},
                               {sums->kept[2], sums->kept[3], sums->kept[4]}};
    float *of_middle = sums->kept[5], *of_first = sums->kept[6], of_mean[WIDTH], of_variance[WIDTH], scores[WIDTH];
    vec scales[2][2], out[2][2], slope[2][2];
    for (size i = block->filled; i < WIDTH; i++) block->weight[i] = 0.0f;
    NAME(owner_inputs_of)(net, c, block);
    NAME(owner_layers)(net, at->hidden, c, block->x, kept, 1, scales, out);
    for (int l = 0; l < 2; l++) {
        const vec last[2] = {out[0][l], out[1][l]}, z_mean = NAME(load)(block->mean + l * LANES);
        const vec variance = NAME(load)(block->variance + l * LANES), w = NAME(load)(block->weight + l * LANES);
        vec bent[2], precision;
        const vec score = NAME(owner_score)(net, last, z_mean, variance, bent, &precision);
        NAME(store)(scores + l * LANES, score / (float)at->samples);
        const vec d = z_mean - net->bound[0] * bent[0], pull = w * d * precision;
        const vec of_out[2] = {-pull, w * (1.0f - (variance + d * d) * precision)};
        NAME(store)(of_mean + l * LANES, pull);
        NAME(store)(of_variance + l * LANES, 0.5f * w * precision);
        for (int i = 0; i < 2; i++) {
            slope[i][l] = of_out[i] * (1.0f - bent[i] * bent[i]);
            sums->bound[i] += NAME(sum)(of_out[i] * bent[i] - slope[i][l] * last[i] / net->bound[i]);
            sums->last_bias[i] += NAME(sum)(slope[i][l]);
        }
    }
    for (size f = 0; f < c; f++) {
        vec product[2] = {{0}};
        for (int l = 0; l < 2; l++) {
            const vec value = NAME(load)(kept[1][2] + f * WIDTH + l * LANES);
            NAME(store)(of_middle + f * WIDTH + l * LANES, net->last[0][f] * slope[0][l] + net->last[1][f] * slope[1][l]);
            product[0] += slope[0][l] * value;
            product[1] += slope[1][l] * value;
        }
        for (int i = 0; i < 2; i++) {
            float *own = sums->last + (i * c + f) * LANES;
            NAME(store)(own, NAME(load)(own) + product[i]);
        }
    }
    NAME(owner_normalised_backward)(net->vectors[4], at->hidden, c, kept[1], scales[1], of_middle, sums->layers[1]);
    NAME(to_rows)(of_middle, c, sums->rows + sums->blocks * c * WIDTH);
    NAME(owner_product)(net->middle[1], NULL, c, of_middle, of_first, NULL);
    NAME(owner_normalised_backward)(net->vectors[1], at->hidden, c, kept[0], scales[0], of_first, sums->layers[0]);
    NAME(to_rows)(of_first, c, block->rows);
    for (size i = 0; i < block->filled; i++) {
        const size b = block->pair[i], place = b * at->graphs * at->nodes + block->entry[i];
        const size own = ((b - first) * at->samples + block->sample[i]) * each;
        const float *g = block->rows + i * c;
        uint64_t parents = at->parents[place];
        if (block->lost[i]) *block->lost[i] += scores[i];
        of->mean[b * latents + m] += of_mean[i];
        of->variance[b * latents + m] += of_variance[i];
        for (float *to = of_terms + own; to < of_terms + own + each; to += subset, parents >>= TOGETHER) {
            float *row = to + (parents & (SUBSETS - 1)) * c;
            for (size f = 0; f < c; f += LANES) NAME(store)(row + f, NAME(load)(row + f) + NAME(load)(g + f));
        }
        if (at->target[place] >= 0) {
            float *row = sums->first + (latents + at->target[place]) * c;
            for (size f = 0; f < c; f += LANES) NAME(store)(row + f, NAME(load)(row + f) + NAME(load)(g + f));
        }
        if (!of->graphs) continue;
        const size node = block->entry[i]; /* entries of the first graph are apart */
        if (at->targets[b * at->nodes + node] != 0.0f) continue;
        for (size parent = 0; parent < at->nodes; parent++) {
            const float *without = terms + own + parent / TOGETHER * subset, *with = without + (1 << parent % TOGETHER) * c;
            vec sum = {};
            for (size f = 0; f < c; f += LANES)
                sum += (NAME(load)(with + f) - NAME(load)(without + f)) * NAME(load)(g + f);
            of->graphs[(b * at->nodes + parent) * at->nodes + node] += NAME(sum)(sum);
        }
    }
    block->filled = 0;
    if (++sums->blocks < OWNER_BLOCKS) return;
    NAME(owner_gram)(sums->blocks, c, sums->active, sums->rows, sums->middle);
    sums->blocks = 0;
}

/* sums = sum_f g[.][f] w[f] of count rows g, ldg apart, and a vector of columns of w, ldw apart. */
INLINE void NAME(dots_of)(const int count, const float *g, size ldg, size c, const float *w, size ldw, vec *sums) {
    vec sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) sum[i] = (vec){};
    for (size f = 0; f < c; f++) {
        const vec one = NAME(load)(w + f * ldw);
#pragma GCC unroll 8
        for (int i = 0; i < count; i++) sum[i] += g[i * ldg + f] * one;
    }
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) sums[i] = sum[i];
}

TARGET static void NAME(dots)(size count, const float *g, size ldg, size c, const float *w, size ldw, vec *sums) {
    for (; count >= 8; count -= 8, g += 8 * ldg, sums += 8) NAME(dots_of)(8, g, ldg, c, w, ldw, sums);
    switch (count) {
    case 7: NAME(dots_of)(7, g, ldg, c, w, ldw, sums); break;
    case 6: NAME(dots_of)(6, g, ldg, c, w, ldw, sums); break;
    case 5: NAME(dots_of)(5, g, ldg, c, w, ldw, sums); break;
    case 4: NAME(dots_of)(4, g, ldg, c, w, ldw, sums); break;
    case 3: NAME(dots_of)(3, g, ldg, c, w, ldw, sums); break;
    case 2: NAME(dots_of)(2, g, ldg, c, w, ldw, sums); break;
    case 1: NAME(dots_of)(1, g, ldg, c, w, ldw, sums); break;
    }
}

/* From the gradients of a few pairs' terms to those of the first map, of z and of who owns what. room: owner_few_pairs()
   samples (1 + tables) c and tables c floats. */
TARGET static void NAME(owner_terms_backward)(const owners *at, const of_owners *of, const owner_net *net, size c,
                                              size begin, size end, const float *of_terms, float *of_first, float *room) {
    const size latents = at->latents, samples = at->samples, nodes = at->nodes, tables = owner_tables(at);
    const size seen = (latents + LANES - 1) / LANES * LANES, later = latents + at->variables, each = (1 + tables) * c;
    const size n = (end - begin) * samples;
    float *sums = room + n * each;
    vec found[64];
    /* Of every sample what all entries give, and what those give that see a table. */
    for (size i = 0; i < n; i++) {
        float *to = room + i * each;
        for (size table = 0; table < tables; table += TOGETHER, of_terms += SUBSETS * c)
            for (size f = 0; f < c; f += LANES) {
                vec part[SUBSETS];
#pragma GCC unroll 8
                for (int k = 0; k < SUBSETS; k++) part[k] = NAME(load)(of_terms + k * c + f);
#pragma GCC unroll 4
                for (int t = TOGETHER - 1; t >= 0; t--) { /* the highest first: halves with it and without */
                    vec sum = {};
#pragma GCC unroll 4
                    for (int k = 0; k < 1 << t; k++) {
                        sum += part[(1 << t) + k];
                        part[k] += part[(1 << t) + k];
                    }
                    if (table + t < tables) NAME(store)(to + (1 + table + t) * c + f, sum);
                }
                if (table == 0) NAME(store)(to + f, part[0]);
            }
    }
    const float *z = at->z_t + begin * samples * latents, *z1 = at->z_t1 + begin * samples * latents;
    for (size j = 0; j < latents; j++)
        for (int own = 0; own <= at->own; own++)
            for (size f = 0; f < c; f += LANES) {
                float *past = of_first + j * c + f, *row = of_first + (later + 2 * own * latents + j) * c + f;
                vec sum = NAME(load)(row), mask = NAME(load)(row + latents * c), of_past = NAME(load)(past);
                const float *all = room + f, *at_z = z + j, *at_z1 = z1 + j;
                for (size b = begin; b < end; b++) {
                    const float *table = all + (1 + at->owner[b * latents + j] + own * nodes) * c;
                    for (size s = 0; s < samples; s++, all += each, table += each, at_z += latents, at_z1 += latents) {
                        const vec one = NAME(load)(table);
                        sum += *at_z1 * one;
                        mask += one;
                        if (own == 0) of_past += *at_z * NAME(load)(all);
                    }
                }
                NAME(store)(row, sum);
                NAME(store)(row + latents * c, mask);
                NAME(store)(past, of_past);
            }
    for (size j = 0; j < latents; j += LANES) {
        const size valid = latents - j;
        for (size i = 0; i < n; i += 8) {
            const size some = n - i < 8 ? n - i : 8;
            NAME(dots)(some, room + i * each, each, c, net->first_back[0] + j, seen, found);
            for (size k = 0; k < some; k++) {
                float *to = of->z_t + (begin * samples + i + k) * latents + j;
                NAME(put)(to, NAME(some)(to, valid) + found[k], valid);
            }
        }
        for (size b = begin; b < end; b++) {
            const float *own = room + (b - begin) * samples * each, *all = own + c;
            const ivec owner = (ivec)NAME(some)((const float *)at->owner + b * latents + j, valid);
            vec of_psi[64];
            if (samples > 1) {
                for (size k = 0; k < tables * c; k += LANES) {
                    vec sum = {};
                    for (size s = 0; s < samples; s++) sum += NAME(load)(own + s * each + c + k);
                    NAME(store)(sums + k, sum);
                }
                all = sums;
            }
            for (int side = 0; side <= at->own; side++)
                NAME(dots)(nodes, all + side * nodes * c, c, c, net->first_back[2 + 2 * side] + j, seen,
                           of_psi + side * nodes);
            for (size s = 0; s < samples; s++, own += each) {
                float *of_z1 = of->z_t1 + (b * samples + s) * latents + j;
                const vec value = NAME(some)(at->z_t1 + (b * samples + s) * latents + j, valid);
                vec sum = NAME(some)(of_z1, valid);
                for (int side = 0; side <= at->own; side++) {
                    NAME(dots)(nodes, own + (1 + side * nodes) * c, c, c, net->first_back[1 + 2 * side] + j, seen, found);
                    for (size node = 0; node < nodes; node++) {
                        of_psi[side * nodes + node] += found[node] * value;
                        sum += (vec)((ivec)found[node] & (ivec)(owner == (int32_t)node));
                    }
                }
                NAME(put)(of_z1, sum, valid);
            }
            for (size k = 0; k < tables; k++) {
                float *psi = of->psi + (b * nodes + k % nodes) * latents + j;
                NAME(put)(psi, NAME(some)(psi, valid) + of_psi[k], valid);
            }
        }
    }
}

/* From what was summed to the gradients of the parameters. */
TARGET static void NAME(owner_learned)(const owners *at, const of_owners *of, size m, size c, const owner_net *net,
                                       owner_sums *sums) {
    const size hidden = at->hidden, latents = at->latents, inputs = owner_inputs(at), published = 3 * latents + at->variables;
    float *first = of->learned[FIRST] + m * hidden * published, *middle = of->learned[MIDDLE] + m * hidden * hidden;
    const int vectors[2][3] = {{FIRST_GAIN, FIRST_OFFSET, FIRST_BIAS}, {MIDDLE_GAIN, MIDDLE_OFFSET, MIDDLE_BIAS}};
    for (int layer = 0; layer < 2; layer++)
        for (int i = 0; i < 3; i++) {
            float *to = of->learned[vectors[layer][i]] + m * hidden;
            for (size f = 0; f < hidden; f++) to[f] = NAME(sum)(NAME(load)(sums->layers[layer] + (i * c + f) * LANES));
            if (i == 2) centred(to, hidden);
        }
    memset(first, 0, sizeof(float) * hidden * published);
    for (size f = 0; f < hidden; f++)
        for (size j = 0; j < latents; j++) first[f * published + latents + j] = -of->learned[FIRST_BIAS][m * hidden + f];
    for (size i = 0; i < inputs; i++) {
        size column;
        const float factor = owner_input(at, m, i, &column);
        centred(sums->first + i * c, hidden);
        for (size f = 0; f < hidden; f++) first[f * published + column] += factor * sums->first[i * c + f];
    }
    for (size k = 0; k < hidden; k++) {
        centred(sums->middle + k * c, hidden);
        for (size o = 0; o < hidden; o++) middle[o * hidden + k] = sums->middle[k * c + o];
    }
    for (int i = 0; i < 2; i++) {
        for (size f = 0; f < hidden; f++)
            of->learned[LAST][(2 * m + i) * hidden + f] = NAME(sum)(NAME(load)(sums->last + (i * c + f) * LANES));
        of->learned[LAST_BIAS][2 * m + i] = sums->last_bias[i];
        of->learned[LOG_BOUNDS][2 * m + i] = sums->bound[i] * net->bound[i];
    }
}

/* By the network of latent m: where losses is set what it loses in every entry that is asked for, and if of is not NULL the
   gradients; those of z, psi and graphs are added to what is there. */
TARGET static void NAME(owner_pass)(const owners *at, const of_owners *of, int losses, size m, float *room) {
    const size c = NAME(owner_features)(at), latents = at->latents, nodes = at->nodes;
    const size samples = at->samples, inputs = owner_inputs(at), most = at->graphs * nodes;
    const size each = NAME(owner_terms_size)(at), chunk = NAME(owner_pairs)(at), few = NAME(owner_few_pairs)(at);
    owner_net net;
    owner_block block, taught_block;
    owner_sums sums = {.blocks = 0};
    int32_t *needed = (int32_t *)room, *taught = needed + most;
    float *weights = room + 2 * most, *of_pi = weights + most, *terms, *of_terms;
    terms = NAME(owner_weights)(at, m, of != NULL, &net, of_pi + nodes);
    of_terms = terms + chunk * samples * each;
    room = NAME(owner_block)(&block, c, of_terms + chunk * samples * each);
    float *pass = room;
    if (of) {
        room = sums.first = NAME(owner_block)(&taught_block, c, room + 2 * c * WIDTH);
        sums.middle = sums.first + inputs * c;
        sums.layers[0] = sums.middle + c * c;
        sums.layers[1] = sums.layers[0] + 3 * c * LANES;
        sums.last = sums.layers[1] + 3 * c * LANES;
        sums.active = sums.last + 2 * c * LANES;
        memset(room, 0, sizeof(float) * (sums.active - room));
        sums.rows = sums.active + OWNER_BLOCKS * c * WIDTH;
        for (int i = 0; i < 7; i++) sums.kept[i] = sums.rows + (OWNER_BLOCKS + i) * c * WIDTH;
        room = sums.kept[6] + c * WIDTH;
        memset(of_pi, 0, sizeof(float) * nodes);
    }
    for (size first = 0; first < at->pairs; first += chunk) {
        const size end = first + chunk < at->pairs ? first + chunk : at->pairs;
        const float *own = terms;
        NAME(owner_terms)(at, &net, first, end, terms);
        if (of) memset(of_terms, 0, sizeof(float) * (end - first) * samples * each);
        for (size b = first; b < end; b++) {
            const size pair = b * latents + m, known = at->counts[2 * b], all = at->counts[2 * b + 1];
            float *lost = owner_lost(at, b, m);
            size count = 0, taught_count = 0;
            if (of) {
                const float *value = at->weights + ((b < at->some ? 1 : 2) * latents + m) * nodes;
                const int32_t *which = at->which + b * most;
                float sum = 0.0f;
                memset(weights, 0, sizeof(float) * known);
                for (size k = 0; k < nodes; k++) {
                    weights[which[k]] += value[k];
                    sum += value[k];
                }
                of->mean[pair] = of->variance[pair] = 0.0f;
                of->less[pair] = -of->value[b] * sum;
                for (size e = 0; e < known; e++) {
                    taught[taught_count] = (int32_t)e;
                    taught_count += weights[e] != 0.0f;
                }
            }
            if (losses)
                for (size e = 0; e < all; e++) {
                    const int need = (e < known && b < at->some) || (at->asked[b * most + e] & at->likely[m]) != 0;
                    const int there = of && e < known && weights[e] != 0.0f;
                    needed[count] = (int32_t)e;
                    count += need && !there;
                    lost[e] = need ? -at->less[pair] : 0.0f;
                }
            for (size s = 0; s < samples; s++, own += each) {
                for (size k = 0; k < taught_count; k++) {
                    const size e = taught[k];
                    const size i = NAME(owner_fill)(at, &net, m, c, b, e, own, each, losses ? lost + e : NULL, &taught_block);
                    taught_block.weight[i] = of->value[b] * weights[e] / samples;
                    taught_block.pair[i] = b;
                    taught_block.sample[i] = s;
                    taught_block.entry[i] = e;
                    if (i + 1 == WIDTH)
                        NAME(owner_gradients)(at, of, &net, m, c, first, &taught_block, &sums, terms, of_terms);
                }
                for (size k = 0; k < count; k++)
                    if (NAME(owner_fill)(at, &net, m, c, b, needed[k], own, each, lost + needed[k], &block) + 1 == WIDTH)
                        NAME(owner_losses)(at, &net, c, &block, pass);
            }
        }
        if (block.filled) NAME(owner_losses)(at, &net, c, &block, pass);
        if (!of) continue;
        if (taught_block.filled)
            NAME(owner_gradients)(at, of, &net, m, c, first, &taught_block, &sums, terms, of_terms);
        for (size b = first; b < end; b++) {
            const float *lost = owner_lost(at, b, m), rare = b < at->some ? (float)at->pairs / at->some : 0.0f;
            for (size k = 0; k < nodes; k++)
                of_pi[k] += of->value[b] * lost[at->which[b * most + k]] * (at->likely[m] >> k & 1 ? 1.0f : rare);
        }
        for (size b = first; b < end; b += few)
            NAME(owner_terms_backward)(at, of, &net, c, b, b + few < end ? b + few : end,
                                       of_terms + (b - first) * samples * each, sums.first, room);
    }
    if (!of) return;
    memcpy(of->pi + m * nodes, of_pi, sizeof(float) * nodes);
    NAME(owner_gram)(sums.blocks, c, sums.active, sums.rows, sums.middle);
    NAME(owner_learned)(at, of, m, c, &net, &sums);
}

/* Add what other heaps hold to the first; each is a heap's count numbers. */
TARGET static void NAME(add_heaps)(size heaps, size count, size begin, size end, float *heap) {
    for (size block = begin; block < end; block += 2048) {
        const size stop = block + 2048 < end ? block + 2048 : end;
        for (size i = 1; i < heaps; i++)
            for (size k = block; k < stop; k += LANES)
                NAME(put)(heap + k, NAME(some)(heap + k, stop - k) + NAME(some)(heap + i * count + k, stop - k), stop - k);
    }
}
