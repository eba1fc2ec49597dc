"""The compiled functions, which make training on x86-64 CPUs faster. All else about the package is in pyproject.toml.

They are a plain library that Python opens with ctypes, and none of Python's extension modules: one wheel with it serves
every Python 3 (py3-none-PLATFORM). A wheel without it says so (py3-none-any): where there is no C compiler, or where
CITRIS_KERNELS=0 asks for that. The library carries a hash of the sources that it was made of, by which the package
knows its own (core/ops/library.py).
"""

import os
import runpy
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sources = runpy.run_path("citris_cli/core/ops/sources.py")


class BuildLibrary(build_ext):
    """Compiles the library, under a name that says nothing of the Python that compiled it."""

    def get_ext_filename(self, fullname):
        """Path of the library below the folder that is built."""
        return os.path.join(*fullname.split(".")[:-1], sources["LIBRARY"])

    def build_extension(self, ext):
        """Compile and link it."""
        # On Linux it is not linked to an OpenMP library, but finds that of PyTorch in the process (library.py): two in
        # a process would each have their threads. Clang's OpenMP is another one than PyTorch's.
        if sys.platform == "linux" and not self._is_clang():
            ext.extra_link_args = ["-lm", "-Wl,-z,undefs"]
        super().build_extension(ext)

    def _is_clang(self):
        told = subprocess.run([self.compiler.compiler_so[0], "--version"], capture_output=True, text=True, check=False)
        return "clang" in told.stdout


class Wheel(bdist_wheel):
    """A wheel for a platform if the library is in it, else for any."""

    def run(self):
        """Build all, then look whether the library was compiled."""
        self.run_command("build")
        folder = self.get_finalized_command("build").build_lib
        name = self.get_finalized_command("build_ext").get_ext_filename("citris_cli.core.ops._kernels")
        self.root_is_pure = not os.path.exists(os.path.join(folder, name))
        if self.root_is_pure:
            self.distribution.ext_modules = []  # else everything would lie where files of a platform do
        super().run()

    def get_tag(self):
        """For every Python 3, whatever its binary interface."""
        _, _, platform = super().get_tag()
        return "py3", "none", platform


kernels = Extension(
    "citris_cli.core.ops._kernels",
    sources=["citris_cli/core/ops/c/kernels.c"],
    depends=[f"citris_cli/core/ops/c/{path.name}" for path in sources["files"]()],
    define_macros=[("CITRIS_SOURCES", f'"{sources["digest"]()}"')],
    extra_compile_args=["-O3", "-fopenmp"],
    extra_link_args=["-fopenmp", "-lm"],
    optional=True,  # where there is no C compiler, PyTorch computes the same
)

setup(
    ext_modules=[] if os.environ.get("CITRIS_KERNELS") == "0" else [kernels],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
)
