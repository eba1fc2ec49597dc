// The rectangle of a frame's tile in which the object lies.
flat out int frame;

void main() {
    frame = gl_InstanceID;
    vec4 seen = told(frame, SEEN);
    vec2 corner = vec2((gl_VertexID & 1) == 0 ? seen.x : seen.z, (gl_VertexID & 2) == 0 ? seen.y : seen.w);
    gl_Position = vec4(corner.x, corner.y * TILE + tile_middle(frame), 0.0, 1.0);
}
