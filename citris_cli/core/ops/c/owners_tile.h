/* What latents lose as those of every node under several graphs, by networks with LayerNorm and SiLU, and gradients.

   Samples lie beside each other in vectors while they pass through a network, so that sums over features are plain ones;
   before its first layer, features do. That layer is linear in what is seen, and sums are made of a few terms: one that
   all hypotheses and graphs share, one for every node whose latents are seen. */

#define TALL (LANES / 2) /* features of a product that are computed together */

/* To [c][WIDTH] from rows [WIDTH][c]; c is a multiple of 8. */
INLINE void NAME(to_columns)(const float *rows, size c, float *columns) {
    for (size r = 0; r < WIDTH; r += 8)
        for (size f = 0; f < c; f += 8) transposed_8(rows + r * c + f, c, columns + f * WIDTH + r, WIDTH);
}

/* And back. */
INLINE void NAME(to_rows)(const float *columns, size c, float *rows) {
    for (size f = 0; f < c; f += 8)
        for (size r = 0; r < WIDTH; r += 8) transposed_8(columns + f * WIDTH + r, WIDTH, rows + r * c + f, c);
}

/* Features of a hidden layer with those of 0 that fill up its last vector. */
static inline size NAME(owner_features)(const owners *at) { return (at->hidden + LANES - 1) / LANES * LANES; }

/* Pairs of frames whose terms stay in the second-level cache. */
static inline size NAME(owner_pairs)(const owners *at) {
    const size each = (1 + owner_tables(at)) * NAME(owner_features)(at) * at->samples, fit = 32768 / each;
    return fit < 1 ? 1 : fit < at->pairs ? fit : at->pairs;
}

/* Numbers of which a network's weights, what is summed of their gradients, and a block's activations are made. */
static inline size NAME(owner_room)(const owners *at) {
    const size c = NAME(owner_features)(at), inputs = owner_inputs(at), seen = (at->latents + LANES - 1) / LANES * LANES;
    const size terms = NAME(owner_pairs)(at) * at->samples * (1 + owner_tables(at)) * c;
    const size weights = 2 * inputs * c + 2 * c * c + 8 * c + c * seen * (inputs / at->latents);
    const size sums = inputs * c + c * c + 8 * c * LANES, blocks = (10 + 2 * OWNER_BLOCKS) * c * WIDTH;
    return 2 * terms + weights + sums + blocks + 8 * WIDTH + 4 * seen;
}

/* The weights of network m, filled up with zeros. back: for the gradients as well. Returns the room that is left. */
TARGET static float *NAME(owner_weights)(const owners *at, size m, int back, owner_net *net, float *room) {
    const size hidden = at->hidden, c = NAME(owner_features)(at), inputs = owner_inputs(at), latents = at->latents;
    const size seen = (latents + LANES - 1) / LANES * LANES;
    const float *first = at->layers[FIRST] + m * inputs * hidden, *middle = at->layers[MIDDLE] + m * hidden * hidden;
    const int vectors[] = {FIRST_BIAS, FIRST_GAIN, FIRST_OFFSET, MIDDLE_BIAS, MIDDLE_GAIN, MIDDLE_OFFSET};
    net->first = room;
    for (size i = 0; i < inputs; i++, room += c) {
        memset(room, 0, sizeof(float) * c);
        memcpy(room, first + i * hidden, sizeof(float) * hidden);
    }
    for (int i = 0; i < 6; i++, room += c) {
        net->vectors[i] = room;
        memset(room, 0, sizeof(float) * c);
        memcpy(room, at->layers[vectors[i]] + m * hidden, sizeof(float) * hidden);
    }
    for (int i = 0; i < 2; i++, room += c) {
        net->last[i] = room;
        memset(room, 0, sizeof(float) * c);
        for (size f = 0; f < hidden; f++) room[f] = at->layers[LAST][(m * hidden + f) * 2 + i];
        net->last_bias[i] = at->layers[LAST_BIAS][2 * m + i];
        net->bound[i] = at->layers[BOUNDS][2 * m + i];
    }
    for (int transposed = 0; transposed <= back; transposed++, room += c * c) {
        net->middle[transposed] = room;
        memset(room, 0, sizeof(float) * c * c);
        for (size k = 0; k < hidden; k++)
            for (size o = 0; o < hidden; o++) {
                const size from = transposed ? o : k, to = transposed ? k : o;
                room[(to / TALL * c + from) * TALL + to % TALL] = middle[k * hidden + o];
            }
    }
    /* Of every part of the first map that has a column for each latent, [c][seen]. */
    for (size part = 0; back && part < (at->own ? 5 : 3); part++, room += c * seen) {
        const size begin = part * latents + (part ? at->variables : 0);
        net->first_back[part] = room;
        memset(room, 0, sizeof(float) * c * seen);
        for (size j = 0; j < latents; j++)
            for (size f = 0; f < hidden; f++) room[f * seen + j] = first[(begin + j) * hidden + f];
    }
    return room;
}

/* y = W x + bias of samples side by side, [c][WIDTH]. */
INLINE void NAME(owner_product)(const float *packed, const float *bias, size c, const float *x, float *y) {
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
        }
    }
}

/* What LayerNorm multiplies values of mean 0 by. */
INLINE void NAME(owner_scale)(size hidden, size c, const float *x, vec scale[2]) {
    vec sum[2][2] = {{{0}}};
    for (size f = 0; f < c; f += 2)
        for (int i = 0; i < 4; i++) {
            const vec one = NAME(load)(x + f * WIDTH + i * LANES);
            sum[i / 2][i % 2] += one * one;
        }
    for (int i = 0; i < 2; i++) scale[i] = 1.0f / SQRT((sum[0][i] + sum[1][i]) / (float)hidden + 1e-5f);
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
        if (layer) {
            NAME(owner_product)(net->middle[0], net->vectors[3], c, kept[0][2], kept[1][0]);
            x = kept[1][0];
        }
        NAME(owner_scale)(hidden, c, x, scales[layer]);
        for (size f = 0; f < c; f++)
            for (int l = 0; l < 2; l++) {
                const size place = f * WIDTH + l * LANES;
                const vec normal = NAME(load)(x + place) * scales[layer][l], z = normal * gain[f] + offset[f];
                const vec s = NAME(sigmoid)(z), value = z * s;
                if (keep) {
                    NAME(store)(kept[layer][0] + place, normal);
                    NAME(store)(kept[layer][1] + place, s + value * (1.0f - s));
                }
                if (keep || !layer) NAME(store)(kept[layer][2] + place, value);
                if (layer) {
                    out[0][l] += net->last[0][f] * value;
                    out[1][l] += net->last[1][f] * value;
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

/* Terms of the first layer for some pairs: of every pair and sample the one that all share, and those of the tables. */
TARGET static void NAME(owner_terms)(const owners *at, const owner_net *net, size first, size end, float *terms) {
    const size c = NAME(owner_features)(at), latents = at->latents, tables = owner_tables(at);
    const float *later = net->first + (latents + at->variables) * c, *earlier_own = later + 2 * latents * c;
    for (size b = first; b < end; b++)
        for (size s = 0; s < at->samples; s++, terms += (1 + tables) * c) {
            const float *z = at->z_t + (b * at->samples + s) * latents, *z1 = at->z_t1 + (b * at->samples + s) * latents;
            const int32_t *owner = at->owner + b * latents;
            memset(terms + c, 0, sizeof(float) * tables * c);
            for (size f = 0; f < c; f += WIDTH) {
                const int two = f + LANES < c;
                vec sum[2] = {NAME(load)(net->vectors[0] + f), two ? NAME(load)(net->vectors[0] + f + LANES) : (vec){}};
                for (size j = 0; j < latents; j++) {
                    const float *w = net->first + j * c + f;
                    sum[0] += z[j] * NAME(load)(w);
                    if (two) sum[1] += z[j] * NAME(load)(w + LANES);
                }
                NAME(store)(terms + f, sum[0]);
                if (two) NAME(store)(terms + f + LANES, sum[1]);
            }
            for (size j = 0; j < latents; j++)
                for (int own = 0; own <= at->own; own++) {
                    const float *w = (own ? earlier_own : later) + j * c;
                    float *term = terms + (1 + owner[j] + own * at->nodes) * c;
                    for (size f = 0; f < c; f += LANES)
                        NAME(store)(term + f, NAME(load)(term + f) + z1[j] * NAME(load)(w + f) +
                                                  NAME(load)(w + latents * c + f));
                }
        }
}

/* What one sample of an entry gives the first LayerNorm: the shared term, and those of its count tables. */
INLINE void NAME(owner_row)(const float *terms, size c, const float *target, const int *tables, int count, float *row) {
    for (size f = 0; f < c; f += LANES) {
        vec sum = NAME(load)(terms + f);
        if (target) sum += NAME(load)(target + f);
        for (int i = 0; i < count; i++) sum += NAME(load)(terms + (1 + tables[i]) * c + f);
        NAME(store)(row + f, sum);
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

/* Fill in sample s of an entry of pair b, terms being those of that sample. Whether the block is full. */
INLINE int NAME(owner_fill)(const owners *at, const owner_net *net, size m, size c, size b, size s, size place,
                            const float *terms, const int *tables, int count, float weight, owner_block *block) {
    const int32_t target = at->target[place];
    const size i = block->filled++;
    NAME(owner_row)(terms, c, target < 0 ? NULL : net->first + (at->latents + target) * c, tables, count,
                    block->rows + i * c);
    block->mean[i] = at->mean[b * at->latents + m];
    block->variance[i] = at->variance[b * at->latents + m];
    block->weight[i] = weight;
    block->place[i] = place;
    block->sample[i] = b * at->samples + s;
    return block->filled == WIDTH;
}

/* What latent m loses in a block's samples. */
TARGET static void NAME(owner_losses)(const owners *at, const owner_net *net, size m, size c, owner_block *block,
                                      float *room) {
    float *const kept[2][3] = {{NULL, NULL, room}, {room + c * WIDTH, NULL, NULL}}, scores[WIDTH];
    vec scales[2][2], out[2][2], bent[2], precision;
    NAME(to_columns)(block->rows, c, block->x);
    NAME(owner_layers)(net, at->hidden, c, block->x, kept, 0, scales, out);
    for (int l = 0; l < 2; l++) {
        const vec last[2] = {out[0][l], out[1][l]};
        const vec score = NAME(owner_score)(net, last, NAME(load)(block->mean + l * LANES),
                                            NAME(load)(block->variance + l * LANES), bent, &precision);
        NAME(store)(scores + l * LANES, score / (float)at->samples);
    }
    for (size i = 0; i < block->filled; i++) at->lost[block->place[i] * at->latents + m] += scores[i];
    block->filled = 0;
}

/* What latent m loses in every entry that is asked for. */
TARGET static void NAME(owner_forward)(const owners *at, size m, float *room) {
    const size c = NAME(owner_features)(at), latents = at->latents;
    const size each = (1 + owner_tables(at)) * c, chunk = NAME(owner_pairs)(at);
    owner_net net;
    owner_block block;
    float *terms = NAME(owner_weights)(at, m, 0, &net, room);
    room = NAME(owner_block)(&block, c, terms + chunk * at->samples * each);
    for (size first = 0; first < at->pairs; first += chunk) {
        const size end = first + chunk < at->pairs ? first + chunk : at->pairs;
        NAME(owner_terms)(at, &net, first, end, terms);
        for (size b = first; b < end; b++)
            for (size e = 0; e < at->counts[2 * b + 1]; e++) {
                const size place = b * at->graphs * at->nodes + e;
                float *lost = at->lost + place * latents + m;
                *lost = 0.0f;
                if (!owner_needed(at, b, e, m)) continue;
                *lost = -at->less[b * latents + m];
                int tables[64];
                const int count = bits_of(at->seen[place], tables);
                for (size s = 0; s < at->samples; s++)
                    if (NAME(owner_fill)(at, &net, m, c, b, s, place, terms + ((b - first) * at->samples + s) * each,
                                         tables, count, 0.0f, &block))
                        NAME(owner_losses)(at, &net, m, c, &block, room);
            }
    }
    if (block.filled) NAME(owner_losses)(at, &net, m, c, &block, room);
}

/* Of pair b, value = sum_m sum_k w_mk D_k,m under its first graph, and sum_m pi_mk D_k,m under every graph. */
TARGET static void NAME(owner_sums)(const owners *at, size b, float *value, float *losses) {
    const size latents = at->latents, nodes = at->nodes, number = at->graphs * nodes;
    vec total = {};
    for (size g = 0; g < number; g++) {
        const float *lost = at->lost + (b * number + at->which[b * number + g]) * latents;
        const float *asked = at->weights + g % nodes * latents;
        const float *taught = asked + (b < at->some ? 1 : 2) * nodes * latents;
        vec sum = {};
        for (size j = 0; j < latents; j += LANES) {
            const vec one = NAME(some)(lost + j, latents - j);
            sum += one * NAME(some)(asked + j, latents - j);
            if (g < nodes) total += one * NAME(some)(taught + j, latents - j);
        }
        losses[b * number + g] = NAME(sum)(sum);
    }
    value[b] = NAME(sum)(total);
}

/* Gradients of a block's samples: of the network in sums, of the terms in of_terms, those of pair first first. */
TARGET static void NAME(owner_gradients)(const owners *at, const of_owners *of, const owner_net *net, size m, size c,
                                         size first, owner_block *block, owner_sums *sums, const float *terms,
                                         float *of_terms) {
    const size samples = at->samples, latents = at->latents, each = (1 + owner_tables(at)) * c;
    float *const kept[2][3] = {{sums->kept[0], sums->kept[1], sums->active + sums->blocks * c * WIDTH},
                               {sums->kept[2], sums->kept[3], sums->kept[4]}};
    float *of_middle = sums->kept[5], *of_first = sums->kept[6], of_mean[WIDTH], of_variance[WIDTH];
    vec scales[2][2], out[2][2], slope[2][2];
    for (size i = block->filled; i < WIDTH; i++) block->weight[i] = 0.0f;
    NAME(to_columns)(block->rows, c, block->x);
    NAME(owner_layers)(net, at->hidden, c, block->x, kept, 1, scales, out);
    for (int l = 0; l < 2; l++) {
        const vec last[2] = {out[0][l], out[1][l]}, z_mean = NAME(load)(block->mean + l * LANES);
        const vec variance = NAME(load)(block->variance + l * LANES), w = NAME(load)(block->weight + l * LANES);
        vec bent[2], precision;
        NAME(owner_score)(net, last, z_mean, variance, bent, &precision);
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
    NAME(owner_product)(net->middle[1], NULL, c, of_middle, of_first);
    NAME(owner_normalised_backward)(net->vectors[1], at->hidden, c, kept[0], scales[0], of_first, sums->layers[0]);
    NAME(to_rows)(of_first, c, block->rows);
    for (size i = 0; i < block->filled; i++) {
        const size place = block->place[i], b = block->sample[i] / samples, own = block->sample[i] - first * samples;
        const float *g = block->rows + i * c;
        float *to = of_terms + own * each, *target = sums->first + (latents + at->target[place]) * c;
        int tables[64];
        const int count = bits_of(at->parents[place], tables);
        of->mean[b * latents + m] += of_mean[i];
        of->variance[b * latents + m] += of_variance[i];
        for (size f = 0; f < c; f += LANES) {
            const vec one = NAME(load)(g + f);
            NAME(store)(to + f, NAME(load)(to + f) + one);
            if (at->target[place] >= 0) NAME(store)(target + f, NAME(load)(target + f) + one);
            for (int t = 0; t < count; t++) {
                float *table = to + (1 + tables[t]) * c + f;
                NAME(store)(table, NAME(load)(table) + one);
            }
        }
        if (!of->graphs) continue;
        const size node = place - b * at->graphs * at->nodes; /* entries of the first graph are apart */
        if (at->targets[b * at->nodes + node] != 0.0f) continue;
        for (size parent = 0; parent < at->nodes; parent++) {
            const float *term = terms + own * each + (1 + parent) * c;
            vec sum = {};
            for (size f = 0; f < c; f += LANES) sum += NAME(load)(term + f) * NAME(load)(g + f);
            of->graphs[(b * at->nodes + parent) * at->nodes + node] += NAME(sum)(sum);
        }
    }
    block->filled = 0;
    if (++sums->blocks < OWNER_BLOCKS) return;
    NAME(owner_gram)(sums->blocks, c, sums->active, sums->rows, sums->middle);
    sums->blocks = 0;
}

/* From the gradients of one sample's terms to those of the first map, of z and of who owns what. used: whose are not 0. */
TARGET static void NAME(owner_terms_backward)(const owners *at, const of_owners *of, const owner_net *net, size c,
                                              size b, size s, uint64_t used, const float *of_terms, float *of_first) {
    const size latents = at->latents, place = (b * at->samples + s) * latents, nodes = at->nodes;
    const size seen = (latents + LANES - 1) / LANES * LANES, later = latents + at->variables;
    const float *z = at->z_t + place, *z1 = at->z_t1 + place;
    const int32_t *owner = at->owner + b * latents;
    for (size j = 0; j < latents; j++)
        for (size f = 0; f < c; f += LANES) {
            float *own = of_first + j * c + f;
            NAME(store)(own, NAME(load)(own) + z[j] * NAME(load)(of_terms + f));
        }
    for (size j = 0; j < latents; j += LANES) {
        vec sum = NAME(some)(of->z_t + place + j, latents - j);
        for (size f = 0; f < c; f++) sum += of_terms[f] * NAME(load)(net->first_back[0] + f * seen + j);
        NAME(put)(of->z_t + place + j, sum, latents - j);
    }
    for (int own = 0; own <= at->own; own++) {
        for (size j = 0; j < latents; j++) {
            const size table = owner[j] + own * nodes;
            if (!(used >> table & 1)) continue;
            const float *g = of_terms + (1 + table) * c;
            float *to = of_first + (later + 2 * own * latents + j) * c;
            for (size f = 0; f < c; f += LANES) {
                const vec one = NAME(load)(g + f);
                NAME(store)(to + f, NAME(load)(to + f) + z1[j] * one);
                NAME(store)(to + latents * c + f, NAME(load)(to + latents * c + f) + one);
            }
        }
        for (size node = 0; node < nodes; node++) {
            if (!(used >> (node + own * nodes) & 1)) continue;
            const float *g = of_terms + (1 + node + own * nodes) * c;
            for (size j = 0; j < latents; j += LANES) {
                const size valid = latents - j;
                const float *of_value = net->first_back[1 + 2 * own] + j, *of_mask = net->first_back[2 + 2 * own] + j;
                vec value = {}, mask = {};
                for (size f = 0; f < c; f++) {
                    value += g[f] * NAME(load)(of_value + f * seen);
                    mask += g[f] * NAME(load)(of_mask + f * seen);
                }
                float *psi = of->psi + (b * nodes + node) * latents + j;
                NAME(put)(psi, NAME(some)(psi, valid) + value * NAME(some)(z1 + j, valid) + mask, valid);
                for (size i = 0; i < valid && i < LANES; i++)
                    if (owner[j + i] == node) of->z_t1[place + j + i] += value[i];
            }
        }
    }
}

/* Gradients by the network of latent m; of z, psi and graphs they are added to. */
TARGET static void NAME(owner_backward)(const owners *at, const of_owners *of, size m, float *room) {
    const size c = NAME(owner_features)(at), hidden = at->hidden, latents = at->latents, nodes = at->nodes;
    const size samples = at->samples, inputs = owner_inputs(at), most = at->graphs * nodes;
    const size each = (1 + owner_tables(at)) * c, chunk = NAME(owner_pairs)(at);
    owner_net net;
    owner_block block;
    owner_sums sums = {.blocks = 0};
    float *terms = NAME(owner_weights)(at, m, 1, &net, room), *of_terms = terms + chunk * samples * each;
    room = sums.first = NAME(owner_block)(&block, c, of_terms + chunk * samples * each);
    sums.middle = sums.first + inputs * c;
    sums.layers[0] = sums.middle + c * c;
    sums.layers[1] = sums.layers[0] + 3 * c * LANES;
    sums.last = sums.layers[1] + 3 * c * LANES;
    sums.active = sums.last + 2 * c * LANES;
    memset(room, 0, sizeof(float) * (sums.active - room));
    sums.rows = sums.active + OWNER_BLOCKS * c * WIDTH;
    for (int i = 0; i < 7; i++) sums.kept[i] = sums.rows + (OWNER_BLOCKS + i) * c * WIDTH;
    for (size k = 0; k < nodes; k++) of->pi[m * nodes + k] = 0.0f;
    for (size first = 0; first < at->pairs; first += chunk) {
        const size end = first + chunk < at->pairs ? first + chunk : at->pairs;
        NAME(owner_terms)(at, &net, first, end, terms);
        memset(of_terms, 0, sizeof(float) * (end - first) * samples * each);
        for (size b = first; b < end; b++) {
            const float g = of->value[b], *taught = at->weights + (b < at->some ? 1 : 2) * nodes * latents + m;
            const size pair = b * latents + m;
            of->mean[pair] = of->variance[pair] = of->less[pair] = 0.0f;
            for (size k = 0; k < nodes; k++) {
                const float weight = taught[k * latents], lost = at->lost[(b * most + at->which[b * most + k]) * latents + m];
                of->less[pair] -= g * weight;
                if (weight != 0.0f) of->pi[m * nodes + k] += g * lost * weight / (at->pi[m * nodes + k] + at->floor);
            }
            for (size e = 0; e < at->counts[2 * b]; e++) {
                const size place = b * most + e;
                int tables[64], count = bits_of(at->taught[place], tables);
                float weight = 0.0f;
                for (int i = 0; i < count; i++) weight += taught[tables[i] * latents];
                if (weight == 0.0f) continue;
                count = bits_of(at->seen[place], tables);
                for (size s = 0; s < samples; s++)
                    if (NAME(owner_fill)(at, &net, m, c, b, s, place, terms + ((b - first) * samples + s) * each,
                                         tables, count, g * weight / samples, &block))
                        NAME(owner_gradients)(at, of, &net, m, c, first, &block, &sums, terms, of_terms);
            }
        }
        if (block.filled) NAME(owner_gradients)(at, of, &net, m, c, first, &block, &sums, terms, of_terms);
        for (size b = first; b < end; b++) {
            uint64_t used = 0;
            for (size e = 0; e < at->counts[2 * b]; e++) used |= at->parents[b * most + e];
            for (size s = 0; s < samples; s++)
                NAME(owner_terms_backward)(at, of, &net, c, b, s, used, of_terms + ((b - first) * samples + s) * each,
                                           sums.first);
        }
    }
    NAME(owner_gram)(sums.blocks, c, sums.active, sums.rows, sums.middle);
    for (size i = 0; i < inputs; i++)
        memcpy(of->layers[FIRST] + (m * inputs + i) * hidden, sums.first + i * c, sizeof(float) * hidden);
    for (size i = 0; i < hidden; i++)
        memcpy(of->layers[MIDDLE] + (m * hidden + i) * hidden, sums.middle + i * c, sizeof(float) * hidden);
    for (int layer = 0; layer < 2; layer++) {
        float *const to[] = {of->layers[layer ? MIDDLE_GAIN : FIRST_GAIN], of->layers[layer ? MIDDLE_OFFSET : FIRST_OFFSET],
                             of->layers[layer ? MIDDLE_BIAS : FIRST_BIAS]};
        for (int i = 0; i < 3; i++)
            for (size f = 0; f < hidden; f++)
                to[i][m * hidden + f] = NAME(sum)(NAME(load)(sums.layers[layer] + (i * c + f) * LANES));
    }
    for (int i = 0; i < 2; i++) {
        for (size f = 0; f < hidden; f++)
            of->layers[LAST][(m * hidden + f) * 2 + i] = NAME(sum)(NAME(load)(sums.last + (i * c + f) * LANES));
        of->layers[LAST_BIAS][2 * m + i] = sums.last_bias[i];
        of->layers[BOUNDS][2 * m + i] = sums.bound[i];
    }
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
