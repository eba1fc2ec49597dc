// Light from the three lamps on a point: shadows, then the material.
uniform sampler2D shadows;
uniform int count;
uniform vec2 disc[DISC_SAMPLES];

// Distance from a light of the first surface at a place of its window.
float first_surface(int light, int frame, vec2 place, vec2 range) {
    vec2 inside = clamp(place, 0.5 / float(SHADOW_SIZE), 1.0 - 0.5 / float(SHADOW_SIZE));
    float d = textureLod(shadows, (inside + vec2(float(light), float(frame))) / vec2(3.0, float(count)), 0.0).r;
    return d;
}

float spread(int light, float depth, float receiver) {
    return light == SUN ? receiver - depth : 1.0 / depth - 1.0 / receiver;
}

// Share of a light that reaches a point, 0 ... 1. What lies nearest to the light hides what is behind it: first the
// mean distance of what can hide some of it, then, for each sample of the light, whether its ray passes behind that.
float visible(int light, int frame, vec3 point) {
    View view = seen_by(light, frame, point);
    vec4 range = told(frame, 13 + light);
    vec2 window = told(frame, 10 + light).zw * 2.0;
    float radius = light == SPOT ? SPOT_RADIUS : (light == SUN ? SUN_TANGENT : AREA_HALF);
    float widest = radius * max(spread(light, range.x, view.depth), 0.0);
    vec2 reach = vec2(widest) / window;
    // A window that would be too wide is cut off: what lies farther out is judged by the window's rim.
    vec2 from = light == AREA ? clamp(view.place, 0.0, 1.0) : view.place;
    bool far = view.depth <= range.x || any(lessThan(from, -reach)) || any(greaterThan(from, 1.0 + reach));
    int taps = far ? 0 : SEARCH_SAMPLES;
    float sum = 0.0, found = 0.0;
    float span = range.y - range.x;
    float behind = view.depth - SHADOW_BIAS;
    for (int i = 0; i < taps; i++) {
        vec2 offset = disc[i * (DISC_SAMPLES / SEARCH_SAMPLES)];
        if (light == AREA) offset *= SEARCH_POWER;
        vec2 at = view.place + offset * reach;
        float d = first_surface(light, frame, at, range.xy);
        float depth = range.x + d * span;
        bool hides = d < 1.0 && depth < behind
            && length(offset) * widest <= radius * spread(light, depth, view.depth) * 1.2 + window.x / float(SHADOW_SIZE);
        sum += hides ? depth : 0.0;
        found += hides ? 1.0 : 0.0;
    }
    float depth = sum / max(found, 1.0);
    int samples = found > 0.0 ? DISC_SAMPLES : 0;
    vec2 penumbra = radius * spread(light, depth, view.depth) / window;
    float limit = (mix(depth, view.depth, 0.5) - range.x) / span;
    float hidden = 0.0;
    float texels = float(SHADOW_SIZE);
    for (int i = 0; i < samples; i++) {
        vec2 offset = disc[i];
        if (light == AREA) offset = (vec2(i % AREA_SIDE, i / AREA_SIDE) + 0.5) / float(AREA_SIDE) * 2.0 - 1.0;
        vec2 at = view.place + offset * penumbra;
        vec2 corner = at * texels - 0.5;
        vec2 part = fract(corner);
        vec2 base = (floor(corner) + 0.5) / texels;
        float step = 1.0 / texels;
        vec4 d;
        d.x = first_surface(light, frame, base, range.xy);
        d.y = first_surface(light, frame, base + vec2(step, 0.0), range.xy);
        d.z = first_surface(light, frame, base + vec2(0.0, step), range.xy);
        d.w = first_surface(light, frame, base + vec2(step, step), range.xy);
        vec4 block = vec4(lessThan(d, vec4(limit))) * vec4(lessThan(d, vec4(1.0)));
        vec2 rows = mix(block.xz, block.yw, part.x);
        hidden += mix(rows.x, rows.y, part.y);
    }
    return 1.0 - hidden / float(DISC_SAMPLES);
}

float fresnel(float cosine, float index) {
    float g = sqrt(index * index - 1.0 + cosine * cosine);
    float a = (g - cosine) / (g + cosine);
    float b = (cosine * (g + cosine) - 1.0) / (cosine * (g - cosine) + 1.0);
    return 0.5 * a * a * (1.0 + b * b);
}

float beckmann(float cosine) {
    float slope = cosine / (ROUGHNESS * sqrt(max(1.0 - cosine * cosine, 1e-8)));
    float a = min(slope, 1.6);
    return slope >= 1.6 ? 1.0 : (3.535 * a + 2.181 * a * a) / (1.0 + 2.276 * a + 2.577 * a * a);
}

// The spot's cone, averaged over the lamp's disc: its edge is blurred by the chords across the axis.
float cone_factor(int frame, vec3 point) {
    vec3 from = point - spot_position(frame);
    float depth = dot(from, told(frame, 8).xyz);
    float off = length(from - depth * told(frame, 8).xyz);
    float sum = 0.0;
    for (int k = 1; k <= CONE_SAMPLES; k++) {
        float t = float(k) / float(CONE_SAMPLES + 1) * PI;
        float cosine = depth * inversesqrt(depth * depth + pow(off + SPOT_RADIUS * cos(t), 2.0));
        float inside = clamp((cosine - SPOT_COSINE) / ((1.0 - SPOT_COSINE) * SPOT_BLEND), 0.0, 1.0);
        sum += sin(t) * sin(t) * inside * inside * (3.0 - 2.0 * inside) * mix(1.0, cosine, SPOT_COSINE_FACTOR);
    }
    return sum * 2.0 / float(CONE_SAMPLES + 1);
}

// The material's answer to light from direction l seen from v, times the cosine to the normal n.
vec3 reflected(vec3 colour, vec3 n, vec3 v, vec3 l) {
    float nl = dot(n, l);
    float nv = max(dot(n, v), 1e-3);
    if (nl <= 0.0) return vec3(0.0);
    vec3 h = normalize(l + v);
    float nh = clamp(dot(n, h), 1e-3, 0.99999);
    float vh = max(dot(v, h), 1e-4);
    float cos2 = nh * nh;
    float sin2 = 1.0 - cos2;
    float slope = sin2 / cos2;
    float masking = min(1.0, min(2.0 * nh * nv / vh, 2.0 * nh * nl / vh));
    float velvet = 0.25 * exp(-cos2 / sin2 / (VELVET * VELVET)) / (VELVET * VELVET * PI * sin2 * sin2) * masking / nv;
    float a2 = ROUGHNESS * ROUGHNESS;
    float d = exp(-slope / a2) / (PI * a2 * cos2 * cos2);
    float glossy = 0.25 * d * GLOSS * beckmann(nl) * beckmann(nv) / nv;
    float f = fresnel(nv, 1.2);
    float inner = fresnel(nv, 1.4);
    vec3 matte = colour * mix(nl / PI, velvet, inner);
    return mix(matte, vec3(glossy), f);
}

// Light that leaves a point of the object or of the ground towards the camera, linear RGB.
vec3 leaving(int frame, vec3 point, vec3 n, vec3 colour) {
    vec3 v = normalize(CAMERA - point);
    vec3 sum = vec3(0.0);
    // spot
    vec3 to = spot_position(frame) - point;
    float distance2 = dot(to, to);
    vec3 l = to * inversesqrt(distance2);
    float cone = cone_factor(frame, point);
    vec3 answer = reflected(colour, n, v, l);
    sum += answer * told(frame, 4).rgb * (cone * SPOT_GAIN / distance2) * visible(SPOT, frame, point);
    // area
    vec3 answers = vec3(0.0);
    for (int k = 0; k < AREA_POINTS * AREA_POINTS; k++) {
        vec2 on = (vec2(k % AREA_POINTS, k / AREA_POINTS) + 0.5) / float(AREA_POINTS) * 2.0 - 1.0;
        to = vec3(on * AREA_HALF, AREA_HEIGHT) - point;
        distance2 = dot(to, to);
        l = to * inversesqrt(distance2);
        answers += reflected(colour, n, v, l) * max(l.z, 0.0) / distance2;
    }
    sum += answers * (AREA_GAIN / float(AREA_POINTS * AREA_POINTS)) * visible(AREA, frame, point);
    // sun
    sum += reflected(colour, n, v, vec3(0.0, 0.0, 1.0)) * SUN_GAIN * visible(SUN, frame, point);
    return sum;
}
