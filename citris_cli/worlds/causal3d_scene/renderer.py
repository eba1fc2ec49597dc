"""The scene drawn by OpenGL through moderngl: on a graphics card where there is one, in software otherwise.

A frame is drawn in four steps: the object as each light sees it, which gives the shadows; the object's points and
normals as the camera sees it, at several samples a pixel; the light of these samples; the picture, with the ground and
the camera's filter. The shaders in :file:`shaders` say how, :mod:`scene` has the numbers.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any

import numpy as np

from citris_cli.errors import InputError
from citris_cli.system import graphics_backend, graphics_help
from citris_cli.worlds.causal3d_scene import scene
from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh
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
SHADOW_BIAS = 0.12
#: Distance from the square lamp from which on what hides it is looked for.
AREA_NEAREST = 0.6
#: Rows of the picture, in which frames lie one below the other until they are fetched.
PICTURE_ROWS = 4096

_TEXTURES = ("shadows", "points", "normals", "lit")


def draw(latents: Array, size: int) -> Array:
    """Draw states.

    Args:
        latents: [n, 12] as :class:`~citris_cli.worlds.causal3d.Causal3D` has them; the shape is the eleventh.
        size: width and height of a frame.

    Returns:
        uint8 [n, size, size, 3]: the same for a state whatever it is drawn with.

    Raises:
        InputError: moderngl, or what it needs of the system, is not there.
    """
    with _one_at_a_time:
        return _renderer(size, os.getpid()).draw(np.asarray(latents, np.float32))


_one_at_a_time = threading.Lock()


@cache
def _renderer(size: int, process: int) -> Renderer:
    """The renderer for these frames; a forked process cannot use that of its parent."""
    return Renderer(size)


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
    # Mesa in software: processes share the cores, so that each draws in its own thread and starts no other; that is the
    # fastest, too (156 frames a CPU second, 142 with one more thread). A user's own setting stays.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        return moderngl.create_context(standalone=True, require=330, **graphics_backend())
    except Exception as error:  # moderngl raises nothing more precise
        raise InputError(
            f"drawing Causal3DIdent needs OpenGL 3.3 without a screen, which is not available here ({error}); "
            + graphics_help()
        ) from None


class Renderer:
    """Draws frames of one size, for one thread at a time.

    Raises:
        InputError: moderngl, or what it needs of the system, is not there.
    """

    def __init__(self, size: int) -> None:
        self._gl = _moderngl()
        self._context = _context(self._gl)
        self._size = size
        self._batch = PICTURE_ROWS // size
        self._shadow_size = SHADOW_SIZE if size <= 64 else LARGE_SHADOW_SIZE
        self._constants = {
            **scene.shader_constants(),
            "SIZE": str(size),
            "SAMPLES": str(SAMPLES),
            "SHADOW_SIZE": str(self._shadow_size),
            "SHADOW_SAMPLES": str(SHADOW_SAMPLES),
            "AREA_SAMPLES": str(AREA_SAMPLES),
            "CONE_SAMPLES": str(CONE_SAMPLES),
            "SHADOW_BIAS": repr(SHADOW_BIAS),
            "AREA_NEAREST": repr(AREA_NEAREST),
        }
        with self._context:
            self._targets(size * SAMPLES)
            self._programs()
            self._shapes(shapes(fine=True), shapes(fine=False))

    def _texture(self, side: int, kind: str) -> Any:
        texture = self._context.texture((side, side), 4, dtype=kind)
        texture.filter = (self._gl.NEAREST, self._gl.NEAREST)
        return texture

    def _targets(self, side: int) -> None:
        """What is drawn to, `side` samples wide and high, and the textures that what follows reads."""
        context, size = self._context, self._size
        shadows = context.depth_texture((len(scene.Light) * self._shadow_size, self._shadow_size))
        shadows.compare_func = ""
        shadows.filter = (self._gl.NEAREST, self._gl.NEAREST)
        points, normals, lit = self._texture(side, "f4"), self._texture(side, "f2"), self._texture(side, "f2")
        for unit, texture in enumerate((shadows, points, normals, lit)):  # in the order of _TEXTURES
            texture.use(unit)
        self._to_shadows = context.framebuffer([], shadows)
        self._to_surface = context.framebuffer([points, normals], context.depth_renderbuffer((side, side)))
        self._to_lit = context.framebuffer([lit])
        self._to_picture = context.framebuffer([context.renderbuffer((size, size * self._batch), 4)])

    def _programs(self) -> None:
        self._shadow = self._program("shadow.vert", "shadow.frag")
        self._surface = self._program("surface.vert", "surface.frag")
        self._light = self._program("lit.vert", "lit.frag", light=True)
        self._picture = self._program("picture.vert", "picture.frag", light=True)
        self._light_samples = self._context.vertex_array(self._light, [])
        self._fill_picture = self._context.vertex_array(self._picture, [])

    def _program(self, vertex: str, fragment: str, light: bool = False) -> Any:
        folder = resources.files(__package__) / "shaders"
        # A name that the shaders have not given a meaning is one of the numbers.
        defined = "".join(f"#define {name} {value}\n" for name, value in self._constants.items())
        head = "#version 330\n" + defined + (folder / "common.glsl").read_text()
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
        self._shadow_arrays, self._surface_arrays = [], []
        for seen, hiding in zip(fine, coarse, strict=True):
            points = context.buffer(hiding.points.astype("f4").tobytes())
            faces = context.buffer(hiding.faces.astype("i4").tobytes())
            self._shadow_arrays.append(context.vertex_array(self._shadow, [(points, "3f", "point")], faces))
            points = context.buffer(np.concatenate([seen.points, seen.normals], 1).astype("f4").tobytes())
            faces = context.buffer(seen.faces.astype("i4").tobytes())
            attributes = [(points, "3f 3f", "point", "normal")]
            self._surface_arrays.append(context.vertex_array(self._surface, attributes, faces))

    def draw(self, latents: Array) -> Array:
        """Frames uint8 [n, size, size, 3] of states float32 [n, 12]."""
        frames = np.empty((len(latents), self._size, self._size, 3), np.uint8)
        with self._context:
            for start in range(0, len(latents), self._batch):
                states = latents[start : start + self._batch]
                kinds = states[:, 10].astype(np.int64)
                tables = scene.frame_tables(states, self._outlines[kinds])
                for row, (table, shape) in enumerate(zip(tables, kinds.tolist(), strict=True)):
                    self._draw(table.tobytes(), shape, row * self._size)
                read = (0, 0, self._size, self._size * len(states))
                data = self._to_picture.read(read, components=3, alignment=1)
                frames[start : start + len(states)] = np.frombuffer(data, np.uint8).reshape(-1, *frames.shape[1:])
        return frames

    def _draw(self, told: bytes, shape: int, top: int) -> None:
        """Draw one frame into the picture, from a row on.

        Every frame is drawn in the same place of the same textures, so that it does not depend on the others.
        """
        context, side = self._context, self._shadow_size
        for program in (self._shadow, self._surface, self._light, self._picture):
            uniform = program["told"]
            uniform.write(told[: uniform.array_length * 16])  # a driver may leave out the rows that are not read
        context.enable(self._gl.DEPTH_TEST)
        self._to_shadows.use()
        self._to_shadows.clear()
        for light in scene.Light:
            self._to_shadows.viewport = (light * side, 0, side, side)
            self._shadow["light"].value = int(light)
            self._shadow_arrays[shape].render()
        self._to_surface.use()
        self._to_surface.clear()
        self._surface_arrays[shape].render()
        context.disable(self._gl.DEPTH_TEST)
        self._to_lit.use()
        self._to_lit.clear()
        self._light_samples.render(self._gl.TRIANGLE_STRIP, vertices=4)
        self._to_picture.use()
        self._to_picture.viewport = (0, top, self._size, self._size)
        self._picture["top"].value = top
        self._fill_picture.render(self._gl.TRIANGLE_STRIP, vertices=4)


def _disc(count: int) -> Array:
    """Points [count, 2] spread evenly over a disc of radius 1."""
    k = np.arange(count)
    r, t = np.sqrt((k + 0.5) / count), k * np.pi * (3 - np.sqrt(5))
    return np.stack([r * np.cos(t), r * np.sin(t)], -1)
