from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.config import load_config, load_sections, save_config
from sightline.errors import ConfigError, OutputError


@dataclass(frozen=True)
class Train:
    epochs: int = 60
    lr: float = 0.1
    size_hw: tuple[int, int] = (256, 128)


@dataclass(frozen=True)
class Run:
    name: str = "reid"
    folder: str = "runs/${name}"
    resume: str | None = None
    ema: bool = False
    tags: tuple[str, ...] = ()
    train: Train = field(default_factory=Train)


@dataclass(frozen=True)
class Needy:
    weights: str
    epochs: int = 1


def file(folder: Path, text: str | bytes, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(schema: type[object], path: Path | None = None, *overrides: str) -> str:
    """The one line a configuration is refused with."""
    with pytest.raises(ConfigError) as caught:
        load_config(schema, path, overrides=overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- layers ------------------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_of_the_schema_hold() -> None:
    assert load_config(Run) == Run(folder="runs/reid")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(Run, file(tmp_path, text)) == Run(folder="runs/reid")


def test_a_file_beats_the_defaults_and_an_override_beats_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, "name: face\ntrain: {epochs: 3, lr: 0.5}\n")
    config = load_config(Run, path, overrides=["train.lr=1e-3"])
    assert (config.name, config.train.epochs, config.train.lr) == ("face", 3, 0.001)


def test_a_nested_key_leaves_its_neighbours_at_their_defaults(tmp_path: Path) -> None:
    assert load_config(Run, file(tmp_path, "train: {epochs: 3}\n")).train == Train(epochs=3)


def test_an_override_equal_to_the_default_still_beats_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, "train: {epochs: 3}\n")
    assert load_config(Run, path, overrides=["train.epochs=60"]).train.epochs == 60


def test_of_two_overrides_of_one_key_the_later_holds() -> None:
    assert load_config(Run, overrides=["train.epochs=1", "train.epochs=2"]).train.epochs == 2


def test_a_reference_follows_what_an_override_made_of_its_target() -> None:
    assert load_config(Run, overrides=["name=face"]).folder == "runs/face"


def test_the_value_of_an_override_may_hold_an_equals_sign() -> None:
    assert load_config(Run, overrides=["name=a=b"]).name == "a=b"


def test_lists_come_out_as_the_tuples_the_schema_promises(tmp_path: Path) -> None:
    config = load_config(Run, file(tmp_path, "tags: [a, b]\n"), overrides=["train.size_hw=[112, 112]"])
    assert config.tags == ("a", "b")
    assert config.train.size_hw == (112, 112)


def test_null_is_taken_where_the_schema_allows_it(tmp_path: Path) -> None:
    assert load_config(Run, file(tmp_path, "resume: exp3\n"), overrides=["resume=null"]).resume is None


def test_the_result_is_the_frozen_dataclass_all_the_way_down() -> None:
    config = load_config(Run)
    assert type(config) is Run
    assert type(config.train) is Train
    with pytest.raises(FrozenInstanceError):
        config.name = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        config.train.epochs = 1  # type: ignore[misc]
    assert isinstance(hash(config), int)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("nmae: x\n", "nmae", "name"),
        ("train: {epohcs: 3}\n", "train.epohcs", "train.epochs"),
        ("epoch: 3\n", "epoch", "train.epochs"),
    ],
)
def test_an_unknown_key_of_a_file_is_named_with_the_nearest_one(
    tmp_path: Path, text: str, unknown: str, nearest: str
) -> None:
    path = file(tmp_path, text)
    assert refusal(Run, path) == f"{path}: unknown key {unknown!r}; did you mean {nearest}?"


def test_an_unknown_key_of_an_override_is_named_with_the_nearest_one() -> None:
    assert refusal(Run, None, "train.epohcs=3") == (
        "train.epohcs=3: unknown key 'train.epohcs'; did you mean train.epochs?"
    )


def test_a_key_like_no_other_gets_no_suggestion(tmp_path: Path) -> None:
    assert "did you mean" not in refusal(Run, file(tmp_path, "zzzzzzzz: 1\n"))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("train.epochs=three", "train.epochs"),
        ("train.epochs=1.5", "train.epochs"),
        ("train.epochs=", "train.epochs"),
        ("train.epochs.x=3", "train.epochs"),
        ("train=5", "train"),
        ("train=[1, 2]", "train"),
        ("train=null", "train"),
        ("train.size_hw=[1, 2, 3]", "train.size_hw"),
        ("train.size_hw=[tall, wide]", "train.size_hw"),
        ("train.size_hw.0=7", "train.size_hw"),
        ("tags=3", "tags"),
        ("name=[a]", "name"),
        ("name=null", "name"),
        ("ema=perhaps", "ema"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_key_by_file_and_override(
    tmp_path: Path, override: str, key: str
) -> None:
    assert refusal(Run, None, override).startswith(f"{override}: {key}: ")
    keys, _, text = override.partition("=")
    for part in reversed(keys.split(".")):
        text = f"{{{part}: {text}}}"
    path = file(tmp_path, text)
    assert refusal(Run, path).startswith(f"{path}: {key}: ")


def test_no_placeholder_of_the_library_reaches_the_user() -> None:
    assert "$" not in refusal(Run, None, "train.size_hw=[tall, wide]")


@pytest.mark.parametrize("override", ["name", "=3", "3name=x", "na me=x", "--name=x", ""])
def test_an_override_that_is_not_key_value_is_shown_an_example(override: str) -> None:
    assert refusal(Run, None, override) == f"override {override!r} is not key=value, e.g. train.epochs=80"


@pytest.mark.parametrize("value", ["[1", "{", '"', "@!", "*x", "${a", "!!python/object:os.system", "\ud800"])
def test_an_override_whose_value_is_not_yaml_is_refused(value: str) -> None:
    assert refusal(Run, None, f"name={value}").startswith(f"override {f'name={value}'!r} has a value that is not YAML")


def test_a_circle_of_references_is_refused_with_a_key_in_it(tmp_path: Path) -> None:
    path = file(tmp_path, "name: ${folder}\n")
    assert refusal(Run, path) == f"{path}: name: Recursive interpolation detected"


def test_a_reference_to_nothing_names_both_ends(tmp_path: Path) -> None:
    path = file(tmp_path, "name: x\n")
    assert refusal(Run, path, "resume=${nowhere}") == (
        f"{path}, resume=${{nowhere}}: resume: Interpolation key 'nowhere' not found"
    )


def test_a_value_nobody_gave_and_that_has_no_default_is_asked_for(tmp_path: Path) -> None:
    path = file(tmp_path, "epochs: 2\n")
    message = refusal(Needy, path)
    assert message.startswith(f"{path}: weights: ")
    assert load_config(Needy, path, overrides=["weights=a.pth"]) == Needy("a.pth", 2)


@pytest.mark.parametrize(
    "text",
    [
        "name: [1\n",
        "name: a\nname: b\n",
        "name: ${folder\n",
        "name: &x [*x]\n",
        "5\n",
        "null: 1\n",
        "name: !!python/object:os.system x\n",
        b"\xff\xfen\x00",
        "näme: 1".encode("latin-1"),
        "a: " + "{a: " * 1500 + "1" + "}" * 1500,
    ],
)
def test_what_is_no_yaml_of_keys_and_values_is_refused_by_name(tmp_path: Path, text: str | bytes) -> None:
    path = file(tmp_path, text)
    message = refusal(Run, path)
    assert message.startswith(f"{path} cannot be read as YAML: ")
    assert len(message) < 400


def test_a_list_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "- name: a\n")
    assert refusal(Run, path) == f"{path} holds a list; expected `key: value` lines"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refusal(Run, tmp_path / "none.yaml") == f"configuration not found: {tmp_path / 'none.yaml'}"
    assert refusal(Run, tmp_path).startswith(f"{tmp_path} cannot be read as YAML: ")


# --- saved and read again ----------------------------------------------------------------------------------------

# "???" is how OmegaConf marks a value that is still to be given, and so no text of ours.
TEXTS = st.text(max_size=20).filter(lambda text: text != "???")
FLOATS = st.floats(allow_nan=False)
RUNS = st.builds(
    Run,
    name=TEXTS,
    folder=TEXTS | st.sampled_from(["${name}", "\\${name}", "a\\\\${name}\\", "$", "{}", "1e5", "no", "~", "0x1f"]),
    resume=st.none() | TEXTS,
    ema=st.booleans(),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    train=st.builds(Train, epochs=st.integers(), lr=FLOATS, size_hw=st.tuples(st.integers(), st.integers())),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RUNS)
def test_a_saved_configuration_is_read_back_equal(tmp_path: Path, config: Run) -> None:
    path = tmp_path / "saved.yaml"
    save_config(config, path)
    assert load_config(Run, path) == config


def test_a_saved_configuration_is_plain_yaml_with_every_value_in_it(tmp_path: Path) -> None:
    save_config(load_config(Run, overrides=["train.epochs=3"]), tmp_path / "saved.yaml")
    assert yaml.safe_load((tmp_path / "saved.yaml").read_text(encoding="utf-8")) == {
        "name": "reid",
        "folder": "runs/reid",
        "resume": None,
        "ema": False,
        "tags": [],
        "train": {"epochs": 3, "lr": 0.1, "size_hw": [256, 128]},
    }


def test_saving_into_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        save_config(Run(), tmp_path / "none" / "saved.yaml")


# --- pipeline files of many stages -------------------------------------------------------------------------------

PIPELINE = """
global:
  repo_root: /content/unifiedposepipeline
  models_dir: ${repo_root}/models
  current_video: campus
  output: ${repo_root}/demo_data/${current_video}

stage4_generate_html:
  resize_to: [256, 256]
  clustering:
    enabled: true
    osnet_model: ${models_dir}/reid/osnet_x0_25_msmt17.onnx
    num_best_crops: 16
    similarity_threshold: 0.70
  output:
    webp_dir: ${output}/webp
    copies: ["${output}/a", {b: "${current_video}"}]
"""


def sections_of(folder: Path, text: str) -> dict[str, object]:
    return dict(load_sections(file(folder, text)))


def test_a_stage_gets_its_names_from_the_global_section_however_deep_they_lie(tmp_path: Path) -> None:
    assert sections_of(tmp_path, PIPELINE)["stage4_generate_html"] == {
        "resize_to": [256, 256],
        "clustering": {
            "enabled": True,
            "osnet_model": "/content/unifiedposepipeline/models/reid/osnet_x0_25_msmt17.onnx",
            "num_best_crops": 16,
            "similarity_threshold": 0.7,
        },
        "output": {
            "webp_dir": "/content/unifiedposepipeline/demo_data/campus/webp",
            "copies": ["/content/unifiedposepipeline/demo_data/campus/a", {"b": "campus"}],
        },
    }


def test_a_section_does_not_hide_the_variable_of_its_own_name(tmp_path: Path) -> None:
    sections = sections_of(tmp_path, "global: {output: /out}\noutput: {dir: 1}\nstage: {dir: '${output}/x'}\n")
    assert sections == {"global": {"output": "/out"}, "output": {"dir": 1}, "stage": {"dir": "/out/x"}}


def test_a_number_stays_a_number_through_a_reference(tmp_path: Path) -> None:
    assert sections_of(tmp_path, "global: {n: 16}\nstage: {crops: '${n}'}\n")["stage"] == {"crops": 16}


def test_a_chain_of_references_is_followed_to_its_end(tmp_path: Path) -> None:
    names = "".join(f"  v{index}: ${{v{index + 1}}}/{index}\n" for index in range(12))
    sections = sections_of(tmp_path, f"global:\n{names}  v12: end\nstage: {{x: '${{v0}}'}}\n")
    assert sections["stage"] == {"x": "/".join(["end", *map(str, reversed(range(12)))])}


def test_the_section_of_variables_can_have_another_name(tmp_path: Path) -> None:
    path = file(tmp_path, "paths: {root: /r}\nstage: {x: '${root}/y'}\n")
    assert load_sections(path, variables="paths")["stage"] == {"x": "/r/y"}


@pytest.mark.parametrize("text", ["stage: {n: 1}\n", "global:\nstage: {n: 1}\n"])
def test_a_file_without_variables_is_read_as_it_is(tmp_path: Path, text: str) -> None:
    assert sections_of(tmp_path, text)["stage"] == {"n": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stage: {x: '${nowhere}/y'}\n", "stage.x: Interpolation key 'nowhere' not found"),
        ("global: {a: '${b}', b: '${a}'}\n", "global.a: Recursive interpolation detected"),
        ("global: {a: '${a}/x'}\n", "global.a: Recursive interpolation detected"),
        ("stage: {x: '${unheard:of}'}\n", "stage.x: Unsupported interpolation type unheard"),
        ("global: 5\n", "global is 5; expected `name: value` lines"),
    ],
)
def test_names_that_lead_nowhere_or_in_a_circle_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_sections(path)
    assert str(caught.value) == f"{path}: {reason}"
