"""Faster training on x86-64 CPUs: the compiled functions. Everything else about the package is in pyproject.toml.

They carry a hash of the sources that they were made of, by which the package knows its own (core/ops/library.py).
"""

import runpy

from setuptools import Extension, setup

sources = runpy.run_path("citris_cli/core/ops/sources.py")

setup(
    ext_modules=[
        Extension(
            "citris_cli.core.ops._kernels",
            sources=["citris_cli/core/ops/c/kernels.c"],
            depends=[f"citris_cli/core/ops/c/{path.name}" for path in sources["files"]()],
            define_macros=[("CITRIS_SOURCES", f'"{sources["digest"]()}"')],
            extra_compile_args=["-O3", "-fopenmp"],
            extra_link_args=["-fopenmp", "-lm"],
            optional=True,  # where there is no C compiler, PyTorch computes the same
        )
    ]
)
