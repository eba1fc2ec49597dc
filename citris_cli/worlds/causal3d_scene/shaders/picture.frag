// A pixel: the object's samples around it, weighted by the camera's filter, before the ground; then sRGB.
uniform sampler2D lit;
uniform int top;  // row of the picture in which the frame begins
uniform float weights[FILTER_WIDTH * SAMPLES];
out vec4 pixel;

void main() {
    ivec2 inside = ivec2(gl_FragCoord.xy) - ivec2(0, top);
    vec4 seen = (told[SEEN] * 0.5 + 0.5) * float(SIZE);
    bool near = all(greaterThan(vec2(inside) + 2.0, seen.xy)) && all(lessThan(vec2(inside) - 1.0, seen.zw));
    // A loop of no rounds costs nothing in software, where both sides of an `if` are worked out.
    int rows = near ? FILTER_WIDTH * SAMPLES : 0;
    ivec2 start = (inside - FILTER_WIDTH / 2) * SAMPLES;
    vec4 object = vec4(0.0);
    for (int j = 0; j < rows; j++) {
        int y = clamp(start.y + j, 0, SIZE * SAMPLES - 1);
        vec4 row = vec4(0.0);
        for (int i = 0; i < FILTER_WIDTH * SAMPLES; i++) {
            int x = clamp(start.x + i, 0, SIZE * SAMPLES - 1);
            row += weights[i] * texelFetch(lit, ivec2(x, y), 0);
        }
        object += weights[j] * row;
    }
    vec2 q = ((vec2(inside) + 0.5) / float(SIZE) * 2.0 - 1.0) * CAMERA_TANGENT;
    vec3 ray = CAMERA_FORWARD + q.x * CAMERA_RIGHT - q.y * CAMERA_UP;  // always downwards
    vec3 point = CAMERA + ray * ((GROUND_HEIGHT - CAMERA.z) / ray.z);
    vec3 ground = leaving(point, vec3(0.0, 0.0, 1.0), told[GROUND_COLOUR].rgb);
    vec3 light = clamp(object.rgb + (1.0 - object.a) * ground, 0.0, 1.0);
    vec3 curve = 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055;
    pixel = vec4(mix(curve, 12.92 * light, vec3(lessThan(light, vec3(0.0031308)))), 1.0);
}
