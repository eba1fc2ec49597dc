// A pixel: the ground behind the object's samples, these weighted by the pixel filter; then sRGB.
uniform sampler2D lit;
uniform float weights[3 * SAMPLES];
out vec4 pixel;

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    int frame = at.y / SIZE;
    ivec2 inside = ivec2(at.x, at.y - frame * SIZE);
    vec2 q = ((vec2(inside) + 0.5) / float(SIZE) * 2.0 - 1.0) * CAMERA_TANGENT;
    vec4 box = told(frame, 9) * 0.5 + 0.5;
    bool near = all(greaterThan(vec2(inside) + 2.0, box.xy * float(SIZE)))
        && all(lessThan(vec2(inside) - 1.0, box.zw * float(SIZE)));
    vec4 object = vec4(0.0);
    int rows = near ? 3 * SAMPLES : 0;
    ivec2 start = (inside - 1) * SAMPLES;
    for (int j = 0; j < rows; j++) {
        int y = clamp(start.y + j, 0, SIZE * SAMPLES - 1) + frame * SIZE * SAMPLES;
        vec4 row = vec4(0.0);
        for (int i = 0; i < 3 * SAMPLES; i++) {
            int x = clamp(start.x + i, 0, SIZE * SAMPLES - 1);
            row += weights[i] * texelFetch(lit, ivec2(x, y), 0);
        }
        object += weights[j] * row;
    }
    vec3 ray = CAMERA_FORWARD + q.x * CAMERA_RIGHT - q.y * CAMERA_UP;
    vec3 ground = vec3(0.0);
    if (ray.z < 0.0) {
        vec3 point = CAMERA + ray * ((GROUND - CAMERA.z) / ray.z);
        ground = leaving(frame, point, vec3(0.0, 0.0, 1.0), told(frame, 16).rgb);
    }
    vec3 light = object.rgb + (1.0 - object.a) * ground;
    light = clamp(light, 0.0, 1.0);
    vec3 coded = mix(1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, 12.92 * light, vec3(lessThan(light, vec3(0.0031308))));
    pixel = vec4(coded, 1.0);
}
