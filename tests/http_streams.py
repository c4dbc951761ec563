"""A camera that speaks HTTP, served by the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from sightline.types import Image


@contextmanager
def streaming(
    visits: Sequence[Sequence[Image]], *, pause_s: float = 0.02, freezes: bool = False, port: int = 0
) -> Iterator[str]:
    """The address of a motion-JPEG camera: each visit is sent the next list of pictures, then hung up on.

    One that `freezes` holds the line instead, and sends nothing more.
    """
    waiting = list(visits)
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not waiting:
                self.send_error(503)
                return
            pictures = waiting.pop(0)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for picture in pictures:
                    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    time.sleep(pause_s)
                done.wait(60 if freezes else 0)
            except OSError:
                return  # the reader has gone

        def log_message(self, *arguments: object) -> None:
            """Not to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
    finally:
        done.set()
        server.shutdown()
        server.server_close()
        thread.join()
