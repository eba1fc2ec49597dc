// The rectangle in which the object lies.
void main() {
    vec4 seen = told[SEEN];
    vec2 corner = vec2((gl_VertexID & 1) == 0 ? seen.x : seen.z, (gl_VertexID & 2) == 0 ? seen.y : seen.w);
    gl_Position = vec4(corner, 0.0, 1.0);
}
