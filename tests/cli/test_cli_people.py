"""`sightline people`: what a stranger types, gets, and is told."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from running import error_line, sightline, started

from event_brokers import IN_A_URL, PASSWORD, Subscriber, mosquitto_with_password, redis_server, wait_until
from http_streams import streaming
from painted_people import mean_colour_model
from sightline.cli import main
from sightline.gallery.open_gallery import open_gallery
from street import patches_model, write_street

Capture = pytest.CaptureFixture[str]
START = ("--start", "2026-05-01T08:00:00+00:00")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return patches_model(tmp_path_factory.mktemp("models") / "patches.onnx")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    write_street(folder, seed=4, cameras=["gate", "yard"], people=5, frames=250)
    return folder


def watched(street: Path, model: Path, out: Path, *arguments: str | Path) -> list[str]:
    """The command line for both cameras of the street, by their true boxes."""
    cameras = [part for name in ("gate", "yard") for part in ("--camera", f"{name}={street / name}.mp4")]
    boxes = ("--detector", str(street / "{camera}.txt"))
    return [
        "people",
        *cameras,
        "-m",
        str(model),
        "-o",
        str(out),
        *boxes,
        *START,
        "--device",
        "cpu",
        *map(str, arguments),
    ]


@pytest.fixture(scope="module")
def whole(street: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main([*watched(street, model, out), "--quiet"]) == 0
    return out


def events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


def people(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "people.json").read_text())
    return content


# What it leaves


def test_it_leaves_everything_it_promises(whole: Path) -> None:
    names = {path.name for path in whole.iterdir() if not path.name.startswith(".")}
    assert names >= {"run.json", "events.jsonl", "gallery.sqlite", "people.json", "timing.json", "visits", "cameras"}
    assert names >= {"person_selection.html", "webp", "tracks.npz"}
    assert (whole / "cameras/gate/tracks.csv").is_file() and (whole / "cameras/yard/identities.csv").is_file()


def test_its_files_tell_the_same_story(whole: Path) -> None:
    told, content = events(whole), people(whole)
    visits = {
        (one["camera"], one["number"]): person["identity"] for person in content["people"] for one in person["visits"]
    }
    visits |= {(one["camera"], one["number"]): None for one in content["unknown"]}
    assert visits == {(event["sensorId"], event["trackId"]): event["identity"] for event in told}
    folders = {(path.parent.name, int(path.name)) for path in whole.glob("visits/*/*")}
    assert folders == set(visits)
    with open_gallery(str(whole / "gallery.sqlite"), mode="read") as gallery:
        kept = {entry.id: entry.identity for entry in gallery.iterate()}
    named = {event["embedding"]["ref"]: event["identity"] for event in told if event["identity"] is not None}
    assert kept == named


def test_scoring_takes_its_files_and_finds_the_true_people_in_them(whole: Path, street: Path, capsys: Capture) -> None:
    truth = whole.parent / "truth"
    truth.mkdir(exist_ok=True)
    for name in ("gate", "yard"):
        (truth / f"{name}.txt").write_bytes((street / f"{name}.txt").read_bytes())
    scored = [
        "eval",
        "--task",
        "mot",
        str(truth),
        str(whole / "cameras"),
        "--events",
        str(whole / "events.jsonl"),
        "--json",
    ]
    assert main(scored) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["combined"]["MOTA"] > 0.95
    returners = found["returners"]
    assert returners["nobody"] == 0 and returners["people"] == 5


def test_times_are_those_of_the_start_that_was_given(whole: Path) -> None:
    seen = [event["firstSeen"] for event in events(whole)]
    assert all(moment.startswith("2026-05-01T08:00:0") for moment in seen)


def test_no_two_visits_of_one_camera_at_once_are_one_person(whole: Path) -> None:
    told = [event for event in events(whole) if event["identity"] is not None]
    for number, one in enumerate(told):
        for other in told[:number]:
            if (one["sensorId"], one["identity"]) == (other["sensorId"], other["identity"]):
                assert one["firstSeen"] >= other["lastSeen"] or other["firstSeen"] >= one["lastSeen"]


# What it says


def test_it_says_how_many_came_and_how_fast_it_was(street: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(watched(street, model, tmp_path / "out", "--explain")) == 0
    lines = capsys.readouterr().out.splitlines()
    visits = len(events(tmp_path / "out"))
    count = len(people(tmp_path / "out")["people"])
    assert f"{count} people in {visits} visits of 2 sources" in lines
    assert any(line.startswith("  500 frames in ") for line in lines)
    explained = [line for line in lines if line.startswith(("gate ", "yard "))]
    assert len(explained) == visits and all(
        "(new)" in line or "(matched)" in line or "(unknown)" in line for line in explained
    )
    assert lines[-1].endswith("person_selection.html")


def test_as_json_it_says_the_same(street: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(watched(street, model, tmp_path / "out", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["visits"] == len(events(tmp_path / "out")) == sum(told["decisions"].values())
    assert told["people"] == len(people(tmp_path / "out")["people"])
    assert told["sources"]["gate"] == {"frames": 250, "dropped": 0, "error": None}
    assert told["timing"]["frames"] == 500


def test_the_video_has_every_frame_with_the_names_in_it(street: Path, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "named.mp4"
    assert main([*watched(street, model, tmp_path / "out", "--video", target), "--quiet"]) == 0
    for name in ("gate", "yard"):
        drawn, plain = (
            cv2.VideoCapture(str(tmp_path / f"named-{name}.mp4")),
            cv2.VideoCapture(str(street / f"{name}.mp4")),
        )
        counts = [int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) for capture in (drawn, plain)]
        assert counts == [250, 250]
        drawn.release(), plain.release()


# Broken off, and gone on with


def without_times(out: Path) -> tuple[dict[str, Any], set[tuple[Any, ...]], list[str]]:
    told = {
        tuple(event[name] for name in ("id", "identity", "decision", "boxesDigest", "firstSeen"))
        for event in events(out)
    }
    tracks = [(out / f"cameras/{name}/identities.csv").read_text() for name in ("gate", "yard")]
    return people(out), told, tracks


def same_run(whole: Path, out: Path) -> None:
    """Start the copy with the id of the whole run, for ids of visits depend on it."""
    out.mkdir(parents=True)
    record = json.loads((whole / "run.json").read_text()) | {"finished": False}
    record["settings"]["gallery"] = str(out / "gallery.sqlite")
    (out / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize("delays_s", [(0.9, 1.4), (1.1, 1.2, 1.3), (1.6,)])
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(
    street: Path, model: Path, whole: Path, tmp_path: Path, delays_s: Sequence[float]
) -> None:
    out = tmp_path / "out"
    same_run(whole, out)
    for delay_s in delays_s:
        process = started(*watched(street, model, out, "--quiet"))
        time.sleep(delay_s)
        process.kill()
        process.communicate()
    last = sightline(*watched(street, model, out, "--quiet"))
    assert (last.returncode, last.stderr) == (0, "")
    assert without_times(out) == without_times(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_writes_what_it_has_and_goes_on_another_time(
    street: Path, model: Path, whole: Path, tmp_path: Path, number: int
) -> None:
    out = tmp_path / "out"
    same_run(whole, out)
    process = started(*watched(street, model, out))
    deadline_s = time.monotonic() + 30
    while not (out / "events.jsonl").exists() or not (out / "events.jsonl").read_bytes():
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    if process.returncode == 130:  # else it was over before the signal came
        assert error == "sightline: interrupted; the same command goes on from here\n"
        assert (out / "person_selection.html").is_file() and people(out)["people"]
    assert main([*watched(street, model, out), "--quiet"]) == 0
    assert without_times(out) == without_times(whole)


def test_what_is_done_is_not_done_again(street: Path, model: Path, whole: Path, capsys: Capture) -> None:
    before = (whole / "events.jsonl").read_bytes()
    assert main(watched(street, model, whole)) == 0
    assert "nothing was left to be done; --restart does it again" in capsys.readouterr().out
    assert (whole / "events.jsonl").read_bytes() == before


def test_another_run_in_the_same_folder_is_refused_until_the_first_is_thrown_away(
    street: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    assert main([*watched(street, model, out), "--quiet"]) == 0
    assert main([*watched(street, model, out, "--embed-every", "1"), "--quiet"]) == 1
    told = error_line(capsys.readouterr().err)
    advice = "choose another --out, or pass --restart to throw that run away"
    assert told == f"{out} holds a run with embed_every 0.5, not 1.0; {advice}"
    assert main([*watched(street, model, out, "--embed-every", "1", "--restart"), "--quiet"]) == 0


def test_a_second_look_at_the_same_people_knows_them_again(
    street: Path, model: Path, whole: Path, tmp_path: Path
) -> None:
    """The same footage a day later, in the same gallery: nobody is new."""
    gallery = str(whole / "gallery.sqlite")
    names = {person["identity"] for person in people(whole)["people"]}
    later = [*watched(street, model, tmp_path / "out", "--gallery", gallery), "--quiet"]
    later[later.index(START[1])] = "2026-05-02T08:00:00+00:00"
    assert main(later) == 0
    assert {person["identity"] for person in people(tmp_path / "out")["people"]} <= names


def test_two_processes_on_one_gallery_give_nobody_the_same_name(street: Path, model: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "shared.sqlite"
    commands = [watched(street, model, tmp_path / name, "--gallery", gallery, "--quiet") for name in ("a", "b")]
    commands[1][commands[1].index(START[1])] = "2026-05-02T08:00:00+00:00"
    runs = [started(*command) for command in commands]
    assert [(run.wait(60), run.communicate()[1]) for run in runs] == [(0, ""), (0, "")]
    with open_gallery(str(gallery), mode="read") as found:
        entries = list(found.iterate())
    told = [event for name in ("a", "b") for event in events(tmp_path / name) if event["identity"] is not None]
    assert len(entries) == len({entry.id for entry in entries}) == len(told)


# Live


def test_a_camera_is_watched_until_it_is_ended_and_another_day_goes_on(
    street: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    gate = ["people", "--camera", f"gate={street}/gate.mp4", "--live", "-m", model, "-o", out, "--device", "cpu"]
    numbers: list[int] = []
    for _ in range(2):
        process = started(*map(str, gate))
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=30)
        assert (process.returncode, error) == (0, "sightline: interrupted; the same command goes on from here\n"), (
            output
        )
        numbers = [event["trackId"] for event in events(out)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 2


# What it refuses


def refused(capsys: Capture, *arguments: str | Path) -> str:
    assert main(["people", *map(str, arguments), "--quiet"]) == 1
    return error_line(capsys.readouterr().err)


def test_what_is_missing_or_too_much_is_one_line(model: Path, street: Path, tmp_path: Path, capsys: Capture) -> None:
    gate, out = street / "gate.mp4", ("-o", tmp_path / "out")
    assert refused(capsys, gate) == "no model to tell people apart by; pass -m MODEL"
    either = "expected either SOURCE… or --camera NAME=SOURCE, and one of them"
    assert refused(capsys, "-m", model, *out) == either
    assert refused(capsys, gate, "--camera", f"a={gate}", "-m", model, *out) == either
    twice = ("--camera", f"a={gate}", "--camera", f"A={gate}")
    assert refused(capsys, *twice, "-m", model, *out) == "two --camera have the same name; give each its own"
    assert "stage" in refused(capsys, gate, "-m", model, "--from", "stage3c", *out)
    assert "nowhere.mp4" in refused(capsys, "nowhere.mp4", "-m", model, *out)
    assert "nothing.onnx" in refused(capsys, gate, "-m", "nothing.onnx", *out)
    assert not (tmp_path / "out" / "visits").exists()


def test_a_source_named_wrongly_leaves_the_folder_free_for_the_right_one(
    model: Path, street: Path, tmp_path: Path, capsys: Capture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing of a video" * 50)
    boxes, out = ("--detector", street / "gate.txt"), ("-o", tmp_path / "out")
    assert "broken.mp4" in refused(capsys, broken, "-m", model, *boxes, *out)
    assert main(list(map(str, ["people", street / "gate.mp4", "-m", model, *boxes, *out, "--quiet"]))) == 0


def test_a_rate_nobody_calibrated_is_refused(model: Path, street: Path, tmp_path: Path, capsys: Capture) -> None:
    told = refused(capsys, street / "gate.mp4", "-m", model, "--far", "0.001", "-o", tmp_path / "out")
    assert told.startswith("--far 0.001 cannot be had: ") and "calibrate" in told


def test_a_gallery_of_another_model_is_refused(whole: Path, street: Path, tmp_path: Path, capsys: Capture) -> None:
    other = mean_colour_model(tmp_path / "other.onnx")
    gallery = whole / "gallery.sqlite"
    told = refused(capsys, street / "gate.mp4", "-m", other, "--gallery", gallery, "-o", tmp_path / "out")
    assert "refuses" in told and "start another gallery" in told


def test_random_weights_are_refused(street: Path, tmp_path: Path, capsys: Capture) -> None:
    assert (
        main(
            [
                "people",
                str(street / "gate.mp4"),
                "-m",
                "osnet_x0_25",
                "--backend",
                "untrained",
                "-o",
                str(tmp_path),
                "-q",
            ]
        )
        == 1
    )
    assert "tell people apart" in capsys.readouterr().err


def test_a_recording_that_is_none_is_left_out_and_the_others_are_not(
    street: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing of a video" * 50)
    boxes = street / "gate.txt"
    command = ["people", broken, street / "gate.mp4", "-m", model, "--detector", boxes, "-o", tmp_path / "out", *START]
    assert main(list(map(str, command))) == 3
    told = capsys.readouterr()
    assert "broken.mp4" in told.err and told.err.count("\n") == 1
    assert {visit["camera"] for person in people(tmp_path / "out")["people"] for visit in person["visits"]} == {"gate"}


def test_an_empty_street_is_a_page_of_nobody(model: Path, tmp_path: Path, capsys: Capture) -> None:
    frames = tmp_path / "empty"
    frames.mkdir()
    for number in range(5):
        cv2.imwrite(str(frames / f"{number}.png"), np.full((90, 160, 3), 90, np.uint8))
    assert main(["people", str(frames), "-m", str(model), "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("0 people in 0 visits of 1 source\n")
    assert (tmp_path / "out" / "person_selection.html").is_file()


def test_a_full_disk_is_one_line_and_what_was_kept_stays(street: Path, model: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        done = sightline(*watched(street, model, place / "out", "--quiet"))
        assert done.returncode == 1
        assert "the disk is full" in error_line(done.stderr)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_camera_that_hangs_up_and_comes_back_smaller_is_watched_on(street: Path, model: Path, tmp_path: Path) -> None:
    """A real stream: the second time it sends pictures of half the size, then it stays away."""
    capture, pictures = cv2.VideoCapture(str(street / "gate.mp4")), []
    while len(pictures) < 120:
        pictures.append(np.asarray(capture.read()[1]))
    capture.release()
    small = [cv2.resize(picture, (160, 90)) for picture in pictures]
    with streaming([pictures, small], pause_s=0.03) as address:
        process = started(
            "people", "--camera", f"gate={address}", "-m", model, "-o", tmp_path / "out", "--device", "cpu"
        )
        time.sleep(11)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert "fell silent; opening it again" in error and "Traceback" not in error
    assert json.loads((tmp_path / "out" / "timing.json").read_text())["frames"] > 150
    assert output.splitlines()[0].endswith("of 1 source")


def test_events_reach_both_brokers_and_no_password_is_left_in_the_folder(
    street: Path, model: Path, tmp_path: Path
) -> None:
    redis = pytest.importorskip("redis", reason="redis is not installed")
    with mosquitto_with_password(tmp_path / "mqtt") as broker, redis_server(tmp_path / "redis") as server:
        mqtt = f"mqtt://anna:{IN_A_URL}@127.0.0.1:{broker.port}/site"
        sinks = ["--sink", mqtt, "--sink", f"redis://127.0.0.1:{server.port}/0?stream=people"]
        listener = Subscriber(broker.port, user="anna")
        try:
            assert main([*watched(street, model, tmp_path / "out", *sinks), "--quiet"]) == 0
            told = [event["id"] for event in events(tmp_path / "out")]
            wait_until(lambda: len(listener.messages) >= len(told))
            assert [json.loads(text)["id"] for _, text, _, _ in listener.messages] == told
            assert {topic for topic, _, _, _ in listener.messages} == {"site/gate/visit", "site/yard/visit"}
        finally:
            listener.close()
        with redis.Redis(port=server.port) as client:
            assert [json.loads(fields[b"event"])["id"] for _, fields in client.xrange("people")] == told
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [
        path for path in left if PASSWORD.encode() in path.read_bytes() or IN_A_URL.encode() in path.read_bytes()
    ]
