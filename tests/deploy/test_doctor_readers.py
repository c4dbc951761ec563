"""The readers against what they imitate: GLib itself, the composer of PyYAML, Chroma and the onnx package."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from doctor_deployment import GOOD, PGIE, SGIE, TRACKER, network, put
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from sightline.deploy.doctor import key_file
from sightline.deploy.doctor.document import LARGEST, Document
from sightline.deploy.doctor.galleries import read_galleries
from sightline.deploy.doctor.graph import read_graph
from sightline.deploy.doctor.labels import read_labels
from sightline.deploy.doctor.nvinfer import read_nvinfer
from sightline.deploy.doctor.scripts import read_script
from sightline.deploy.doctor.tracker import read_tracker
from sightline.deploy.doctor.yaml_tree import Node, parse_tree, parse_yaml
from sightline.errors import ConfigError
from sightline.onnx_file import read_onnx

PLACED = SGIE.replace("{here}", "/app")


class GLibError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


class GLibKeyFile:
    """The real one. `None` is its error."""

    def __init__(self, text: bytes) -> None:
        name = ctypes.util.find_library("glib-2.0")
        if name is None:
            pytest.skip("needs GLib, to compare with it")
        self.glib = ctypes.CDLL(name)
        self.glib.g_key_file_new.restype = ctypes.c_void_p
        self.glib.g_key_file_get_double.restype = ctypes.c_double
        self.glib.g_key_file_get_string.restype = ctypes.c_void_p
        self.glib.g_key_file_get_integer_list.restype = ctypes.POINTER(ctypes.c_int)
        self.glib.g_key_file_get_double_list.restype = ctypes.POINTER(ctypes.c_double)
        self.file = ctypes.c_void_p(self.glib.g_key_file_new())
        self.loaded = bool(self._call("load_from_data", text, ctypes.c_size_t(len(text)), 0)[0])

    def _call(self, name: str, *arguments: object) -> tuple[object, bool]:
        error = ctypes.POINTER(GLibError)()
        function = getattr(self.glib, f"g_key_file_{name}")
        result = function(self.file, *arguments, ctypes.byref(error))
        failed = bool(error)
        if failed:
            self.glib.g_error_free(error)
        return result, failed

    def number(self, kind: str, key: bytes) -> object:
        value, failed = self._call(f"get_{kind}", b"property", key)
        return None if failed else value

    def numbers(self, kind: str, key: bytes) -> list[float] | None:
        count = ctypes.c_size_t()
        value, failed = self._call(f"get_{kind}_list", b"property", key, ctypes.byref(count))
        return None if failed else [value[index] for index in range(count.value)]  # type: ignore[index]

    def close(self) -> None:
        self.glib.g_key_file_free(self.file)


def parsed(text: str) -> Document:
    return key_file.parse_key_file(Path("x.txt"), tuple(text.removesuffix("\n").split("\n")))


LINES = [
    "[property]", "[x] # c", "[]", "# c", "a=1", "a: 1", "=1", "a", " a = 2", "; c", "", "[property", "[a]]", "a b=1",
    "a[de]=1", "a]=1", " [x]", "\t#", "[x]  ", "-=1",
]  # fmt: skip
JSON = st.recursive(
    st.text("abc 1", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("kxy", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
VALUES = st.text("0123456789.;,+-eE#x \t", max_size=9)


class TestGlib:
    @settings(max_examples=400, deadline=None)
    @given(VALUES)
    def test_a_number_is_what_glib_takes_for_one(self, value: str) -> None:
        real = GLibKeyFile(f"[property]\na={value}\n".encode())
        assert real.loaded
        read = value.lstrip(" \t")
        assert key_file.as_integer(read) == real.number("integer", b"a")
        assert key_file.as_double(read) == real.number("double", b"a")
        assert (key_file.as_integers(read) or None) == (real.numbers("integer", b"a") or None)
        assert (key_file.as_doubles(read) or None) == (real.numbers("double", b"a") or None)
        real.close()

    @pytest.mark.parametrize("value", ["inf", "nan", "0x1F", "2147483648", "-2147483648", "1e400", "9" * 5000])
    def test_an_odd_number_is_what_glib_takes_for_one(self, value: str) -> None:
        real = GLibKeyFile(f"[property]\na={value}\n".encode())
        np.testing.assert_equal(key_file.as_integer(value), real.number("integer", b"a"))
        if value != "9" * 5000:  # glibc's value of it is infinite, ours as well
            np.testing.assert_equal(key_file.as_double(value), real.number("double", b"a"))
        real.close()

    @settings(max_examples=600, deadline=None)
    @given(st.lists(st.sampled_from(LINES), max_size=6), st.sampled_from(["\n", "\r\n"]))
    def test_a_file_has_a_problem_exactly_where_glib_refuses_it(self, lines: list[str], end: str) -> None:
        text = end.join(lines) + end
        real = GLibKeyFile(text.encode())
        read = key_file.parse_key_file(Path("x"), tuple(line.removesuffix("\r") for line in text.split("\n")))
        assert bool(read.problems) == (not real.loaded), text
        if real.loaded and "property" in read.by_name:
            setting = read.by_name["property"].last("a")
            assert (setting and key_file.as_integer(setting.value)) == real.number("integer", b"a")
        real.close()

    def test_a_byte_order_mark_is_refused_by_both(self) -> None:
        text = "\ufeff[property]\na=1\n"
        assert not GLibKeyFile(text.encode()).loaded
        assert [problem.rule.id for problem in parsed(text).problems] == ["CFG002"]


class TestNvinfer:
    def test_it_says_values_lines_and_places(self, tmp_path: Path) -> None:
        config = read_nvinfer(put(tmp_path / "d", GOOD) / "reid_sgie_config.txt")
        assert config.problems == ()
        assert (config.values["batch-size"], config.lines["batch-size"]) == ("16", 17)
        assert config.integer("batch-size") == 16 and config.doubles("offsets") == [0.0, 0.0, 0.0]
        assert config.integers("infer-dims") == [3, 256, 128] and config.double("net-scale-factor") == 1.0
        assert str(config.place("batch-size")).endswith("reid_sgie_config.txt:17")
        assert config.place("interval").line == 2
        assert (config.precision, config.is_detector, config.sounds_like_reid) == ("fp16", False, True)

    def test_what_is_absent_is_what_nvinfer_takes(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("[property]\n")
        config = read_nvinfer(tmp_path / "x.txt")
        assert (config.integer("gie-unique-id"), config.integer("network-type")) == (15, 0)
        assert config.integer("interval") is None and config.double("net-scale-factor") is None

    def test_the_last_of_two_counts_and_two_groups_are_one(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("[property]\na=1\na=2\n[y]\na=9\n[property]\na=3\n")
        config = read_nvinfer(tmp_path / "x.txt")
        assert (config.values["a"], config.lines["a"]) == ("3", 7)

    def test_yaml_is_the_same(self, tmp_path: Path) -> None:
        body = "".join(f"  {line.replace('=', ': ')}\n" for line in PLACED.splitlines()[2:])
        (tmp_path / "x.yml").write_text("property:\n" + body)
        (tmp_path / "x.txt").write_text(PLACED)
        assert read_nvinfer(tmp_path / "x.yml").values == read_nvinfer(tmp_path / "x.txt").values

    @pytest.mark.parametrize("named", ["model.onnx", "./model.onnx", "../d/model.onnx", "{here}/model.onnx"])
    def test_a_path_counts_from_the_folder_of_the_configuration(self, named: str, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d/x.txt").write_text(f"[property]\nonnx-file={named.format(here=tmp_path / 'd')}\n")
        assert read_nvinfer(tmp_path / "d/x.txt").file("onnx-file") == tmp_path / "d/model.onnx"

    @pytest.mark.parametrize(("content", "words"), [
        (None, "no such file"), (b"\0", "no text has"), (b"x" * (LARGEST + 1), "256 KiB"),
    ])  # fmt: skip
    def test_what_is_no_text_file_is_one_line(self, content: bytes | None, words: str, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / "x.txt").write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            read_nvinfer(tmp_path / "x.txt")

    def test_a_folder_or_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no regular file"):
            read_nvinfer(tmp_path)

    def test_a_detector_is_known_by_what_only_detectors_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text(PGIE)
        assert read_nvinfer(tmp_path / "x.txt").is_detector


class TestYaml:
    def test_the_tracker_file_of_opencv_s_dialect_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "t.yml").write_text(TRACKER.replace("{here}", "/app"))
        tracker = read_tracker(tmp_path / "t.yml")
        assert tracker.problems == () and tracker.embeds
        assert tracker.numbers("inferDims") == [3.0, 256.0, 128.0]
        assert tracker.integer("reidFeatureSize") == 512 and tracker.place("reidFeatureSize").line == 6

    @settings(max_examples=150, deadline=None)
    @given(JSON)
    def test_a_tree_is_what_pyyaml_loads(self, value: object) -> None:
        text = yaml.safe_dump(value, default_style='"')
        assert plain(parse_tree(tuple(text.splitlines()))) == value

    def test_a_thousand_levels_and_a_bomb_of_aliases_are_harmless(self) -> None:
        deep = parse_yaml(Path("x.yml"), ("[" * 100_000,))
        assert [problem.rule.id for problem in deep.problems] == ["CFG011"]
        bomb = ["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))]
        assert len(parse_yaml(Path("x.yml"), tuple(bomb)).groups) == 9

    def test_the_line_of_a_mistake_is_named(self) -> None:
        [problem] = parse_yaml(Path("x.yml"), ("property:", "  a: 1", "\tb: 2")).problems
        assert problem.place.line == 3


def plain(node: Node | None) -> object:
    if node is None or node.text is not None:
        return node.text if node else None
    if node.pairs:
        return {name.text: plain(value) for name, value in node.pairs}
    return [plain(item) for item in node.items] if node.items else Nothing()


class Nothing:
    """An empty list and an empty mapping are one here: neither says anything."""

    def __eq__(self, other: object) -> bool:
        return other in ([], {})

    def __hash__(self) -> int:
        return 0


class TestGraph:
    @pytest.mark.parametrize("as_constant_node", [False, True])
    @pytest.mark.parametrize("shape", [[1, 512], [-1, 512], [0, 512], [16, 32, 16]])
    def test_the_first_number_of_a_reshape_is_found(
        self, shape: list[int], as_constant_node: bool, tmp_path: Path
    ) -> None:
        nodes = [helper.make_node("Reshape", ["vectors", "row"], ["flat"])]
        held = {"row": np.array(shape, np.int64)}
        if as_constant_node:
            value = helper.make_tensor("v", onnx.TensorProto.INT64, [len(shape)], shape)  # int64_data, not raw
            nodes, held = [helper.make_node("Constant", [], ["row"], value=value), *nodes], {}
        graph = read_graph(read_onnx(network(tmp_path / "m.onnx", extra=nodes, constants=held, last="flat")))
        assert graph.constant_batches == ((shape[0],) if shape[0] > 0 else ())

    @pytest.mark.parametrize(("op", "size", "normalises"), [
        ("Sub", 3, True), ("Div", 1, True), ("Mul", 3, True), ("Add", 2, False), ("Max", 3, False),
    ])  # fmt: skip
    def test_arithmetic_with_one_or_three_numbers_on_the_pixels_is_a_normalisation(
        self, op: str, size: int, normalises: bool, tmp_path: Path
    ) -> None:
        node = helper.make_node(op, ["input", "by"], ["changed"])
        by = {"by": np.ones((1, size, 1, 1), np.float32)}
        path = network(tmp_path / "m.onnx", extra=[node], constants=by, first="changed")
        assert read_graph(read_onnx(path)).normalises is normalises

    def test_networks_as_people_export_them_have_neither(self, bare_osnet: Path, shared: Path) -> None:
        assert not read_graph(read_onnx(bare_osnet)).normalises
        foreign = shared / "real/models/osnet_x0_25_market1501_128x64.onnx"
        assert read_graph(read_onnx(foreign)).constant_batches == ()


class TestOthers:
    def test_labels_are_lines_and_a_line_of_semicolons_is_many(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("car\n Person \n\n")
        (tmp_path / "b.txt").write_text("car;person;\n")
        assert read_labels(tmp_path / "a.txt").person_ids == read_labels(tmp_path / "b.txt").person_ids == [1]

    def test_chroma_says_what_the_doctor_reads(self, tmp_path: Path) -> None:
        chromadb = pytest.importorskip("chromadb", reason="compares with Chroma's own files")
        client = chromadb.PersistentClient(
            str(tmp_path / "c"), settings=chromadb.config.Settings(anonymized_telemetry=False)
        )
        client.create_collection("plain", embedding_function=None).add(ids=["1"], embeddings=[[1.0, 0.0]])
        index = {"hnsw": {"space": "cosine", "ef_search": 500}}
        client.create_collection("tuned", embedding_function=None, configuration=index, metadata={"fingerprint": "ab"})
        client.close()
        found = {facts.name: facts for facts in read_galleries(tmp_path / "c")}
        assert (found["plain"].space, found["plain"].ef_search, found["plain"].dim) == ("l2", 100, 2)
        assert (found["tuned"].space, found["tuned"].ef_search, found["tuned"].dim) == ("cosine", 500, None)
        assert found["tuned"].fingerprint == "ab" and not found["tuned"].locked

    def test_a_notebook_is_read_with_the_lines_of_its_file(self, tmp_path: Path) -> None:
        told, code = '"cell_type": "markdown", "source": ["pip install x"]', '"cell_type": "code", "source": ['
        lines = ['{"cells": [', f" {{{told}}},", f" {{{code}", '  "!pip install pyds\\n",', '  "import pyds"', " ]}]}"]
        (tmp_path / "n.ipynb").write_text("\n".join(lines))
        script = read_script(tmp_path / "n.ipynb", "notebook")
        assert script.lines == ((4, "!pip install pyds"), (5, "import pyds"))
        assert list(script.installs) == [(4, ("pyds",))] and script.tree is not None

    @pytest.mark.parametrize(
        "text", ["", "{}", "[1]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}', "[" * 9999]
    )
    def test_what_is_no_notebook_has_no_code(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "n.ipynb").write_text(text)
        assert read_script(tmp_path / "n.ipynb", "notebook").lines == ()

    def test_a_command_over_several_lines_is_one(self, tmp_path: Path) -> None:
        text = "trtexec --onnx=a.onnx \\\n  --maxShapes='in:4x3x2x1,b:4x2' \\\n  --fp16\n# trtexec --onnx=b.onnx\n"
        (tmp_path / "b.sh").write_text(text)
        [build] = read_script(tmp_path / "b.sh", "shell").trtexec
        assert build.place.line == 1 and build.model_name == "a.onnx" and "fp16" in build.options
        assert build.shapes("maxShapes") == {"in": (4, 3, 2, 1), "b": (4, 2)}
