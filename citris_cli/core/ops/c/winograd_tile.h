/* Winograd's F(4x4, 3x3) for vectors of LANES channels; see convolution.py, which has the formulas and the kernel's part.

   Images are [b, height, width, c], c at least LANES; tiles are 4x4 pixels of rows top … top + rows - 1, and values
   [36, tiles, c]. The last tiles of a row or column may reach beyond it, into zeros. Channels that fill no vector are
   done with the last LANES of them, some of these for a second time. */

#define A 0.75f
#define B 1.5f

/* B^T d of six. */
INLINE void NAME(window)(const vec d[6], vec v[6]) {
    const vec p = d[4] - B * B * d[2], q = d[3] - B * B * d[1], r = d[4] - A * A * d[2], s = d[3] - A * A * d[1];
    v[0] = r - B * B * (d[2] - A * A * d[0]);
    v[1] = p + A * q;
    v[2] = p - A * q;
    v[3] = r + B * s;
    v[4] = r - B * s;
    v[5] = (d[5] - A * A * d[3]) - B * B * s;
}

/* A^T m of six. */
INLINE void NAME(gather)(const vec m[6], vec y[4]) {
    const vec p = m[1] + m[2], q = m[3] - m[4], r = m[1] - m[2], s = m[3] + m[4];
    y[0] = (m[0] + p * (1 / (A * A))) + q * (1 / B);
    y[1] = s + r * (1 / A);
    y[2] = p + B * q;
    y[3] = (m[5] + A * r) + B * B * s;
}

/* A y of four. */
INLINE void NAME(spread)(const vec y[4], vec m[6]) {
    const vec p = y[2] + y[0] * (1 / (A * A)), q = y[3] + y[1] * (1 / (A * A));
    const vec r = y[2] + y[0] * (1 / (B * B)), s = y[1] + B * B * y[3];
    m[0] = y[0];
    m[1] = p + A * q;
    m[2] = p - A * q;
    m[3] = s + B * r;
    m[4] = s - B * r;
    m[5] = y[3];
}

/* Values of the 6x6 windows around the tiles, zeros around the images. */
TARGET static void NAME(winograd_windows)(size b, size height, size width, size c, const float *x, size top, size rows,
                                          float *values) {
    const size tiles = b * ((rows + 3) / 4) * ((width + 3) / 4);
    size tile = 0;
    for (size image = 0; image < b; image++, x += height * width * c)
        for (size i = top - 1; i < top + rows - 1; i += 4)
            for (size j = -1; j < width - 1; j += 4, tile++)
                for (size k = 0; k < c; k += LANES) {
                    const size channel = k + LANES <= c ? k : c - LANES;
                    vec by_rows[6][6]; /* [column][value] */
                    for (int column = 0; column < 6; column++) {
                        vec d[6];
#pragma GCC unroll 6
                        for (int row = 0; row < 6; row++) {
                            const int inside = i + row >= 0 && i + row < height && j + column >= 0 && j + column < width;
                            d[row] = inside ? NAME(load)(x + ((i + row) * width + j + column) * c + channel) : (vec){};
                        }
                        NAME(window)(d, by_rows[column]);
                    }
                    for (int value = 0; value < 6; value++) {
                        vec d[6], v[6];
#pragma GCC unroll 6
                        for (int column = 0; column < 6; column++) d[column] = by_rows[column][value];
                        NAME(window)(d, v);
#pragma GCC unroll 6
                        for (int other = 0; other < 6; other++)
                            NAME(store)(values + ((6 * value + other) * tiles + tile) * c + channel, v[other]);
                    }
                }
}

/* Tiles of their values, plus a bias [c] if there is one. */
TARGET static void NAME(winograd_gather)(size b, size height, size width, size c, float *y, size top, size rows,
                                         const float *values, const float *bias) {
    const size tiles = b * ((rows + 3) / 4) * ((width + 3) / 4);
    size tile = 0;
    for (size image = 0; image < b; image++, y += height * width * c)
        for (size i = top; i < top + rows; i += 4)
            for (size j = 0; j < width; j += 4, tile++)
                for (size k = 0; k < c; k += LANES) {
                    const size channel = k + LANES <= c ? k : c - LANES;
                    const vec start = bias ? NAME(load)(bias + channel) : (vec){};
                    vec by_rows[6][4]; /* [column's value][row] */
                    for (int other = 0; other < 6; other++) {
                        vec m[6];
#pragma GCC unroll 6
                        for (int value = 0; value < 6; value++)
                            m[value] = NAME(load)(values + ((6 * value + other) * tiles + tile) * c + channel);
                        NAME(gather)(m, by_rows[other]);
                    }
                    for (int row = 0; row < 4; row++) {
                        vec m[6], out[4];
#pragma GCC unroll 6
                        for (int other = 0; other < 6; other++) m[other] = by_rows[other][row];
                        NAME(gather)(m, out);
#pragma GCC unroll 4
                        for (int column = 0; column < 4; column++)
                            if (i + row < top + rows && j + column < width)
                                NAME(store)(y + ((i + row) * width + j + column) * c + channel, out[column] + start);
                    }
                }
}

/* Values of tiles: what gather() does, the other way round, for gradients. */
TARGET static void NAME(winograd_spread)(size b, size height, size width, size c, const float *y, size top, size rows,
                                         float *values) {
    const size tiles = b * ((rows + 3) / 4) * ((width + 3) / 4);
    size tile = 0;
    for (size image = 0; image < b; image++, y += height * width * c)
        for (size i = top; i < top + rows; i += 4)
            for (size j = 0; j < width; j += 4, tile++)
                for (size k = 0; k < c; k += LANES) {
                    const size channel = k + LANES <= c ? k : c - LANES;
                    const float *from = y + (i * width + j) * c + channel;
                    size down = width * c, right = c;
                    float part[16 * LANES]; /* a tile that reaches beyond the rows or columns, with its zeros */
                    if (i + 4 > top + rows || j + 4 > width) {
                        for (int row = 0; row < 4; row++)
                            for (int column = 0; column < 4; column++) {
                                const int inside = i + row < top + rows && j + column < width;
                                NAME(store)(part + (4 * row + column) * LANES,
                                            inside ? NAME(load)(from + row * down + column * right) : (vec){});
                            }
                        from = part, down = 4 * LANES, right = LANES;
                    }
                    vec by_rows[4][6]; /* [column][value] */
                    for (int column = 0; column < 4; column++) {
                        vec d[4];
#pragma GCC unroll 4
                        for (int row = 0; row < 4; row++) d[row] = NAME(load)(from + row * down + column * right);
                        NAME(spread)(d, by_rows[column]);
                    }
                    for (int value = 0; value < 6; value++) {
                        vec d[4], m[6];
#pragma GCC unroll 4
                        for (int column = 0; column < 4; column++) d[column] = by_rows[column][value];
                        NAME(spread)(d, m);
#pragma GCC unroll 6
                        for (int other = 0; other < 6; other++)
                            NAME(store)(values + ((6 * value + other) * tiles + tile) * c + channel, m[other]);
                    }
                }
}

#undef A
#undef B
