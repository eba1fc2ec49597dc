// The object as the camera sees it, the picture's upper row first.
in vec3 point;
in vec3 normal;
out vec3 place;
out vec3 facing;

void main() {
    vec4 p = vec4(point, 1.0), n = vec4(normal, 0.0);
    place = vec3(dot(told[MODEL], p), dot(told[MODEL + 1], p), dot(told[MODEL + 2], p));
    facing = vec3(dot(told[MODEL], n), dot(told[MODEL + 1], n), dot(told[MODEL + 2], n));
    vec3 from = place - CAMERA;
    float w = dot(from, CAMERA_FORWARD);
    float depth = 2.0 * (w - CAMERA_NEAR) / CAMERA_DEPTH - 1.0;
    gl_Position = vec4(dot(from, CAMERA_RIGHT) / CAMERA_TANGENT, -dot(from, CAMERA_UP) / CAMERA_TANGENT, depth * w, w);
}
