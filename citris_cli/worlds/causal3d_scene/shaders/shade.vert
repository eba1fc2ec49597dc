// The rectangle of a frame's tile in which the object lies.
uniform int count;
flat out int frame;

void main() {
    frame = gl_InstanceID;
    vec4 box = told(frame, 9);  // left, top, right, bottom: -1 ... 1
    vec2 corner = vec2((gl_VertexID & 1) == 0 ? box.x : box.z, (gl_VertexID & 2) == 0 ? box.y : box.w);
    float scale = 1.0 / float(count);
    gl_Position = vec4(corner.x, corner.y * scale + (float(frame) * 2.0 + 1.0) * scale - 1.0, 0.0, 1.0);
}
