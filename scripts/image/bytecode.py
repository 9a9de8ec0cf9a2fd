"""Run by the Dockerfile: byte code of that part of the standard library which the server imports, into a directory given.

Official Python images come without, and on a read-only root it would be compiled at each start. Nothing is made where the image
has it already. By hash, not by time: two builds give the same bytes.
"""

import importlib
import py_compile
import sys
import sysconfig
from pathlib import Path

TARGET = Path(sys.argv[1])
LIBRARY = sysconfig.get_path("stdlib") + "/"

sys.dont_write_bytecode = True
for name in ("webhook.cli", "webhook.server", "certs.keeper", "uvicorn.protocols.http.httptools_impl", "uvloop"):
    importlib.import_module(name)
TARGET.mkdir()
for module in list(sys.modules.values()):
    source, compiled = getattr(module, "__file__", None) or "", getattr(module, "__cached__", None)
    if compiled and source.startswith(LIBRARY) and not Path(compiled).exists():
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(source, cfile=f"{TARGET}{compiled}", doraise=True, invalidation_mode=mode)
