/* Networks of structured maps, forward and backward, and Winograd's transforms, in float32 on x86-64.

   A structured map is a matrix W [outputs, inputs] of which row r is zero outside the columns lo[r] <= k < hi[r]: masked
   autoregressive maps are of this kind, and so are networks side by side, one a latent. Libraries multiply by the zeros,
   or take blocks one by one; here a tile of a product sums over what its rows see. Activations are computed where they
   are read, from tiles in cache, and never stored.

   Every function exists for AVX-512 and for AVX2 (the two files *_tile.h); level() says which of them a processor has.
   Called by kernels.py, which knows the sizes. Nothing here allocates, or knows of threads. */

#include <stdint.h>
#include <string.h>

typedef int64_t size;

/* Neighbouring columns of a product, and the range of the sum that any of them needs. */
typedef struct {
    int32_t column, width, first, stop;
} panel;

/* A structured map. Row r of w begins with column 0, or where own is set with column lo[r]; rows are ldw apart. */
typedef struct {
    const float *w, *bias;
    const int32_t *lo, *hi;
    const panel *panels[2]; /* of x W^T, and of g W */
    float *packed[2];       /* room for these panels, see pack() */
    size ldw, own, outputs, inputs, count[2];
} map;

/* Says by its name which kernels.py this is for. */
void interface_2(void) {}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,fma")))
#define LANES 16
#define ROWS 14
#define MIN _mm512_min_ps
#define MAX _mm512_max_ps
#define RECIPROCAL _mm512_rcp14_ps
#include "kernels_tile.h"
#include "winograd_tile.h"
#undef NAME
#undef WIDTH
#undef vec
#undef ivec
#undef INLINE
#undef TARGET
#undef LANES
#undef ROWS
#undef MIN
#undef MAX
#undef RECIPROCAL

#define NAME(f) f##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 6
#define MIN _mm256_min_ps
#define MAX _mm256_max_ps
#define RECIPROCAL _mm256_rcp_ps
#include "kernels_tile.h"
#include "winograd_tile.h"

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

/* Fill packed[transposed] of several maps. */
void pack(int level, const map *maps, size count, int transposed) {
    for (size i = 0; i < count; i++) CALL(level, pack, maps + i, transposed);
}

/* first = W1 x + b1, middle = W2 SiLU(first) + b2, out = W3 SiLU(middle) + b3; first and middle have rows ld apart.
   room: group_rows() times the widest of its layers. */
void network_forward(int level, const map maps[3], size n, const float *x, size ldx, float *first, float *middle,
                     size ld, float *out, size ldo, float *room) {
    CALL(level, product, n, x, ldx, maps, 0, 0, first, ld, NULL, NULL, room);
    CALL(level, product, n, first, ld, maps + 1, 0, 1, middle, ld, NULL, NULL, room);
    CALL(level, product, n, middle, ld, maps + 2, 0, 1, out, ldo, NULL, NULL, room);
}

/* Gradients of x, and of the maps' weights and biases, for that of out.
   room: 2 n ld floats, and n panels' widths. */
void network_backward(int level, const map maps[3], size n, const float *x, size ldx, const float *first,
                      const float *middle, size ld, const float *of_out, size ldo, float *of_x, float *const weights[3],
                      float *const biases[3], float *room) {
    float *of_first = room, *of_middle = room + n * ld, *columns = room + 2 * n * ld;
    memset(biases[2], 0, sizeof(float) * maps[2].outputs);
    for (size k = 0; k < n; k++)
        for (size r = 0; r < maps[2].outputs; r++) biases[2][r] += of_out[k * ldo + r];
    CALL(level, gram, n, of_out, ldo, middle, ld, 1, maps + 2, weights[2], columns);
    CALL(level, product, n, of_out, ldo, maps + 2, 1, 0, of_middle, ld, middle, biases[1], NULL);
    CALL(level, gram, n, of_middle, ld, first, ld, 1, maps + 1, weights[1], columns);
    CALL(level, product, n, of_middle, ld, maps + 1, 1, 0, of_first, ld, first, biases[0], NULL);
    CALL(level, gram, n, of_first, ld, x, ldx, 0, maps, weights[0], columns);
    CALL(level, product, n, of_first, ld, maps, 1, 0, of_x, maps->inputs, NULL, NULL, NULL);
}

/* y = (x + t) exp(s) and ldj -= sum(s); see kernels_tile.h. */
void affine(int level, size n, size m, const float *x, const float *net, const float *bound, float *y, float *ldj) {
    CALL(level, affine, n, m, x, net, bound, y, ldj);
}

void affine_backward(int level, size n, size m, const float *net, const float *bound, const float *y, const float *of_y,
                     const float *of_ldj, float *of_net, float *of_x, float *of_bound) {
    CALL(level, affine_backward, n, m, net, bound, y, of_y, of_ldj, of_net, of_x, of_bound);
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
