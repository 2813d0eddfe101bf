"""What one caller, and all callers together, may ask of the front."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """The bounds of the front. Triton 2.51.0 has none of its own.

    Attributes:
        body_bytes: of a request, after the parts of a chunked body are joined; compressed bodies are refused.
        headers_kib: of all headers of a request together over gRPC, its path included.
        http_headers_kib: the same over HTTP, where Triton closes the connection from 8 kB on.
        headers: their number.
        json_depth: nested lists and objects of a JSON body; Triton's parser ends the server at some 100,000.
        json_values: lists, objects and elements of a JSON body. The pixels of one photo are 150,528.
        json_escapes: backslashes in strings of a JSON body; some encoders write each slash of base64 with one.
        fields: of a message of gRPC; a tensor is one field, however large.
        names_bytes: names, ids and parameters of a message of gRPC together. Quoted in an error, a byte takes three in
            a header, of which Envoy takes 64 kB from Triton; a longer one ends the connection that all callers share.
        packed_bytes: whole numbers of a message of gRPC together, packed; Triton takes eight bytes for each of them.
        connections: open at once, over all listeners but that of the metrics.
        new_connections_per_s: accepted; callers with one connection never meet it.
        streams: requests at once of one HTTP/2 connection; callers with more in hand wait for their turn.
        requests: at once, of each protocol; Triton's queues are shorter.
        requests_per_s: answered, of each protocol; 0 is no limit.
        header_timeout_s: until the headers are complete.
        body_timeout_s: until the body is complete.
        answer_timeout_s: from the complete request to the complete answer; also of a request on which nothing moves.
        reading_timeout_s: of a complete answer of which the caller reads nothing; shorter as the heap fills.
        idle_timeout_s: of a connection without a request.
        heap_bytes: of the front; near it, the largest requests and unread answers end first.
    """

    body_bytes: int = 64 * MIB
    headers_kib: int = 32
    http_headers_kib: int = 7
    headers: int = 64
    json_depth: int = 32
    json_values: int = 200_000
    json_escapes: int = 1_000_000
    fields: int = 4096
    names_bytes: int = 16_384
    packed_bytes: int = 4 * MIB
    connections: int = 2000
    new_connections_per_s: int = 1000
    streams: int = 100
    requests: int = 1024
    requests_per_s: int = 0
    header_timeout_s: int = 10
    body_timeout_s: int = 60
    answer_timeout_s: int = 300
    reading_timeout_s: int = 20
    idle_timeout_s: int = 600
    heap_bytes: int = 1024 * MIB
