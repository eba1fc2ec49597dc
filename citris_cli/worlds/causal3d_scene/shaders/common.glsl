// What all shaders know of a frame: rows of a table of floats, one row a frame (scene.py: frame_table).
const int SPOT = 0;
const int AREA = 1;
const int SUN = 2;
const float PI = 3.14159265358979;
uniform sampler2D frames;

vec4 told(int frame, int column) { return texelFetch(frames, ivec2(column, frame), 0); }

// A light's view of the object: `xy` in the window of its shadow map, 0 ... 1 inside; `z` the distance from the light.
struct View { vec2 place; float depth; };

vec3 spot_position(int frame) { return told(frame, 3).xyz; }

View seen_by(int light, int frame, vec3 point) {
    View view;
    vec4 window = told(frame, 10 + light);  // centre and half width, in the plane at distance 1 (the sun: in units)
    vec2 q;
    if (light == SPOT) {
        vec3 from = point - spot_position(frame);
        view.depth = dot(from, told(frame, 8).xyz);
        q = vec2(dot(from, told(frame, 6).xyz), dot(from, told(frame, 7).xyz)) / view.depth;
    } else if (light == AREA) {
        view.depth = AREA_HEIGHT - point.z;
        q = point.xy / view.depth;
    } else {
        view.depth = AREA_HEIGHT - point.z;
        q = point.xy;
    }
    view.place = (q - window.xy) / window.zw * 0.5 + 0.5;
    return view;
}
