"""From an artifact to engines: typed ONNX of each stage, parsed and built by TensorRT, one plan a stage.

Networks are strongly typed: TensorRT computes in the types that the file states. Our ops become our plugins when their
library is registered before parsing; a plugin that is missing would silently become the op's body of standard layers,
so the plugin layers are counted.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from maskline_command.signals import held
from maskline_train.files import replace_file

from maskline_export.custom_ops.multiscale_roi_align import needs_plugin
from maskline_export.engine import plugin_library
from maskline_export.engine.engine_manifest import FILE as ENGINES_FILE
from maskline_export.engine.engine_manifest import PLUGINS, EngineInfo, EngineManifest, Runtime
from maskline_export.engine.plugin_library import PluginFile
from maskline_export.engine.profiles import Profile, profiles
from maskline_export.engine.tensorrt_module import first_gpu, import_tensorrt, make_logger, make_monitor
from maskline_export.errors import EngineBuildError
from maskline_export.folder import written_whole
from maskline_export.manifest import Manifest, Precision, StageInfo, load_artifact, sha256
from maskline_export.onnx_file import load_onnx
from maskline_export.precision.to_typed import check_request, type_artifact

TIMING_CACHE = "timing.cache"
RTX_CAPABILITY = "8.9"  # what TensorRT for RTX builds for where no GPU is
# TensorRT's names of the wire's dtypes.
_DTYPES = {"FP32": "FLOAT", "FP16": "HALF", "BF16": "BF16", "INT32": "INT32", "UINT8": "UINT8"}

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of `build_engines`.

    Attributes:
        artifact: folder of an artifact with dense bodies, fp32 or typed as `precision` already.
        out: folder to write; engines that are there are replaced, anything else is refused.
        precision: of trunk and heads.
        profile: as `--profile` has them; empty: the default for every canvas.
        calibration: images for int8.
        plugin_library: None: looked for, see `plugin_library.find`.
        plugin_free: build the bodies of our ops, standard layers only.
        runtime: which TensorRT.
        timing_cache: file to read and write; None: in `out`.
    """

    artifact: Path
    out: Path
    precision: Precision
    profile: Sequence[str] = ()
    calibration: Path | None = None
    plugin_library: Path | None = None
    plugin_free: bool = False
    runtime: Runtime = "tensorrt"
    timing_cache: Path | None = None


def build_engines(request: Request, report: Report = lambda _: None) -> EngineManifest:
    """Write a plan for each stage, the plugin libraries and `engines.json`; whole or not at all.

    Raises:
        EngineBuildError: no TensorRT, no GPU, no plugins, or TensorRT refuses a stage; the text holds its own words.
        ContractError: the artifact does not fit what is asked for.
    """
    trt = import_tensorrt(request.runtime)
    source = load_artifact(request.artifact)
    _check(request, source)
    wanted = profiles(request.profile, source.spec.preprocessing)
    library = None if request.plugin_free else plugin_library.find(request.plugin_library)
    if library is not None:
        plugin_library.load(trt, library, {op for stage in source.stages.values() for op in stage.custom_ops})
    gpu = None if request.runtime == "tensorrt_rtx" else _gpu()
    with (
        written_whole(request.out, ENGINES_FILE, "a folder of engines") as folder,
        tempfile.TemporaryDirectory(prefix="maskline-engine-") as scratch,
    ):
        typed, manifest = _typed(request, source, Path(scratch) / "artifact", report)
        builder = _Builder(trt, request, wanted, request.timing_cache or request.out / TIMING_CACHE)
        stages = {}
        for name, info in manifest.stages.items():
            report(f"{name}: building, {len(wanted)} profiles")
            plan, layers, seconds = builder.build(typed / info.file, info)
            path = folder / f"{name}.plan"
            path.write_bytes(plan)
            stages[name] = EngineInfo(
                file=path.name,
                sha256=sha256(path),
                bytes=len(plan),
                onnx_sha256=source.stages[name].sha256,
                plugin_layers=layers,
                build_seconds=round(seconds, 2),
                inputs=info.inputs,
                outputs=info.outputs,
            )
            report(f"{name}: {len(plan) / 2**20:.1f} MiB in {seconds:.1f} s, {layers} plugin layers")
        engines = EngineManifest(
            maskline=importlib.metadata.version("maskline"),
            runtime=request.runtime,
            version=trt.__version__,
            compute_capability=gpu[1] if gpu else RTX_CAPABILITY,
            gpu=gpu[0] if gpu else None,
            precision=request.precision,
            plugins=_plugins(folder, library),
            profiles=wanted,
            stages=stages,
        )
        builder.save_cache(folder)
        engines.save(folder)
    return engines


def _check(request: Request, source: Manifest) -> None:
    """Refuse what cannot come out well before anything is computed."""
    if request.runtime == "tensorrt_rtx" and not request.plugin_free:
        raise EngineBuildError(
            "--rtx: got a network with plugins, which TensorRT for RTX does not take; add --plugin-free"
        )
    if source.bodies != "dense":
        raise EngineBuildError(
            f"{request.artifact}: got bodies {source.bodies!r}, expected 'dense', whose shapes are static as TensorRT "
            "wants them; export with `maskline-export onnx CHECKPOINT OUT --bodies dense`"
        )
    if request.plugin_free and needs_plugin(source.spec.roi_align):
        spec = source.spec.roi_align
        raise EngineBuildError(
            f"--plugin-free: got roi_align.mode {spec.mode!r} with sampling_ratio {spec.sampling_ratio}, whose number "
            "of samples depends on the box, expected a network that TensorRT builds by itself; leave --plugin-free out "
            "(our plugin does it), or set sampling_ratio 2 and mode align_avg in the checkpoint's model.json, which "
            "moves boxes"
        )
    if request.precision != source.precision and request.precision != "fp32":
        check_request(source, request.precision, request.calibration)
    elif request.precision != source.precision:
        raise EngineBuildError(
            f"{request.artifact}: got precision {source.precision}, expected fp32; name the artifact that "
            "`maskline-export onnx` wrote"
        )


def _gpu() -> tuple[str, str]:
    found = first_gpu()
    if found is None:
        raise EngineBuildError(
            "no NVIDIA GPU found, which TensorRT needs to build an engine; run this on the machine that will serve, or "
            "use --rtx --plugin-free"
        )
    return found


def _typed(request: Request, source: Manifest, scratch: Path, report: Report) -> tuple[Path, Manifest]:
    """Folder and manifest of the artifact in the precision asked for."""
    if source.precision == request.precision:
        return request.artifact, source
    return scratch, type_artifact(request.artifact, scratch, request.precision, request.calibration, report)


def _plugins(folder: Path, library: Path | None) -> tuple[PluginFile, ...]:
    return () if library is None else plugin_library.copy_into(folder / PLUGINS, library)


class _Builder:
    """TensorRT's builder with what all stages share: profiles and the timing cache."""

    def __init__(self, trt: Any, request: Request, wanted: tuple[Profile, ...], cache: Path) -> None:
        self._trt, self._request, self._profiles, self._cache_file = trt, request, wanted, cache
        self._logger = make_logger(trt)
        self._cache = cache.read_bytes() if cache.is_file() else b""
        if request.timing_cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)  # now, not after the last stage
        try:
            self._builder = trt.Builder(self._logger)
        except (RuntimeError, TypeError) as error:
            raise self._error("TensorRT does not start", str(error)) from error

    def build(self, path: Path, info: StageInfo) -> tuple[bytes, int, float]:
        """Plan, number of plugin layers and seconds of one stage."""
        started = time.perf_counter()
        self._logger.errors.clear()
        network = self._builder.create_network(1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = self._trt.OnnxParser(network, self._logger)
        if not parser.parse(load_onnx(path).SerializeToString()):
            told = [
                f"{error.node_operator()}: {error.desc()}" for error in map(parser.get_error, range(parser.num_errors))
            ]
            raise self._error(f"{path.name}: TensorRT's parser refuses it", *told)
        self._check_tensors(network, info, path.name)
        layers = self._count_plugins(network, info, path.name)
        config = self._config(info)
        with held():
            plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise self._error(f"{path.name}: TensorRT does not build it")
        cache = config.get_timing_cache()
        self._cache = bytes(cache.serialize()) if cache is not None else b""
        return bytes(plan), layers, time.perf_counter() - started

    def save_cache(self, folder: Path) -> None:
        """Keep the timings for the next build, in the new folder or in the file that was named."""
        if self._request.timing_cache is None:
            (folder / TIMING_CACHE).write_bytes(self._cache)
            return
        replace_file(self._cache_file, self._cache)

    def _config(self, info: StageInfo) -> Any:
        config = self._builder.create_builder_config()
        config.progress_monitor = make_monitor(self._trt)
        # fp32 means fp32: TF32 keeps 10 bits of a factor, as fp16 does, and would be on by itself.
        config.clear_flag(self._trt.BuilderFlag.TF32)
        if self._request.runtime == "tensorrt_rtx":
            config.num_compute_capabilities = 1
            config.set_compute_capability(
                getattr(self._trt.ComputeCapability, f"SM{RTX_CAPABILITY.replace('.', '')}"), 0
            )
        for wanted in self._profiles:
            profile = self._builder.create_optimization_profile()
            for tensor in info.inputs:
                profile.set_shape(tensor.name, *wanted.shapes(tensor))
            if config.add_optimization_profile(profile) < 0:
                raise self._error(f"{info.file}: TensorRT refuses the profile {wanted}")
        cache = config.create_timing_cache(self._cache)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            # Of another TensorRT or GPU: start anew.
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        return config

    def _check_tensors(self, network: Any, info: StageInfo, name: str) -> None:
        """Inputs and outputs of the network are those of the manifest: names, types, sizes, order."""
        sides = (
            ("input", network.num_inputs, network.get_input, info.inputs),
            ("output", network.num_outputs, network.get_output, info.outputs),
        )
        for side, count, get, expected in sides:
            found = [
                f"{tensor.name} {str(tensor.dtype).rpartition('.')[2]} {list(tensor.shape)}"
                for tensor in map(get, range(count))
            ]
            wanted = [
                f"{t.name} {_DTYPES[t.dtype]} {[-1 if isinstance(size, str) else size for size in t.shape]}"
                for t in expected
            ]
            if found != wanted:
                wrong = next(((a, b) for a, b in zip(found, wanted, strict=False) if a != b), (found, wanted))
                raise self._error(f"{name}: TensorRT sees {side} {wrong[0]}, expected {wrong[1]}")

    def _count_plugins(self, network: Any, info: StageInfo, name: str) -> int:
        """How many layers are plugins; as many as the manifest has op nodes, or none where none are wanted."""
        kinds = [network.get_layer(index).type for index in range(network.num_layers)]
        found = kinds.count(self._trt.LayerType.PLUGIN_V3)
        expected = 0 if self._request.plugin_free else sum(info.custom_ops.values())
        if found != expected:
            ops = ", ".join(f"{op} x {count}" for op, count in info.custom_ops.items()) or "no op of ours"
            raise self._error(
                f"{name}: got {found} plugin layers, expected {expected} ({ops}); TensorRT took the ops' bodies, or "
                "their plugins, against what was asked for"
            )
        return found

    def _error(self, what: str, *told: str) -> EngineBuildError:
        """One line: what failed, what TensorRT said, what to do next."""
        said = [*told, *self._logger.errors]
        words = f"; it says: {' | '.join(said)[:600]}" if said else ""
        return EngineBuildError(f"{what}{words}; TensorRT {self._trt.__version__}")
