// What all shaders know of a frame: its row in a table of numbers, four a column (scene.py: Column).
const float PI = 3.14159265358979;
uniform sampler2D frames;

vec4 told(int frame, int column) { return texelFetch(frames, ivec2(column, frame), 0); }

// Place of frame's tile and its size, in a picture of BATCH tiles from top to bottom: -1 ... 1.
const float TILE = 1.0 / float(BATCH);
float tile_middle(int frame) { return (float(frame) * 2.0 + 1.0) * TILE - 1.0; }
