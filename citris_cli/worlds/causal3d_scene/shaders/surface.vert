// The object as the camera sees it: one tile a frame, the picture's upper row first.
in vec3 point;
in vec3 normal;
in vec4 row0, row1, row2;  // rotation and place of the object
uniform int first;  // the first frame of this shape
out vec3 place;
out vec3 facing;
out float gl_ClipDistance[5];

void main() {
    vec4 p = vec4(point, 1.0);
    place = vec3(dot(row0, p), dot(row1, p), dot(row2, p));
    facing = vec3(dot(row0.xyz, normal), dot(row1.xyz, normal), dot(row2.xyz, normal));
    vec3 from = place - CAMERA;
    float w = dot(from, CAMERA_FORWARD);
    vec2 q = vec2(dot(from, CAMERA_RIGHT), -dot(from, CAMERA_UP)) / CAMERA_TANGENT;
    gl_ClipDistance[0] = w + q.x;
    gl_ClipDistance[1] = w - q.x;
    gl_ClipDistance[2] = w + q.y;
    gl_ClipDistance[3] = w - q.y;
    gl_ClipDistance[4] = w - CAMERA_NEAR;
    float depth = 2.0 * (w - CAMERA_NEAR) / CAMERA_DEPTH - 1.0;
    gl_Position = vec4(q.x, q.y * TILE + tile_middle(first + gl_InstanceID) * w, depth * w, w);
}
