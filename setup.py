"""Build the native modules and the protobuf code; everything else is in pyproject.toml.

ENFORCER_DEBUG=1 builds without optimisation and with bounds checks, ENFORCER_SANITIZE=1 also
with the address and undefined-behaviour sanitisers. Changing a switch rebuilds. Every
native/NAME.pyx becomes enforcer._native.NAME, every proto/enforcer/v1/*.proto goes to enforcer/v1/.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Command, Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

SANITIZE = os.environ.get("ENFORCER_SANITIZE", "0") not in ("", "0")
DEBUG = SANITIZE or os.environ.get("ENFORCER_DEBUG", "0") not in ("", "0")

ROOT = Path(__file__).resolve().parent
STAMP = Path("build", "switches")


def found(pattern):
    """Return the files under the root that match, as sorted relative paths."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


PYX = found("native/*.pyx")
HEADERS = found("native/*.pxd") + found("native/*.h")
PROTO = found("proto/enforcer/v1/*.proto")
V1 = ROOT / "enforcer" / "v1"
V1.mkdir(exist_ok=True)  # setuptools wants to see a package's directory before it builds anything

# Wall and Wextra, without the two that Cython's own output trips over.
CFLAGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
CFLAGS += ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3", "-fstack-protector-strong"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if SANITIZE else []
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "initializedcheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
}


class BuildProto(Command):
    """Generate messages, stubs and services, when a .proto is newer than what it made."""

    description = "generate enforcer/v1 from proto/"
    user_options = []

    def initialize_options(self):
        """Accept every build command's options; there are none of its own."""
        self.editable_mode = False
        self.build_lib = None

    def finalize_options(self):
        """Take no options."""

    def run(self):
        """Write the package; an existing file newer than its source and this file stays."""
        (V1 / "__init__.py").touch()
        made = {V1 / f"{Path(path).stem}_pb2_grpc.py" for path in PROTO}
        newest = max((ROOT / path).stat().st_mtime_ns for path in [*PROTO, "setup.py"])
        if made == {p for p in V1.glob("*_pb2_grpc.py") if p.stat().st_mtime_ns > newest}:
            return
        for stale in V1.glob("*_pb2*"):
            stale.unlink()
        # google/rpc comes with googleapis-common-protos, google/protobuf with grpcio-tools.
        rpc = importlib.util.find_spec("google.rpc").submodule_search_locations[0]
        tools = importlib.util.find_spec("grpc_tools").submodule_search_locations[0]
        includes = ["proto", str(Path(rpc, "..", "..").resolve()), str(Path(tools, "_proto"))]
        outputs = ["--python_out=.", "--grpc_python_out=."]
        outputs += ["--mypy_out=quiet:.", "--mypy_grpc_out=quiet:."]
        scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes)]
            + [*outputs, *(path.removeprefix("proto/") for path in PROTO)],
            cwd=ROOT,
            env={**os.environ, "PATH": scripts},  # where the mypy plugins of this venv are
            check=True,
        )

    def get_source_files(self):
        """Name what a source distribution must carry."""
        return PROTO

    def get_outputs(self):
        """Leave the listing of outputs to build_py, which installs them."""
        return []

    def get_output_mapping(self):
        """Map nothing: the package is generated where it is imported from."""
        return {}


class BuildExt(build_ext):
    """Compile with the switches; recompile everything when one of them has changed."""

    def finalize_options(self):
        """Share objects between an editable install and a build in place."""
        if self.inplace or self.editable_mode:
            self.build_temp, self.build_lib = "build/temp", "build/lib"
        super().finalize_options()

    def run(self):
        """Cythonize late, so that commands that compile nothing stay fast and clean."""
        self.run_command("build_proto")
        switches = repr((CFLAGS, SANITIZERS, DIRECTIVES, sys.version))
        STAMP.parent.mkdir(exist_ok=True)
        changed = not STAMP.exists() or STAMP.read_text() != switches
        if changed:
            STAMP.write_text(switches)
        self.force = self.force or changed
        self.parallel = self.parallel or os.cpu_count()
        translated = cythonize(
            self.extensions,
            include_path=["native"],
            compiler_directives=DIRECTIVES,
            force=self.force,
        )
        for extension, made in zip(self.extensions, translated, strict=True):
            extension.sources = made.sources  # setuptools has marked its own objects: keep those
        super().run()


build.sub_commands = [("build_proto", None), *build.sub_commands]

setup(
    packages=sorted({*find_packages(include=["enforcer*"]), "enforcer.v1"}),
    ext_modules=[
        Extension(
            f"enforcer._native.{Path(path).stem}",
            [path],
            depends=HEADERS,
            include_dirs=["native"],
            extra_compile_args=CFLAGS + SANITIZERS,
            extra_link_args=SANITIZERS,
        )
        for path in PYX
    ],
    cmdclass={"build_proto": BuildProto, "build_ext": BuildExt},
)
