// Light of the object's samples, and where there are some (alpha).
uniform sampler2D points;
uniform sampler2D normals;
out vec4 light;

void main() {
    ivec2 at = ivec2(gl_FragCoord.xy);
    vec4 point = texelFetch(points, at, 0);
    light = vec4(0.0);
    if (point.w > 0.0) {
        vec3 n = texelFetch(normals, at, 0).xyz;
        n *= inversesqrt(max(dot(n, n), 1e-8));
        light = vec4(leaving(point.xyz, n, told[OBJECT_COLOUR].rgb), 1.0);
    }
}
