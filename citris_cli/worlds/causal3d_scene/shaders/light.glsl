// Light that reaches a point from the three lights, and what the material makes of it.
uniform sampler2D shadows;
const int LIGHT_SAMPLES = SHADOW_SAMPLES * SHADOW_SAMPLES;
uniform vec2 disc[LIGHT_SAMPLES];

// A point as a light sees it: place in the light's window (0 ... 1 inside), and distance.
struct View { vec2 place; float distance; };

View seen_by(int light, vec3 point) {
    vec4 window = told[WINDOW + light];
    View view;
    vec2 q;
    if (light == SPOT) {
        vec3 from = point - told[SPOT_PLACE].xyz;
        view.distance = dot(from, told[SPOT_AXES + 2].xyz);
        q = vec2(dot(from, told[SPOT_AXES].xyz), dot(from, told[SPOT_AXES + 1].xyz)) / view.distance;
    } else {
        view.distance = AREA_HEIGHT - point.z;
        q = light == AREA ? point.xy / view.distance : point.xy;
    }
    view.place = (q - window.xy) / window.zw * 0.5 + 0.5;
    return view;
}

// Depth, 0 ... 1 of the range of distances, of the first surface that a light meets at a place of its window; 1 is none.
float first_surface(int light, vec2 place) {
    const float HALF = 0.5 / float(SHADOW_SIZE);
    vec2 inside = clamp(place, HALF, 1.0 - HALF);
    return textureLod(shadows, vec2((inside.x + float(light)) / 3.0, inside.y), 0.0).r;
}

// How far apart, in the light's window, rays to a point pass a distance before it, by how far apart they left the light.
float spread(int light, float distance, float receiver) {
    return light == SUN ? receiver - distance : 1.0 / distance - 1.0 / receiver;
}

// Share of a light that reaches a point. First the mean distance of what may hide some of the light, from samples of
// the cone of rays to it; then, for each sample of the light, whether what its ray passes there lies before it.
float visible(int light, vec3 point) {
    View view = seen_by(light, point);
    vec2 range = told[RANGE + light].xy;
    vec2 window = told[WINDOW + light].zw * 2.0;
    float radius = light == SPOT ? SPOT_RADIUS : (light == SUN ? SUN_TANGENT : AREA_HALF);
    // What is right before the square lamp hides it whole: looking as far aside as it could reach would miss the rest.
    float nearest = light == AREA ? max(range.x, AREA_NEAREST) : range.x;
    float widest = radius * max(spread(light, nearest, view.distance), 0.0);
    vec2 reach = widest / window;
    // The window of the square lamp is cut off where it would be too wide: its rim stands for what lies farther out.
    vec2 place = light == AREA ? clamp(view.place, 0.0, 1.0) : view.place;
    bool free = view.distance <= range.x || any(lessThan(place, -reach)) || any(greaterThan(place, 1.0 + reach));
    int samples = free ? 0 : LIGHT_SAMPLES;
    float deep = range.y - range.x;
    float sum = 0.0, found = 0.0;
    for (int i = 0; i < samples; i++) {
        // Denser in the middle for the square lamp, before which the object may lie near or far.
        vec2 offset = disc[i] * (light == AREA ? length(disc[i]) : 1.0);
        float depth = first_surface(light, view.place + offset * reach);
        float distance = range.x + depth * deep;
        float cone = radius * spread(light, distance, view.distance) * 1.2 + window.x / float(SHADOW_SIZE);
        bool hides = depth < 1.0 && distance < view.distance - SHADOW_BIAS && length(offset) * widest <= cone;
        sum += hides ? distance : 0.0;
        found += hides ? 1.0 : 0.0;
    }
    float hiding = sum / max(found, 1.0);
    // Seen from behind the object, its outline is half way between what it shows to the light and its far side.
    if (light != SPOT && view.distance > range.y) hiding = mix(hiding, (range.x + range.y) * 0.5, 0.5);
    samples = found > 0.0 ? LIGHT_SAMPLES : 0;
    vec2 penumbra = radius * spread(light, hiding, view.distance) / window;
    float limit = min((mix(hiding, view.distance, 0.5) - range.x) / deep, 1.0);
    const float TEXEL = 1.0 / float(SHADOW_SIZE);
    float hidden = 0.0;
    for (int i = 0; i < samples; i++) {
        vec2 square = (vec2(i % SHADOW_SAMPLES, i / SHADOW_SAMPLES) + 0.5) / float(SHADOW_SAMPLES) * 2.0 - 1.0;
        vec2 at = (view.place + (light == AREA ? square : disc[i]) * penumbra) / TEXEL - 0.5;
        vec2 base = (floor(at) + 0.5) * TEXEL;
        vec4 depth = vec4(
            first_surface(light, base),
            first_surface(light, base + vec2(TEXEL, 0.0)),
            first_surface(light, base + vec2(0.0, TEXEL)),
            first_surface(light, base + TEXEL)
        );
        vec4 hides = vec4(lessThan(depth, vec4(limit)));
        vec2 rows = mix(hides.xz, hides.yw, fract(at.x));
        hidden += mix(rows.x, rows.y, fract(at.y));
    }
    return 1.0 - hidden / float(LIGHT_SAMPLES);
}

// Share of light that the surface of a glass of this index throws back, by the cosine to its normal.
float fresnel(float cosine, float index) {
    float g = sqrt(index * index - 1.0 + cosine * cosine);
    float a = (g - cosine) / (g + cosine);
    float b = (cosine * (g + cosine) - 1.0) / (cosine * (g - cosine) + 1.0);
    return 0.5 * a * a * (1.0 + b * b);
}

// Share of a rough surface's facets that others do not hide (Beckmann; the usual rational approximation).
float unmasked(float cosine) {
    float a = cosine / (ROUGHNESS * sqrt(max(1.0 - cosine * cosine, 1e-8)));
    return a >= 1.6 ? 1.0 : (3.535 * a + 2.181 * a * a) / (1.0 + 2.276 * a + 2.577 * a * a);
}

// What leaves towards v of light that comes from l, times the cosine of l to the normal n.
vec3 reflected(vec3 colour, vec3 n, vec3 v, vec3 l) {
    float nl = dot(n, l);
    float nv = max(dot(n, v), 1e-3);
    if (nl <= 0.0) return vec3(0.0);
    vec3 h = normalize(l + v);
    float nh = clamp(dot(n, h), 1e-3, 0.99999);
    float vh = max(dot(v, h), 1e-4);
    float cos2 = nh * nh;
    float sin2 = 1.0 - cos2;
    // Ashikhmin's velvet
    float masking = min(1.0, min(2.0 * nh * nv / vh, 2.0 * nh * nl / vh));
    float fibres = exp(-cos2 / sin2 / (VELVET * VELVET)) / (VELVET * VELVET * PI * sin2 * sin2);
    float velvet = 0.25 * fibres * masking / nv;
    // Beckmann's facets
    float a2 = ROUGHNESS * ROUGHNESS;
    float facets = exp(-sin2 / cos2 / a2) / (PI * a2 * cos2 * cos2);
    float glossy = 0.25 * GLOSS * facets * unmasked(nl) * unmasked(nv) / nv;
    vec3 matt = colour * mix(nl / PI, velvet, fresnel(nv, VELVET_INDEX));
    return mix(matt, vec3(glossy), fresnel(nv, GLOSS_INDEX));
}

// Share of the spot's cone at a point, averaged over chords of the lamp's disc across the axis: they blur its edge.
float cone(vec3 point) {
    vec3 from = point - told[SPOT_PLACE].xyz;
    vec3 axis = told[SPOT_AXES + 2].xyz;
    float along = dot(from, axis);
    float off = length(from - along * axis);
    float sum = 0.0;
    for (int k = 1; k <= CONE_SAMPLES; k++) {
        float t = float(k) / float(CONE_SAMPLES + 1) * PI;
        float aside = off + SPOT_RADIUS * cos(t);
        float cosine = along * inversesqrt(along * along + aside * aside);
        sum += sin(t) * sin(t) * smoothstep(SPOT_COSINE, SPOT_COSINE + SPOT_FADE, cosine);
    }
    return sum * 2.0 / float(CONE_SAMPLES + 1);
}

// Light that leaves a point with normal n towards the camera.
vec3 leaving(vec3 point, vec3 n, vec3 colour) {
    vec3 v = normalize(CAMERA - point);
    vec3 to = told[SPOT_PLACE].xyz - point;
    float distance2 = dot(to, to);
    vec3 spot = reflected(colour, n, v, to * inversesqrt(distance2)) * told[SPOT_COLOUR].rgb;
    spot *= SPOT_STRENGTH / distance2 * cone(point);

    vec3 area = vec3(0.0);
    for (int k = 0; k < AREA_SAMPLES * AREA_SAMPLES; k++) {
        vec2 on = (vec2(k % AREA_SAMPLES, k / AREA_SAMPLES) + 0.5) / float(AREA_SAMPLES) * 2.0 - 1.0;
        to = vec3(on * AREA_HALF, AREA_HEIGHT) - point;
        distance2 = dot(to, to);
        vec3 l = to * inversesqrt(distance2);
        area += reflected(colour, n, v, l) * max(l.z, 0.0) / distance2;
    }
    area *= AREA_STRENGTH / float(AREA_SAMPLES * AREA_SAMPLES);

    vec3 sun = reflected(colour, n, v, vec3(0.0, 0.0, 1.0)) * SUN_STRENGTH;
    return spot * visible(SPOT, point) + area * visible(AREA, point) + sun * visible(SUN, point);
}
