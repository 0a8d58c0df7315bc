"""What a benchmark must say of where it ran, and of which bundle."""

import os
import platform
from importlib import metadata
from pathlib import Path

from benchmarks.results import BundleFacts, Environment
from edge_app import __version__
from edge_app.board import board_model, memory_bytes, processor_name, read_board, read_text, system_name
from edge_app.bundle import Bundle

# whose versions can change a figure
LIBRARIES = (
    "ai-edge-litert",
    "numpy",
    "onnxruntime",
    "opencv-python",
    "opencv-python-headless",
    "openvino",
    "tensorflow",
    "tflite-runtime",
)


def read_environment(root: Path = Path("/")) -> Environment:
    """Return where this process runs; root: the folder in which proc, sys and etc are looked for."""
    processor = processor_name(root)
    product = read_text(root / "sys/class/dmi/id/product_name").strip()
    memory = memory_bytes(root)
    return Environment(
        device=board_model(root) or product or processor,
        system=system_name(root),
        kernel=platform.release(),
        machine=platform.machine(),
        processor=processor,
        emulated=is_emulated(read_text(root / "proc/sys/kernel/arch").strip(), platform.machine(), processor),
        cores=len(os.sched_getaffinity(0)),
        governor=read_board(root).governor,
        memory_bytes=memory[0] if memory else None,
        python=platform.python_version(),
        leukoscope=__version__,
        libraries=_installed(LIBRARIES),
    )


def is_emulated(kernel: str, machine: str, processor: str) -> bool:
    """Return whether the processor is a program: one that calls itself so, or not of the kernel's kind.

    kernel: empty where it is not known. qemu answers for the kernel when a program asks for its machine, but not in
    /proc/sys/kernel/arch (Linux 6.1). TCG is the part of qemu that emulates; with KVM the processor is a real one.
    """
    return "TCG" in processor or (bool(kernel) and _family(kernel) != _family(machine))


def bundle_facts(bundle: Bundle) -> BundleFacts:
    """Return which bundle was measured."""
    manifest = bundle.manifest
    size = manifest.preprocessing
    model_files = (name for name in bundle.files if Path(name).stem == Path(manifest.model_file).stem)
    return BundleFacts(
        name=manifest.name,
        sha256=bundle.sha256,
        model=manifest.model,
        task=manifest.task,
        format=manifest.format,
        precision=manifest.precision,
        classes=manifest.classes,
        input_shape=(1, size.height, size.width, 3),
        model_bytes=sum(len(bundle.files[name]) for name in model_files),
        bundle_bytes=sum(map(len, bundle.files.values())),
        certified=manifest.gate.certified,
        dataset_sha256=manifest.dataset_sha256,
        measured=manifest.measured,
    )


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _family(machine: str) -> str:
    """Return one name for the processors that run each other's programs."""
    if machine.startswith(("arm", "aarch")):
        return "arm"
    return "x86" if machine in ("x86_64", "amd64", "i386", "i486", "i586", "i686") else machine
