in vec3 place;
in vec3 facing;
layout(location = 0) out vec4 point;
layout(location = 1) out vec4 outward;

void main() {
    point = vec4(place, 1.0);
    outward = vec4(gl_FrontFacing ? -facing : facing, 0.0);
}
