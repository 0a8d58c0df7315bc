"""Imports torchvision where torch is a CPU build and torchvision is not."""

import importlib


def import_torchvision() -> None:
    """Import torchvision, also where its compiled operators don't fit torch's build.

    A CPU build of torch beside PyPI's torchvision fails on import, because `torchvision::nms` is not registered.
    Classification uses neither operator, so declaring their names is enough. On a whole pair this does nothing more
    than the import. Call it before the first import of ultralytics.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        import torch

        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        importlib.import_module("torchvision")


_libraries: list[object] = []  # a library's definitions last as long as the object
