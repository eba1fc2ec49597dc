"""The scene drawn by OpenGL through moderngl: on a graphics card where there is one, in software otherwise."""

from __future__ import annotations

from importlib import resources

import moderngl
import numpy as np

from citris_cli.worlds.causal3d_scene import scene
from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh


def _vogel(count: int) -> Array:
    k = np.arange(count)
    r = np.sqrt((k + 0.5) / count)
    t = k * np.pi * (3 - np.sqrt(5))
    return np.stack([r * np.cos(t), r * np.sin(t)], -1)


class Renderer:
    def __init__(self, size: int, shapes: list[Mesh], samples=2, shadow=128, disc=16, search=16, side=4, batch=32,
                 constants=None):
        self.size, self.samples, self.batch = size, samples, batch
        ctx = self.ctx = moderngl.create_context(standalone=True, backend="egl", require=330)
        self.constants = {**scene.shader_constants(),
            "SIZE": str(size), "SHADOW_BIAS": "0.05", "AREA_POINTS":"2", "SEARCH_POWER": "length(offset)", "SAMPLES": str(samples), "SHADOW_SIZE": str(shadow), "DISC_SAMPLES": str(disc),
            "SEARCH_SAMPLES": str(search), "AREA_SIDE": str(side), "CONE_SAMPLES": "7", **(constants or {})}
        self.disc = disc
        big = size * samples
        self.shadow = shadow
        self.table = ctx.texture((scene.COLUMNS, batch), 4, dtype="f4")
        self.table.filter = (moderngl.NEAREST,) * 2
        self.shadow_map = ctx.depth_texture((3 * shadow, shadow * batch))
        self.shadow_map.compare_func = ""
        self.shadow_map.filter = (moderngl.NEAREST,) * 2
        self.shadow_fbo = ctx.framebuffer([], self.shadow_map)
        self.points = ctx.texture((big, big * batch), 4, dtype="f4")
        self.normals = ctx.texture((big, big * batch), 4, dtype="f2")
        self.surface_fbo = ctx.framebuffer([self.points, self.normals], ctx.depth_renderbuffer((big, big * batch)))
        self.lit = ctx.texture((big, big * batch), 4, dtype="f2")
        self.lit_fbo = ctx.framebuffer([self.lit])
        self.picture_fbo = ctx.framebuffer([ctx.renderbuffer((size, size * batch), 4)])
        for t in (self.points, self.normals, self.lit):
            t.filter = (moderngl.NEAREST,) * 2
        self.meshes = []
        self.compile()
        for mesh in shapes:
            data = np.concatenate([mesh.points, mesh.normals], 1).astype("f4")
            self.add(data, mesh.faces)

    def add(self, data, faces):
        vbo, ibo = self.ctx.buffer(data.tobytes()), self.ctx.buffer(faces.astype("i4").tobytes())
        self.meshes.append((vbo, ibo, scene.outline(Mesh(data[:,:3].astype(float), None, faces))))
        shadow = self.ctx.vertex_array(self.shadow_program, [(vbo, "3f 12x", "point")], ibo)
        surface = self.ctx.vertex_array(self.surface_program, [(vbo, "3f 3f", "point", "normal")], ibo)
        self.vaos.append((shadow, surface))

    def program(self, vert, frag, light=False):
        folder = resources.files(__package__) / "shaders"
        text = lambda name: (folder / name).read_text()
        head = "#version 330\n" + "".join(f"#define {k} {v}\n" for k, v in self.constants.items()) + text("common.glsl")
        p = self.ctx.program(vertex_shader=head + text(vert),
                             fragment_shader=head + (text("light.glsl") if light else "") + text(frag))
        for name, unit in (("frames", 0), ("shadows", 1), ("points", 2), ("normals", 3), ("lit", 4)):
            if name in p:
                p[name].value = unit
        if "count" in p:
            p["count"].value = self.batch
        if "disc" in p:
            p["disc"].write(_vogel(self.disc).astype("f4").tobytes())
        if "weights" in p:
            n = 3 * self.samples
            t = (np.arange(n) + 0.5) / n * 2 * np.pi
            w = 0.35875 - 0.48829 * np.cos(t) + 0.14128 * np.cos(2 * t) - 0.01168 * np.cos(3 * t)
            p["weights"].write((w / w.sum()).astype("f4").tobytes())
        return p

    def compile(self):
        self.shadow_program = self.program("shadow.vert", "shadow.frag")
        self.surface_program = self.program("surface.vert", "surface.frag")
        self.shade_program = self.program("shade.vert", "shade.frag", True)
        self.picture_program = self.program("picture.vert", "picture.frag", True)
        self.shade_vao = self.ctx.vertex_array(self.shade_program, [])
        self.picture_vao = self.ctx.vertex_array(self.picture_program, [])
        self.vaos = []

    def draw(self, table, runs):
        """table [n<=batch, COLUMNS, 4]; runs (shape, first, count)."""
        n = len(table)
        ctx = self.ctx
        padded = np.zeros((self.batch, *table.shape[1:]), "f4")
        padded[:n] = table
        self.table.write(padded.tobytes())
        self.table.use(0)
        for i in range(5):
            ctx.enable_direct(0x3000 + i)
        ctx.enable(moderngl.DEPTH_TEST)
        self.shadow_fbo.use(); self.shadow_fbo.clear()
        for shape, first, count in runs:
            self.shadow_program["first"].value = first
            self.vaos[shape][0].render(instances=3 * count)
        self.surface_fbo.use(); self.surface_fbo.clear()
        for shape, first, count in runs:
            self.surface_program["first"].value = first
            self.vaos[shape][1].render(instances=count)
        for i in range(5):
            ctx.disable_direct(0x3000 + i)
        ctx.disable(moderngl.DEPTH_TEST)
        self.shadow_map.use(1); self.points.use(2); self.normals.use(3)
        self.lit_fbo.use(); self.lit_fbo.clear()
        self.shade_vao.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=n)
        self.lit.use(4)
        self.picture_fbo.use()
        self.picture_vao.render(moderngl.TRIANGLE_STRIP, vertices=4)
        data = self.picture_fbo.read((0, 0, self.size, self.size * n), components=3, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(n, self.size, self.size, 3)
