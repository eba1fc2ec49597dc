// The object as each light sees it: one tile a light and frame, lights from left to right, frames from top to bottom.
in vec3 point;
in vec3 normal;
uniform int count;  // frames in the picture
uniform int first;  // the first frame of this shape
out float gl_ClipDistance[5];

void main() {
    int light = gl_InstanceID % 3;
    int frame = first + gl_InstanceID / 3;
    vec4 p = vec4(point, 1.0);
    vec3 world = vec3(dot(told(frame, 0), p), dot(told(frame, 1), p), dot(told(frame, 2), p));
    vec4 range = told(frame, 13 + light);  // nearest and farthest distance, then free
    vec4 window = told(frame, 10 + light);
    vec3 local;  // not yet divided by the distance
    float depth;
    if (light == SPOT) {
        vec3 from = world - spot_position(frame);
        depth = dot(from, told(frame, 8).xyz);
        local = vec3(dot(from, told(frame, 6).xyz), dot(from, told(frame, 7).xyz), depth);
    } else {
        depth = AREA_HEIGHT - world.z;
        local = vec3(world.xy, light == AREA ? depth : 1.0);
    }
    vec2 place = (local.xy - window.xy * local.z) / window.zw;  // -w ... w in the tile
    float w = local.z;
    gl_ClipDistance[0] = w + place.x;
    gl_ClipDistance[1] = w - place.x;
    gl_ClipDistance[2] = w + place.y;
    gl_ClipDistance[3] = w - place.y;
    gl_ClipDistance[4] = depth - range.x;
    vec2 tile = vec2(float(light), float(frame));
    vec2 scale = vec2(1.0 / 3.0, 1.0 / float(count));
    vec2 at = (tile * 2.0 + 1.0) * scale - 1.0;
    gl_Position = vec4(place * scale + at * w, (2.0 * (depth - range.x) / (range.y - range.x) - 1.0) * w, w);
}
