/* What a training step computes, value and gradients, and Winograd's transforms, in float32 on x86-64.

   A structured map is a matrix W [outputs, inputs] of which row r is zero outside the columns lo[r] <= k < hi[r]: masked
   autoregressive maps are of this kind, and so are networks side by side, one a latent. Libraries multiply by the zeros,
   or take blocks one by one; here a tile of a product sums over what its rows see. Of a network's activations one is kept,
   what goes into the second SiLU; all others are computed again for the gradients, which takes less time than memory
   does.

   Every function exists for AVX-512 and for AVX2 (the files *_tile.h); level() says which of them a processor has.
   Called by the modules of the folder above, which know the sizes. Nothing here allocates; threads are OpenMP's, as
   PyTorch's are. */

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

typedef int64_t size;

/* Neighbouring columns of a product, two vectors of them, and for each vector the range of the sum that any of its
   columns needs: first[0] <= first[1] <= stop[0] <= stop[1]. */
typedef struct {
    int32_t column, width, first[2], stop[2];
} panel;

/* A structured map. Row r of w begins with column 0, or where own is set with column lo[r]; rows are ldw apart. own: of
   how many neighbouring rows each the columns are seen, where no other row sees them; else 0. */
typedef struct {
    const float *w, *bias;
    const int32_t *lo, *hi;
    const panel *panels[2]; /* of x W^T, and of g W */
    float *packed[2];       /* room for these panels, see pack() */
    size ldw, own, outputs, inputs, count[2];
} map;

/* Whether its rows have columns of their own two by two: too few for tiles, and for panels. */
static inline int in_pairs(const map *m) { return m->own == 2; }

/* middle = W2 SiLU(W1 x + b1) + b2, out = W3 SiLU(middle) + b3. Rows of middle, which is kept for the gradients, are ld
   apart. */
typedef struct {
    map maps[3];
    float *middle;
    size ld;
} network;

/* Where the gradients of its parameters go. */
typedef struct {
    float *weights[3], *biases[3];
} of_network;

/* moved = A x + b, out = net(moved), and y from both by affine(): rows of m numbers, of out 2 m, without gaps. What A, b
   and c (bound) are made of: see fold(); without a linear map permutation is NULL. weight and room have m m and m (m + 2)
   floats. */
typedef struct {
    network net;
    map linear;
    const float *bias, *log_scale, *scaling, *lower, *upper, *log_diagonal, *permutation, *sign, *x;
    float *bound, *weight, *room, *constant, *moved, *out, *y;
} layer;

typedef struct {
    of_network net;
    float *bias, *log_scale, *scaling, *lower, *upper, *log_diagonal, *matrix, *shift, *bound;
} of_layer;

/* A classifier's linear map and, but for the last, the normalisation after it: (u - mean) scales gain + offset. Rows of
   what is kept of the samples are as far apart as classifier() says. */
typedef struct {
    map linear;
    const float *gain, *offset;
    float *normal, *active, *slopes, *scales;
} stage;

typedef struct {
    float *weight, *bias, *gain, *offset;
} of_stage;

/* What a classifier sees: windows of latents z [B, steps + 1, M], of each a sampled assignment [B, M, K + 1] and targets
   [B, steps, K], means of targets I_i [K] and, where it counts, given I_j = v [j, v, i]; its rows x [B steps (K + 2), 3 M]
   made of these; and where the gradients go. */
typedef struct {
    size windows, steps, latents, variables;
    const float *z, *sample, *targets, *mean, *conditional_mean;
    float *x, *of_x, *of_z, *of_sample;
} sights;

/* A prior of M latents and K variables, and what it scores: its means and log standard deviations out [rows, S, M, 2],
   samples z of the later frame [rows, S, M], targets [rows, K], p [M, K+1], and those of intervened latents [M, K, 2];
   if they have components, those of each and the logarithm of its weight [M, K, components, 3].
   observed takes the scores without intervention [rows, M]. Scores are higher by pull (1 - mean_m p[m,0]). */
typedef struct {
    size rows, samples, latents, variables, components;
    const float *out, *z, *targets, *probabilities, *intervened;
    float *observed, regulariser, pull;
} prior;

/* A parameter p of so many numbers, AdamW's running means m of its gradient and v of its square, how many steps it has
   taken, of which group it is and that one's settings; and for the step that is being taken, see adamw(): its gradient g,
   of how many numbers, rate = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t), and how much of p stays. */
typedef struct {
    float *p, *m, *v, *steps;
    size numbers, group;
    double beta1, beta2, weight_decay, epsilon;
    const float *g;
    size count;
    float rate, root, decay;
} parameter;

/* The parameters of iCITRIS's owner networks, in the order of OwnerNetworks.learned(). */
enum {
    FIRST, FIRST_BIAS, MIDDLE, MIDDLE_BIAS, LAST, LAST_BIAS, FIRST_GAIN, FIRST_OFFSET, MIDDLE_GAIN, MIDDLE_OFFSET,
    LOG_BOUNDS, LEARNED
};

/* What graph_losses() is of: pairs of frames with samples z_t and z_t1 [B, S, M], targets [B, N] of the nodes, of which
   the first so many variables can have any, psi [B, M, N], drawn graphs [B, n, N, N], pi [M, N], and what is scored: mean,
   variance and what is less [B, M]. own: whether a latent sees the ones before it of its own node.
   apart: whether no two nodes are one entry under the first graph. Of a latent that is a node's with less than unlikely
   only the first some pairs are asked, and count for all.

   What networks see of a pair is an entry: of which tables of latents, as bits, and which variable was set, or -1. Tables
   are the nodes' latents, and where own is set, again those of them that come before. Of each pair there is room for n N:
   parents as they were drawn, and seen without nodes that own nothing; the nodes that ask for it in any graph; counts has
   how many the first graph has, and how many there are; which [B, n, N] is the entry of a node. owner [B, M] is the node of every latent, order [B, M] has the
   latents by their owners, from start [B, N + 1] on. lost [B, M, n N] takes what latents lose. weights [3, M, N]: of losses,
   and of values in the first some pairs and in the others. */
typedef struct {
    size pairs, samples, latents, variables, nodes, graphs, hidden, some, own, apart;
    const float *z_t, *z_t1, *targets, *psi, *drawn, *pi, *mean, *variance, *less, *learned[LEARNED];
    uint64_t *parents, *seen, *asked, *likely;
    int32_t *owner, *target, *which, *counts, *order, *start;
    float *lost, *weights, unlikely, floor;
} owners;

/* Where the gradients go, for those of the values: of z_t, z_t1, psi [B, N, M] and, if not NULL, the first graphs [B, N, N]
   there is a heap for some networks, one after the other. */
typedef struct {
    const float *value;
    float *learned[LEARNED], *z_t, *z_t1, *psi, *graphs, *pi, *mean, *variance, *less;
} of_owners;

/* A network for the functions of owners_tile.h, with padded weights. */
typedef struct {
    float *first, *vectors[6], *last[2], *nothing, *middle[2], *first_back[5], last_bias[2], bound[2];
} owner_net;

/* Samples that go through a network together: what goes into it are sums of three parts. */
typedef struct {
    const float *parts[3][32];
    float *rows, *x, *mean, *variance, *weight, *lost[32];
    size filled, pair[32], sample[32], entry[32];
} owner_block;

/* Blocks of which gradients of weights are computed together. */
#define OWNER_BLOCKS 4

/* What is summed of a network's gradients, and what is kept of blocks on the way. */
typedef struct {
    float *first, *middle, *layers[2], *last, *active, *rows, *kept[7], last_bias[2], bound[2];
    size blocks;
} owner_sums;

static inline size owner_tables(const owners *at) { return at->nodes * (1 + at->own); }
static inline size owner_inputs(const owners *at) { return at->latents * (3 + 2 * at->own) + at->variables; }

/* The input of the published first map, z v, 2 v - 1, targets and the past, that an input of ours is of, and its factor there.
   Ours are the past and targets, then of later latents that are seen z and 1, and where own is set both of those of the
   same node that come before m. */
static inline float owner_input(const owners *at, size m, size input, size *published) {
    const size latents = at->latents, variables = at->variables;
    if (input < latents + variables) {
        *published = input < latents ? 2 * latents + variables + input : latents + input;
        return 1.0f;
    }
    const size later = input - latents - variables, j = later % latents, part = later / latents;
    *published = part % 2 * latents + j;
    return (part < 2 ? j != m : j < m) ? 1.0f + part % 2 : 0.0f;
}

/* Numbers less their mean, which LayerNorm takes away from what they give. */
static inline void centred(float *x, size n) {
    float mean = 0.0f;
    for (size i = 0; i < n; i++) mean += x[i];
    mean /= n;
    for (size i = 0; i < n; i++) x[i] -= mean;
}

/* What latent m loses in the entries of pair b. */
static inline float *owner_lost(const owners *at, size b, size m) {
    return at->lost + (b * at->latents + m) * at->graphs * at->nodes;
}

/* Tables of which the sum of every subset is a term. */
#define TOGETHER 3
#define SUBSETS (1 << TOGETHER)

/* The hash of the sources that this was compiled of: setup.py gives it, and library.py compares it with its own. */
#ifndef CITRIS_SOURCES
#define CITRIS_SOURCES ""
#endif
const char *sources(void) { return CITRIS_SOURCES; }

/* Bytes of the structures above, in the order of STRUCTURES in c_types.py. */
void structure_sizes(size *sizes) {
    const size known[] = {sizeof(map),   sizeof(network),  sizeof(of_network), sizeof(layer), sizeof(of_layer),
                          sizeof(stage), sizeof(of_stage), sizeof(sights),     sizeof(prior), sizeof(parameter),
                          sizeof(owners), sizeof(of_owners)};
    memcpy(sizes, known, sizeof(known));
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* Eight rows of eight numbers as columns. */
__attribute__((target("avx2,fma"), always_inline)) static inline void transposed_8(__m256 rows[8]) {
    __m256 a[8], b[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const int at = i / 2 * 4 + i % 2;
        b[2 * i] = _mm256_shuffle_ps(a[at], a[at + 2], 0x44);
        b[2 * i + 1] = _mm256_shuffle_ps(a[at], a[at + 2], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,fma")))
#define LANES 16
#define ROWS 14
#define MIN _mm512_min_ps
#define LEAST(x, y) _mm512_min_epi32((__m512i)(x), (__m512i)(y))
#define MAX _mm512_max_ps
#define RECIPROCAL _mm512_rcp14_ps
#define ROUND(x) _mm512_roundscale_ps(x, 0)
#define SCALE _mm512_scalef_ps
#define SQRT _mm512_sqrt_ps
#define SUM _mm512_reduce_add_ps
#define MASKED_LOAD(p, valid) _mm512_maskz_loadu_ps((__mmask16)((1u << (valid)) - 1), p)
#define MASKED_STORE(p, v, valid) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (valid)) - 1), v)
#include "kernels_tile.h"
#include "assignment_tile.h"
#include "flow_tile.h"
#include "classifier_tile.h"
#include "prior_tile.h"
#include "adamw_tile.h"
#include "winograd_tile.h"
#include "owners_tile.h"
#undef TALL
#undef NAME
#undef WIDTH
#undef vec
#undef ivec
#undef INLINE
#undef TARGET
#undef LANES
#undef ROWS
#undef MIN
#undef LEAST
#undef MAX
#undef RECIPROCAL
#undef ROUND
#undef SCALE
#undef SQRT
#undef SUM
#undef MASKED_LOAD
#undef MASKED_STORE

__attribute__((target("avx2,fma"))) static inline float sum_of_8(__m256 x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

#define NAME(f) f##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define MIN _mm256_min_ps
#define LEAST(x, y) _mm256_min_epi32((__m256i)(x), (__m256i)(y))
#define MAX _mm256_max_ps
#define RECIPROCAL _mm256_rcp_ps
#define SQRT _mm256_sqrt_ps
#define SUM sum_of_8
#define FIRST(valid) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(valid)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define MASKED_LOAD(p, valid) _mm256_maskload_ps(p, FIRST(valid))
#define MASKED_STORE(p, v, valid) _mm256_maskstore_ps(p, FIRST(valid), v)
#define ROUND(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define SCALE(p, n) ((p) * (vec)(((ivec)_mm256_cvtps_epi32(MAX((vec){} - 126.0f, n)) << 23) + 0x3f800000))
#include "kernels_tile.h"
#include "assignment_tile.h"
#include "flow_tile.h"
#include "classifier_tile.h"
#include "prior_tile.h"
#include "adamw_tile.h"
#include "winograd_tile.h"
#include "owners_tile.h"
#undef TALL

/* 2: AVX-512, 1: AVX2, 0: neither, and nothing else here may be called. */
int level(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#define CALL(level, f, ...) ((level) == 2 ? f##_avx512(__VA_ARGS__) : f##_avx2(__VA_ARGS__))

/* Columns of a panel, at most. */
size panel_width(int level) { return CALL(level, panel_width, ); }

/* Rows of samples that pass over all panels before the next ones do. */
size group_rows(int level) { return CALL(level, group_rows, ); }

/* work(0) … work(parts - 1) at the same time, each in a thread of its own. */
void side_by_side(int parts, void (*work)(int)) {
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) work(part);
}

/* The first of n rows that are a part's. */
static size first_of(size n, size part, size parts) { return n * part / parts; }

/* Add every threads-th row of a network's gradients, from the share-th on. */
static void add_network(int level, const network *net, const of_network *sum, const of_network *other, int share,
                        int threads) {
    for (int i = 0; i < 3; i++)
        CALL(level, add, net->maps + i, share, threads, sum->weights[i], other->weights[i], sum->biases[i],
             other->biases[i]);
}

/* The values of count networks of the same n rows x [n, inputs], in parts of the rows. Network i writes its rows at
   outs[i], ldo apart. room: for each thread what network_forward() needs. */
void networks_forward(int level, int threads, int parts, const network *nets, size count, size n, const float *x,
                      float *const *outs, size ldo, float *room, size each) {
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < 3 * count; i++)
            if (i % 3 < 2 || !in_pairs(nets[i / 3].maps + 2)) CALL(level, pack, nets[i / 3].maps + i % 3, 0);
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < count * parts; i++) {
            const network *net = nets + i / parts;
            const size begin = first_of(n, i % parts, parts), end = first_of(n, i % parts + 1, parts);
            CALL(level, network_forward, net, begin, end - begin, x + begin * net->maps->inputs, net->maps->inputs,
                 outs[i / parts] + begin * ldo, ldo, room + each * omp_get_thread_num());
        }
    }
}

/* The gradients: of the parameters in of[count][parts], of which the first part's become the sums of all; of x in
   of_x [count, n, inputs], of which the first network's become the sums of all. */
void networks_backward(int level, int threads, int parts, const network *nets, const of_network *of, size count, size n,
                       const float *x, float *const *of_outs, size ldo, float *of_x, float *room, size each) {
    const size inputs = nets->maps->inputs;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < 3 * count; i++)
            if (i % 3 < 2 || !in_pairs(nets[i / 3].maps + 2)) CALL(level, pack, nets[i / 3].maps + i % 3, 1);
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < count * parts; i++) {
            const size begin = first_of(n, i % parts, parts), end = first_of(n, i % parts + 1, parts);
            CALL(level, network_backward, nets + i / parts, begin, end - begin, x + begin * inputs, inputs,
                 of_outs[i / parts] + begin * ldo, ldo, of_x + (i / parts * n + begin) * inputs, of + i,
                 i % parts == 0, room + each * omp_get_thread_num());
        }
#pragma omp for schedule(static)
        for (size k = 0; k < n * inputs; k++)
            for (size i = 1; i < count; i++) of_x[k] += of_x[i * n * inputs + k];
#pragma omp for schedule(static)
        for (int share = 0; share < threads; share++)
            for (size i = 0; i < count * parts; i++)
                if (i % parts) add_network(level, nets + i / parts, of + i - i % parts, of + i, share, threads);
    }
}

/* A flow's layers, in parts of the n rows. room: for each thread what network_forward() needs. */
void flow_forward(int level, int parts, const layer *layers, size count, size n, float *ldj, float *room, size each) {
#pragma omp parallel num_threads(parts)
    {
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < 4 * count; i++) {
            const layer *at = layers + i % count;
            if (i / count == 3) CALL(level, fold, at, at->room);
            CALL(level, pack, i / count < 3 ? at->net.maps + (i / count + 1) % 3 : &at->linear, 0);
        }
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++) {
            const size begin = first_of(n, part, parts), end = first_of(n, part + 1, parts);
            CALL(level, flow_forward, layers, count, begin, end - begin, ldj, room + each * part);
        }
    }
}

/* The gradients: of what is learned in of[parts][count], of which the first part's become the sums of all. */
void flow_backward(int level, int parts, const layer *layers, const of_layer *of, size count, size n, const float *of_z,
                   const float *of_ldj, float *of_x, float *room, size each) {
    const size m = layers->linear.outputs;
#pragma omp parallel num_threads(parts)
    {
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < 4 * count; i++) {
            const layer *at = layers + i % count;
            CALL(level, pack, i / count < 3 ? at->net.maps + (i / count + 1) % 3 : &at->linear, 1);
        }
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++) {
            const size begin = first_of(n, part, parts), end = first_of(n, part + 1, parts);
            CALL(level, flow_backward, layers, of + part * count, count, begin, end - begin, of_z + begin * m,
                 of_ldj + begin, of_x + begin * m, part == 0, room + each * part);
        }
#pragma omp for schedule(static, 1)
        for (int share = 0; share < parts; share++)
            for (size i = count; i < parts * count; i++) {
                const layer *at = layers + i % count;
                const of_layer *sum = of + i % count;
                add_network(level, &at->net, &sum->net, &of[i].net, share, parts);
                CALL(level, add, &at->linear, share, parts, sum->matrix, of[i].matrix, sum->shift, of[i].shift);
                if (share == 0)
                    for (size k = 0; k < m; k++) sum->bound[k] += of[i].bound[k];
            }
#pragma omp for schedule(static, 1)
        for (size l = 0; l < count; l++) {
            float of_constant = 0.0f;
            for (size i = 0; i < n; i++) of_constant += of_ldj[i];
            CALL(level, fold_backward, layers + l, of + l, of_constant, layers[l].room);
        }
    }
}

/* The inverse of one layer's affine map, in parts of the n rows; of its network the weights and biases are looked at. */
void affine_inverse(int level, int parts, const network *net, const float *bound, size n, const float *y, float *x,
                    float *room, size each) {
    const size m = net->maps->inputs;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        const size begin = first_of(n, part, parts), end = first_of(n, part + 1, parts);
        CALL(level, affine_inverse, net, bound, end - begin, y + begin * m, x + begin * m, room + each * part);
    }
}

/* Losses of a classifier and their gradients, times factor, in parts of the windows. losses[parts][2] takes a part's sums
   over logits: which & 1, of the cross-entropy with the targets, and which & 2, of that with what the latents should tell.
   The first has a gradient to the parameters in of[parts][count], of which the first part's become the sums of all, the
   second one to z and to the sampled assignment. room: for each thread, see classifier_tile.h. */
void classifier(int level, int parts, const stage *stages, const of_stage *of, size count, size ld, const sights *at,
                int which, float factor, double *losses, float *room, size each) {
#pragma omp parallel num_threads(parts)
    {
#pragma omp for schedule(dynamic, 1)
        for (size i = 0; i < 2 * count; i++) CALL(level, pack, &stages[i / 2].linear, i % 2);
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++)
            CALL(level, classifier, stages, of + part * count, count, ld, at, first_of(at->windows, part, parts),
                 first_of(at->windows, part + 1, parts), which, factor, losses + 2 * part, room + each * part);
#pragma omp for schedule(static, 1)
        for (size l = 0; l < count; l++)
            for (int part = 1; part < parts && which & 1; part++) {
                const of_stage *sum = of + l, *other = of + part * count + l;
                CALL(level, add, &stages[l].linear, 0, 1, sum->weight, other->weight, sum->bias, other->bias);
                for (size k = 0; k < stages[l].linear.outputs && l + 1 < count; k++) {
                    sum->gain[k] += other->gain[k];
                    sum->offset[k] += other->offset[k];
                }
            }
    }
}

/* Samples of classes [M, C] from uniform noise in (0, 1) [B, M, C]: soft ones, and the largest of each as one-hot. */
void gumbel(int level, size batch, size latents, size classes, const float *logits, const float *uniform,
            float temperature, float *soft, float *hard) {
    CALL(level, gumbel, batch, latents, classes, logits, uniform, temperature, soft, hard);
}

/* The gradient of the logits for that, g, of the soft samples. */
void gumbel_backward(int level, size batch, size latents, size classes, const float *soft, const float *g,
                     float temperature, float *of_logits) {
    CALL(level, gumbel_backward, batch, latents, classes, soft, g, temperature, of_logits);
}

/* Running means of n targets [n, K] more: of I_i [K], and of I_i given I_j = v [j, v, i], from so many [1] and [j, v]. */
void target_means(size n, size variables, const float *targets, float *number, float *mean, float *conditional_number,
                  float *conditional_mean) {
    for (; n > 0; n--, targets += variables) {
        *number += 1.0f;
        for (size i = 0; i < variables; i++) mean[i] += (targets[i] - mean[i]) / *number;
        for (size j = 0; j < variables; j++) {
            const size place = 2 * j + (targets[j] != 0.0f);
            float *given = conditional_mean + place * variables;
            conditional_number[place] += 1.0f;
            for (size i = 0; i < variables; i++) given[i] += (targets[i] - given[i]) / conditional_number[place];
        }
    }
}

/* scores [rows]: see MLPTransitionPrior.nll(). */
void prior_forward(int level, const prior *at, float *scores) { CALL(level, prior_forward, at, scores); }

/* Gradients of out, z, probabilities and, where teach is set, of what is learned of interventions. */
void prior_backward(int level, const prior *at, const float *of_scores, int teach, float *of_out, float *of_z,
                    float *of_probabilities, float *of_intervened) {
    CALL(level, prior_backward, at, of_scores, teach, of_out, of_z, of_probabilities, of_intervened);
}

/* The entries of a pair. */
static void owner_entries(const owners *at, size b) {
    const size nodes = at->nodes, first = b * at->graphs * nodes;
    const float *targets = at->targets + b * nodes;
    uint64_t own = 0;
    size count = 0;
    int32_t *order = at->order + b * at->latents, *start = at->start + b * (nodes + 1);
    for (size j = 0; j < at->latents; j++) {
        const float *psi = at->psi + (b * at->latents + j) * nodes;
        int32_t most = 0;
        for (size k = 1; k < nodes; k++)
            if (psi[k] > psi[most]) most = (int32_t)k;
        at->owner[b * at->latents + j] = most;
    }
    start[0] = 0;
    for (size k = 0; k < nodes; k++) {
        start[k + 1] = start[k];
        for (size j = 0; j < at->latents; j++)
            if (at->owner[b * at->latents + j] == k) order[start[k + 1]++] = (int32_t)j;
        if (start[k + 1] > start[k]) own |= (uint64_t)1 << k;
    }
    if (at->own) own |= own << nodes;
    for (size g = 0; g < at->graphs; g++) {
        const float *graph = at->drawn + (b * at->graphs + g) * nodes * nodes;
        for (size k = 0; k < nodes; k++) {
            const int set = targets[k] != 0.0f;
            const int32_t target = set && k < at->variables ? (int32_t)k : -1;
            uint64_t parents = 0;
            for (size i = 0; i < nodes && !set; i++) parents |= (uint64_t)(graph[i * nodes + k] > 0.5f) << i;
            if (at->own) parents |= (uint64_t)1 << (nodes + k);
            const uint64_t seen = parents & own;
            size e = first;
            /* Under the first graph, what is not seen has a gradient too. */
            if (g)
                while (e < first + count && (at->seen[e] != seen || at->target[e] != target)) e++;
            else if (at->apart)
                e += count;
            else
                while (e < first + count && (at->parents[e] != parents || at->target[e] != target)) e++;
            if (e == first + count) {
                at->parents[e] = parents;
                at->seen[e] = seen;
                at->target[e] = target;
                at->asked[e] = 0;
                count++;
            }
            at->asked[e] |= (uint64_t)1 << k;
            at->which[first + g * nodes + k] = (int32_t)(e - first);
        }
        if (g == 0) at->counts[2 * b] = (int32_t)count;
    }
    at->counts[2 * b + 1] = (int32_t)count;
}

/* Which latents are likely a node's, and what they count. */
static void owner_weights(const owners *at, size m) {
    const size latents = at->latents, all = at->nodes * latents;
    at->likely[m] = 0;
    for (size k = 0; k < at->nodes; k++) {
        const float pi = at->pi[m * at->nodes + k], weight = pi + at->floor;
        const int likely = pi >= at->unlikely;
        float *to = at->weights + m * at->nodes + k;
        to[0] = likely ? pi : 0.0f;
        to[all] = likely ? weight : weight * at->pairs / at->some;
        to[2 * all] = likely ? weight : 0.0f;
        if (likely) at->likely[m] |= (uint64_t)1 << k;
    }
}

/* Numbers of room that a thread needs for the functions below. */
size owner_room(int level, const owners *at) { return CALL(level, owner_room, at); }

/* See graph_losses(): where value is not NULL, value [B] and losses [B, n, N]; and where of is not NULL, the gradients. Heaps
   are of some networks each, one after the other, and the first becomes the sum of all: whatever the number of threads,
   numbers are added in the same order. */
void owners_pass(int level, int threads, const owners *at, const of_owners *of, size heaps, float *value, float *losses,
                 float *room, size each) {
    const size z = at->pairs * at->samples * at->latents, psi = at->pairs * at->nodes * at->latents;
    const size sizes[] = {z, z, psi, of && of->graphs ? at->pairs * at->nodes * at->nodes : 0};
#pragma omp parallel num_threads(threads)
    {
        if (value) {
#pragma omp for schedule(static)
            for (size m = 0; m < at->latents; m++) owner_weights(at, m);
#pragma omp for schedule(static)
            for (size b = 0; b < at->pairs; b++) owner_entries(at, b);
        }
#pragma omp for schedule(dynamic, 1)
        for (size heap = 0; heap < heaps; heap++) {
            of_owners own = of ? *of : (of_owners){NULL};
            float **const to[] = {&own.z_t, &own.z_t1, &own.psi, &own.graphs};
            for (int i = 0; of && i < 4; i++) {
                if (!sizes[i]) continue;
                *to[i] += heap * sizes[i];
                memset(*to[i], 0, sizeof(float) * sizes[i]);
            }
            for (size m = first_of(at->latents, heap, heaps); m < first_of(at->latents, heap + 1, heaps); m++)
                CALL(level, owner_pass, at, of ? &own : NULL, value != NULL, m, room + each * omp_get_thread_num());
        }
        if (value) {
#pragma omp for schedule(static)
            for (size b = 0; b < at->pairs; b++) CALL(level, owner_sums, at, b, value, losses);
        }
        if (of) {
            float *const all[] = {of->z_t, of->z_t1, of->psi, of->graphs};
            for (int i = 0; i < 4; i++)
#pragma omp for schedule(static, 1)
                for (int share = 0; share < threads; share++)
                    CALL(level, add_heaps, heaps, sizes[i], first_of(sizes[i], share, threads),
                         first_of(sizes[i], share + 1, threads), all[i]);
        }
    }
}

/* Of all parameters' numbers one after the other those from begin to end: the sum of their gradients' squares or, where
   factor is not NULL, a step of AdamW with gradients that count factor times. */
static double adamw_part(int level, const parameter *all, size begin, size end, const float *factor) {
    double sum = 0.0;
    for (size first = 0; first < end; first += all++->count) {
        const size from = begin > first ? begin - first : 0;
        const size to = end - first < all->count ? end - first : all->count;
        if (to <= from) continue;
        if (factor)
            CALL(level, adamw, all, from, to - from, *factor);
        else
            sum += CALL(level, squares, all->g + from, to - from);
    }
    return sum;
}

/* A step of AdamW of number parameters with their gradients, NULL for one that stays, and the rates lr of their groups.
   Gradients are scaled down to a norm of clip where theirs is larger; the norm that it was. Every thread has its part of
   all parameters' numbers. sums: one for each of them. */
double adamw(int level, int parts, parameter *all, size number, const float *const *gradients, const double *rates,
             double clip, double *sums) {
    double norm = 0.0;
    size total = 0;
    for (size i = 0; i < number; i++) {
        parameter *at = all + i;
        at->g = gradients[i];
        at->count = at->g ? at->numbers : 0;
        if (!at->g) continue;
        *at->steps += 1.0f;
        at->rate = (float)(rates[at->group] / (1.0 - pow(at->beta1, *at->steps)));
        at->root = (float)(1.0 / sqrt(1.0 - pow(at->beta2, *at->steps)));
        at->decay = (float)(1.0 - rates[at->group] * at->weight_decay);
        total += at->count;
    }
#pragma omp parallel num_threads(parts)
    {
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++)
            sums[part] = adamw_part(level, all, first_of(total, part, parts), first_of(total, part + 1, parts), NULL);
#pragma omp for schedule(static, 1)
        for (int part = 0; part < parts; part++) {
            double squares = 0.0;
            for (int i = 0; i < parts; i++) squares += sums[i];
            const double factor = clip / (sqrt(squares) + 1e-6);
            const float scale = factor > 1.0 ? 1.0f : (float)factor;
            if (part == 0) norm = sqrt(squares);
            adamw_part(level, all, first_of(total, part, parts), first_of(total, part + 1, parts), &scale);
        }
    }
    return norm;
}

/* Winograd's transforms; see winograd_tile.h. */
void winograd_windows(int level, size b, size height, size width, size c, const float *x, size top, size rows,
                      float *values) {
    CALL(level, winograd_windows, b, height, width, c, x, top, rows, values);
}

void winograd_gather(int level, size b, size height, size width, size c, float *y, size top, size rows,
                     const float *values, const float *bias) {
    CALL(level, winograd_gather, b, height, width, c, y, top, rows, values, bias);
}

void winograd_spread(int level, size b, size height, size width, size c, const float *y, size top, size rows,
                     float *values) {
    CALL(level, winograd_spread, b, height, width, c, y, top, rows, values);
}

#else
int level(void) { return 0; }
#endif
