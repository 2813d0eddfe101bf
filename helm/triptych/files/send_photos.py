"""Sends photos to `recognizer`: exit code 0 if the server answers or is overloaded, 1 if a request fails.

    python3 send_photos.py http://127.0.0.1:8000 10 8

Arguments: URL of the server, timeout in seconds for all photos, number of photos. Triton distributes consecutive
requests over its idle instances, so enough photos find one dead instance. The deep probe and `helm test` run this file
inside the serving image, with the standard library only.
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
    """Returns the HTTP status and the first 400 bytes of the response.

    Raises:
        OSError: no connection, or no response within `timeout_s`.
        http.client.HTTPException: the response is not valid HTTP.
    """
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=timeout_s)
    try:
        # Triton's raw binary request: the body is the photo.
        headers = {"Inference-Header-Content-Length": "0", "Connection": "close"}
        connection.request("POST", "/v2/models/recognizer/infer", PHOTO, headers)
        response = connection.getresponse()
        return response.status, response.read(400).decode(errors="replace")
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    url, timeout_s, count = arguments[0], float(arguments[1]), int(arguments[2])
    deadline_s = time.monotonic() + timeout_s
    for _ in range(count):
        try:
            status, answer = recognize(url, max(0.1, deadline_s - time.monotonic()))
        except (OSError, http.client.HTTPException) as error:
            print(f"{url} gave no answer within {timeout_s:g} s: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
        if status in (http.client.SERVICE_UNAVAILABLE, http.client.TOO_MANY_REQUESTS):
            # The queue is full; a restart would increase the load.
            print(f"{url} is overloaded: {status}: {answer}", file=sys.stderr)
            return 0
        if status != http.client.OK:
            print(f"{url} answered {status}: {answer}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
