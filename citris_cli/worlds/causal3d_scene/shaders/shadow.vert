// The object as a light sees it.
in vec3 point;
uniform int light;

void main() {
    vec4 p = vec4(point, 1.0);
    int view = VIEWS + 4 * light;
    float distance = dot(told[view + 2], p);
    float w = told[view + 3].z > 0.0 ? distance : 1.0;
    float depth = 2.0 * (distance - told[view + 3].x) * told[view + 3].y - 1.0;
    gl_Position = vec4(dot(told[view], p), dot(told[view + 1], p), depth * w, w);
}
