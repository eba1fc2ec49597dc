// Place and normal of what is seen, light comes later: of a sample in many small triangles that is worked out once.
in vec3 place;
in vec3 facing;
layout(location = 0) out vec4 point;
layout(location = 1) out vec4 outward;

void main() {
    point = vec4(place, 1.0);
    // Triangles are counter-clockwise from outside, and the picture is upside down to OpenGL.
    outward = vec4(gl_FrontFacing ? -facing : facing, 0.0);
}
