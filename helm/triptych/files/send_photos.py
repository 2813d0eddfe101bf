"""Sends photos through `recognizer`: exit 0 when they are answered or the server is only busy, 1 when it is broken.

    python3 send_photos.py http://127.0.0.1:8000 10 8

The words: the server, seconds for all of them, how many photos. One after the other they reach every idle instance, so
that one dead among many is found. Run inside the serving image by the deep probe and by `helm test`: standard library
only.
"""

from __future__ import annotations

import base64
import http.client
import sys
import time
import urllib.parse

# A grey PNG of 8 x 8 pixels.
PHOTO = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mNsaGhgwAaYGHCAwSkBADAXAZDUexXGAAAAAElFTkSuQmCC"
)


def recognize(url: str, timeout_s: float) -> tuple[int, str]:
    """HTTP status and the beginning of the answer.

    Raises:
        OSError: no connection, or no answer in time.
        http.client.HTTPException: what came is no answer.
    """
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=timeout_s)
    try:
        # Triton's raw form: the body is the photo, the answer a JSON header with the numbers after it.
        headers = {"Inference-Header-Content-Length": "0", "Connection": "close"}
        connection.request("POST", "/v2/models/recognizer/infer", PHOTO, headers)
        response = connection.getresponse()
        return response.status, response.read(400).decode(errors="replace")
    finally:
        connection.close()


def main(words: list[str]) -> int:
    url, timeout_s, count = words[0], float(words[1]), int(words[2])
    deadline_s = time.monotonic() + timeout_s
    for _ in range(count):
        try:
            status, answer = recognize(url, max(0.1, deadline_s - time.monotonic()))
        except (OSError, http.client.HTTPException) as error:
            print(f"{url} gave no answer within {timeout_s:g} s: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        if status in (http.client.SERVICE_UNAVAILABLE, http.client.TOO_MANY_REQUESTS):
            # A full queue is load: a restart would make it worse.
            print(f"{url} is busy: {status}: {answer}", file=sys.stderr)
            return 0
        if status != http.client.OK:
            print(f"{url} answered {status}: {answer}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
