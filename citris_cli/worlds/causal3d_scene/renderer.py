"""The scene drawn by OpenGL through moderngl: on a graphics card where there is one, in software otherwise.

A batch of frames is drawn at once, one tile a frame: the object as each light sees it, which gives the shadows; the
object's points and normals as the camera sees it, at several samples a pixel; the light of these samples; the picture,
with the ground and the camera's filter. The shaders in :file:`shaders` say how, :mod:`scene` has the numbers.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from importlib import resources
from types import ModuleType
from typing import Any

import numpy as np

from citris_cli.errors import InputError
from citris_cli.system import graphics_backend, graphics_help
from citris_cli.worlds.causal3d_scene import scene
from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh
from citris_cli.worlds.causal3d_scene.scene import Column
from citris_cli.worlds.causal3d_scene.shapes import shapes

#: Samples of the object along each side of a pixel.
SAMPLES = 3
#: Texels along each side of a light's view of the object, for frames of 64 pixels and for larger ones.
SHADOW_SIZE, LARGE_SHADOW_SIZE = 128, 256
#: Samples of a light along each side, for its shadows.
SHADOW_SAMPLES = 5
#: Samples of the square lamp along each side, for its light.
AREA_SAMPLES = 2
#: Chords of the spot's lamp over which the edge of its cone is averaged.
CONE_SAMPLES = 7
#: How far in front of a point something has to be to put it in shadow.
SHADOW_BIAS = 0.08
#: Frames of 64 pixels drawn at once: in software as many as stay in the caches, on a card as many as its textures take.
SOFTWARE_BATCH, CARD_BATCH = 8, 128

_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")
# Planes at which the shaders cut a triangle, by OpenGL's names for them.
_CLIP_DISTANCES = range(0x3000, 0x3005)
_TEXTURES = ("frames", "shadows", "points", "normals", "lit")


def draw(latents: Array, size: int, count: int) -> Array:
    """Draw states.

    Args:
        latents: [n, 12] as :class:`~citris_cli.worlds.causal3d.Causal3D` has them; the shape is the eleventh.
        size: width and height of a frame.
        count: how many shapes there are.

    Returns:
        uint8 [n, size, size, 3]: the same for a state whatever it is drawn with.

    Raises:
        InputError: moderngl, or what it needs of the system, is not there.
    """
    # A context belongs to the thread, and the process, that made it.
    return _renderer(size, count, os.getpid(), threading.get_ident()).draw(np.asarray(latents, np.float32))


@lru_cache(maxsize=4)
def _renderer(size: int, count: int, process: int, thread: int) -> Renderer:
    return Renderer(size, count)


def _moderngl() -> ModuleType:
    try:
        import moderngl
    except ImportError:
        raise InputError(
            "drawing Causal3DIdent needs moderngl; install it with pip install 'citris-cli[render]'"
        ) from None
    module: ModuleType = moderngl
    return module


def _context(moderngl: ModuleType) -> Any:
    # Mesa in software: processes share the cores, so that each draws with one thread. A user's own setting stays.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        return moderngl.create_context(standalone=True, require=330, **graphics_backend())
    except Exception as error:  # moderngl raises nothing more precise
        raise InputError(
            f"drawing Causal3DIdent needs OpenGL 3.3 without a screen, which is not to be had here ({error}); "
            + graphics_help()
        ) from None


class Renderer:
    """Draws frames of one size with the first `count` shapes; used by the thread that made it alone.

    Raises:
        InputError: moderngl, or what it needs of the system, is not there.
    """

    def __init__(self, size: int, count: int) -> None:
        self._gl = _moderngl()
        self._context = _context(self._gl)
        self._size = size
        big = size * SAMPLES
        software = any(name in self._context.info["GL_RENDERER"].lower() for name in _SOFTWARE)
        self._shadow_size = SHADOW_SIZE if size <= 64 else LARGE_SHADOW_SIZE
        tallest = self._context.info["GL_MAX_TEXTURE_SIZE"] // max(big, self._shadow_size)
        self._batch = max(1, min((SOFTWARE_BATCH if software else CARD_BATCH) * 64 // size, tallest))
        self._constants = {
            **scene.shader_constants(),
            "SIZE": str(size),
            "SAMPLES": str(SAMPLES),
            "SHADOW_SIZE": str(self._shadow_size),
            "SHADOW_SAMPLES": str(SHADOW_SAMPLES),
            "AREA_SAMPLES": str(AREA_SAMPLES),
            "CONE_SAMPLES": str(CONE_SAMPLES),
            "SHADOW_BIAS": repr(SHADOW_BIAS),
            "BATCH": str(self._batch),
        }
        self._textures(size, big)
        self._programs()
        self._shapes(shapes(count, fine=True), shapes(count, fine=False))

    def _texture(self, width: int, height: int, kind: str) -> Any:
        texture = self._context.texture((width, height), 4, dtype=kind)
        texture.filter = (self._gl.NEAREST, self._gl.NEAREST)
        return texture

    def _textures(self, size: int, big: int) -> None:
        context, batch = self._context, self._batch
        self._frames = self._texture(scene.COLUMNS, batch, "f4")
        self._shadows = context.depth_texture((len(scene.Light) * self._shadow_size, self._shadow_size * batch))
        self._shadows.compare_func = ""
        self._shadows.filter = (self._gl.NEAREST, self._gl.NEAREST)
        self._points = self._texture(big, big * batch, "f4")
        self._normals = self._texture(big, big * batch, "f2")
        self._lit = self._texture(big, big * batch, "f2")
        for unit, name in enumerate(_TEXTURES):
            getattr(self, f"_{name}").use(unit)
        self._to_shadows = context.framebuffer([], self._shadows)
        depth = context.depth_renderbuffer((big, big * batch))
        self._to_surface = context.framebuffer([self._points, self._normals], depth)
        self._to_lit = context.framebuffer([self._lit])
        self._to_picture = context.framebuffer([context.renderbuffer((size, size * batch), 4)])

    def _programs(self) -> None:
        self._shadow_program = self._program("shadow.vert", "shadow.frag")
        self._cut_shadow_program = self._program("shadow.vert", "shadow.frag", cut=True)
        self._surface_program = self._program("surface.vert", "surface.frag")
        self._light_samples = self._context.vertex_array(self._program("lit.vert", "lit.frag", light=True), [])
        self._fill_picture = self._context.vertex_array(self._program("picture.vert", "picture.frag", light=True), [])

    def _program(self, vertex: str, fragment: str, light: bool = False, cut: bool = False) -> Any:
        folder = resources.files(__package__) / "shaders"
        # A name that the shaders have not given a meaning is one of the numbers.
        defined = "".join(f"#define {name} {value}\n" for name, value in self._constants.items())
        head = "#version 330\n" + defined + ("#define CUT\n" if cut else "") + (folder / "common.glsl").read_text()
        program = self._context.program(
            vertex_shader=head + (folder / vertex).read_text(),
            fragment_shader=head
            + ((folder / "light.glsl").read_text() if light else "")
            + (folder / fragment).read_text(),
        )
        for unit, name in enumerate(_TEXTURES):
            if name in program:
                program[name].value = unit
        if "weights" in program:
            program["weights"].write(scene.filter_weights(SAMPLES).astype("f4").tobytes())
        if "disc" in program:
            program["disc"].write(_disc(SHADOW_SAMPLES**2).astype("f4").tobytes())
        return program

    def _shapes(self, fine: list[Mesh], coarse: list[Mesh]) -> None:
        context = self._context
        self._outlines = np.stack([scene.outline(mesh) for mesh in fine])
        self._views = [context.buffer(reserve=self._batch * 64) for _ in scene.Light]
        self._models = context.buffer(reserve=self._batch * 48)
        self._shadow_arrays, self._surface_arrays = [], []
        for seen, hiding in zip(fine, coarse, strict=True):
            points = context.buffer(hiding.points.astype("f4").tobytes())
            faces = context.buffer(hiding.faces.astype("i4").tobytes())
            self._shadow_arrays.append(
                [
                    context.vertex_array(
                        self._cut_shadow_program if light == scene.Light.AREA else self._shadow_program,
                        [(points, "3f", "point"), (view, "4f 4f 4f 4f/i", "across", "along", "away", "tile")],
                        faces,
                    )
                    for light, view in zip(scene.Light, self._views, strict=True)
                ]
            )
            both = context.buffer(np.concatenate([seen.points, seen.normals], 1).astype("f4").tobytes())
            self._surface_arrays.append(
                context.vertex_array(
                    self._surface_program,
                    [(both, "3f 3f", "point", "normal"), (self._models, "4f 4f 4f/i", "row0", "row1", "row2")],
                    context.buffer(seen.faces.astype("i4").tobytes()),
                )
            )

    def draw(self, latents: Array) -> Array:
        """Frames uint8 [n, size, size, 3] of states float32 [n, 12]."""
        frames = np.empty((len(latents), self._size, self._size, 3), np.uint8)
        shape = latents[:, 10].astype(np.int64)
        order = np.argsort(shape, kind="stable")  # frames of a shape are drawn by one call
        for start in range(0, len(latents), self._batch):
            rows = order[start : start + self._batch]
            frames[rows] = self._drawn(latents[rows], shape[rows])
        return frames

    def _drawn(self, latents: Array, shape: Array) -> Array:
        """The frames of at most a batch of states, which are in the order of their shapes."""
        n = len(latents)
        table = scene.frame_table(latents, self._outlines[shape])
        self._frames.write(np.concatenate([table, np.zeros((self._batch - n, *table.shape[1:]), "f4")]).tobytes())
        views = scene.light_views(table)
        first = 0
        self._to_shadows.clear()
        self._to_surface.clear()
        for kind, count in zip(*np.unique(shape, return_counts=True), strict=True):
            drawn = slice(first, first + int(count))
            self._object(int(kind), views[:, drawn], table[drawn, Column.MODEL : Column.MODEL + 3], first)
            first = drawn.stop
        context = self._context
        context.disable(self._gl.DEPTH_TEST)
        self._to_lit.use()
        self._to_lit.clear()
        self._light_samples.render(self._gl.TRIANGLE_STRIP, vertices=4, instances=n)
        self._to_picture.use()
        self._fill_picture.render(self._gl.TRIANGLE_STRIP, vertices=4)
        data = self._to_picture.read((0, 0, self._size, self._size * n), components=3, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(n, self._size, self._size, 3)

    def _object(self, shape: int, views: Array, models: Array, first: int) -> None:
        """Draw one shape in some frames, as lights and camera see it."""
        context = self._context
        context.enable(self._gl.DEPTH_TEST)
        self._to_shadows.use()
        for light in (scene.Light.SPOT, scene.Light.SUN):  # both have the whole object in their windows
            self._shadow(shape, light, views[light], first)
        for plane in _CLIP_DISTANCES:
            context.enable_direct(plane)
        self._shadow(shape, scene.Light.AREA, views[scene.Light.AREA], first)
        self._to_surface.use()
        self._models.write(np.ascontiguousarray(models).tobytes())
        self._surface_program["first"].value = first
        self._surface_arrays[shape].render(instances=len(models))
        for plane in _CLIP_DISTANCES:
            context.disable_direct(plane)

    def _shadow(self, shape: int, light: scene.Light, views: Array, first: int) -> None:
        self._views[light].write(np.ascontiguousarray(views).tobytes())
        array = self._shadow_arrays[shape][light]
        array.program["first"].value = first
        array.render(instances=len(views))


def _disc(count: int) -> Array:
    """Points [count, 2] spread evenly over a disc of radius 1."""
    k = np.arange(count)
    r, t = np.sqrt((k + 0.5) / count), k * np.pi * (3 - np.sqrt(5))
    return np.stack([r * np.cos(t), r * np.sin(t)], -1)
