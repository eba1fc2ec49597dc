// The object as a light sees it: one tile a light and frame, lights from left to right, frames from top to bottom.
in vec3 point;
in vec4 across, along, away;  // rows that give the place in the tile, times the distance, and the distance
in vec4 tile;  // nearest distance, 1 / range of distances, 1 where rays spread from a point, light
uniform int first;  // the first frame of this shape
#ifdef CUT
out float gl_ClipDistance[5];
#endif

void main() {
    vec4 p = vec4(point, 1.0);
    float distance = dot(away, p);
    float w = tile.z > 0.0 ? distance : 1.0;
    vec2 place = vec2(dot(across, p), dot(along, p));
#ifdef CUT
    gl_ClipDistance[0] = w + place.x;
    gl_ClipDistance[1] = w - place.x;
    gl_ClipDistance[2] = w + place.y;
    gl_ClipDistance[3] = w - place.y;
    gl_ClipDistance[4] = distance - tile.x;
#endif
    vec2 middle = vec2((tile.w * 2.0 + 1.0) / 3.0 - 1.0, tile_middle(first + gl_InstanceID));
    float depth = 2.0 * (distance - tile.x) * tile.y - 1.0;
    gl_Position = vec4(place * vec2(1.0 / 3.0, TILE) + middle * w, depth * w, w);
}
